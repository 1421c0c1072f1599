"""A network of namespaces: client - router - firewall - server, gone with the processes that hold it."""

import contextlib
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.path.real import START_SECONDS, STOP_SECONDS, Tool, environment

CLIENT, SERVER = "10.231.1.2", "10.231.3.2"
ROUTER, FIREWALL = "10.231.1.1", "10.231.2.2"
"""What a packet of the client meets: the router at the first hop, the firewall at the second."""

PLACES = ("client", "router", "firewall", "server")
LINKS = (
    ("client", "eth0", f"{CLIENT}/24", "router", "lan", f"{ROUTER}/24"),
    ("router", "wan", "10.231.2.1/24", "firewall", "lan", f"{FIREWALL}/24"),
    ("firewall", "wan", "10.231.3.1/24", "server", "eth0", f"{SERVER}/24"),
)
ROUTES = (
    ("client", "default", ROUTER),
    ("router", "10.231.3.0/24", FIREWALL),
    ("firewall", "default", "10.231.2.1"),
    ("server", "default", "10.231.3.1"),
)


@dataclass
class Network:
    """Four namespaces, each held by a process that sleeps."""

    holders: dict[str, subprocess.Popen[bytes]]
    nsenter: str

    def command(self, place: str, *arguments: str | Path) -> list[str]:
        """What runs `arguments` in a namespace."""
        return [self.nsenter, "-t", str(self.holders[place].pid), "-n", *map(str, arguments)]

    def run(self, place: str, *arguments: str | Path, stdin: str = "") -> str:
        done = subprocess.run(
            self.command(place, *arguments), input=stdin, capture_output=True, text=True, env=environment()
        )
        assert 0 == done.returncode, f"{arguments}: {done.stderr}"
        return done.stdout

    def rules(self, place: str, *rules: str, hook: str = "forward") -> None:
        """Give the firewall of a place these nftables rules."""
        lines = "\n".join(rules)
        policy = f"type filter hook {hook} priority 0; policy accept;"
        self.run(place, "nft", "-f", "-", stdin=f"table inet t {{\nchain fw {{\n{policy}\n{lines}\n}}\n}}\n")


@contextlib.contextmanager
def network(tool: Tool) -> Iterator[Network]:
    """Build it; raises PermissionError where this user may not."""
    nsenter, unshare, ip = (
        tool("nsenter", "util-linux"),
        tool("unshare", "util-linux"),
        tool("ip", "iproute2"),
    )
    tool("nft", "nftables")
    if os.geteuid() != 0:
        raise PermissionError("namespaces and firewalls need root")
    made = Network({}, nsenter)
    try:
        for place in PLACES:
            held = [unshare, "--net", "sh", "-c", "echo ready; exec sleep infinity"]
            holder = subprocess.Popen(held, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            made.holders[place] = holder
            assert holder.stdout is not None
            assert holder.stderr is not None
            if not holder.stdout.readline():
                raise PermissionError(holder.stderr.read().decode())
        _link(made, ip)
        yield made
    finally:
        for holder in made.holders.values():
            holder.kill()
            holder.communicate()


def _link(made: Network, ip: str) -> None:
    for place in PLACES:
        made.run(place, ip, "link", "set", "lo", "up")
    for one, port, address, other, other_port, other_address in LINKS:
        pids = str(made.holders[one].pid), str(made.holders[other].pid)
        peer = ["peer", "name", other_port, "netns", pids[1]]
        done = subprocess.run(
            [ip, "link", "add", port, "netns", pids[0], "type", "veth", *peer], capture_output=True
        )
        if done.returncode:
            raise PermissionError(done.stderr.decode())
        for place, name, where in ((one, port, address), (other, other_port, other_address)):
            made.run(place, ip, "addr", "add", where, "dev", name)
            made.run(place, ip, "link", "set", name, "up")
    for place, where, via in ROUTES:
        made.run(place, ip, "route", "add", where, "via", via)
    for place in ("router", "firewall"):
        # The second: a lab asks faster than a router of the world would answer (icmp(7))
        for setting in ("net.ipv4.ip_forward=1", "net.ipv4.icmp_ratelimit=0"):
            made.run(place, "sysctl", "-qw", setting)


@contextlib.contextmanager
def listening(made: Network, place: str, *arguments: str | Path) -> Iterator[subprocess.Popen[bytes]]:
    """A `relay` command in a namespace that says where it listens."""
    process = subprocess.Popen(
        made.command(place, *arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment()
    )
    try:
        assert process.stderr is not None
        said = b""
        for line in process.stderr:
            said += line
            if b" listening on " in line:
                break
        else:
            raise AssertionError(f"it ended within {START_SECONDS} s: {said!r}")
        yield process
    finally:
        process.terminate()
        process.communicate(timeout=STOP_SECONDS)
