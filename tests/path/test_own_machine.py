"""A proxy and its own machine: which of its addresses it refuses, and that a socket may dial itself."""

import ipaddress
import os
import socket
import subprocess
import sys

import pytest

from relay.access import Access
from relay.admission import Admission
from relay.dialler import Dialler
from relay.own_addresses import is_own_address
from tests.path.proxied import connect_head
from tests.path.real import Tool

ADDRESSES = {"4": "198.51.100.7", "6": "2001:db8::7"}

# Runs in a network namespace of its own, where the machine has these addresses and no others.
INSIDE = """
import asyncio, socket, sys
from relay.proxy import ConnectProxy
from relay.route import Endpoint

async def ask(host, target):
    async with ConnectProxy((Endpoint(host, 0),)) as proxy:
        reader, writer = await asyncio.open_connection(*sys.argv[2:3], proxy.endpoint.port)
        writer.write(f"CONNECT {target} HTTP/1.1\\r\\nHost: {target}\\r\\n\\r\\n".encode())
        answer = await reader.read(4096)
        writer.close()
        return answer.decode()

public, address = sys.argv[1:3]
with socket.create_server((address, 0), family=socket.AF_INET6 if ":" in address else socket.AF_INET) as far:
    target = Endpoint(address, far.getsockname()[1])
    for listen in (public, address):
        print(asyncio.run(ask(listen, target)).splitlines()[0])
"""


# Every second port that is given out is the one that is dialled, where nobody listens.
DIALS_ITSELF = """
import asyncio, socket
from relay.proxy import ConnectProxy
from relay.route import Endpoint
from relay.tunnel_loop import TunnelLoop

async def main():
    async with ConnectProxy((Endpoint("127.0.0.1", 3128),)) as proxy:
        for number in range(12):
            with socket.socket() as sock:
                sock.bind(("127.0.0.1", 50000 + number))
                sock.setblocking(False)
                loop = asyncio.get_running_loop()
                await loop.sock_connect(sock, ("127.0.0.1", 3128))
                head = "CONNECT 127.0.0.1:40000 HTTP/1.1\\r\\nHost: 127.0.0.1:40000\\r\\n\\r\\n"
                await loop.sock_sendall(sock, head.encode())
                print((await loop.sock_recv(sock, 4096)).decode().splitlines()[0])

asyncio.Runner(loop_factory=TunnelLoop).run(main())
"""


# A machine with two addresses in one network: packets to the second leave from the first.
SECOND = "198.51.100.8"
TWO_ADDRESSES = "ip addr add 198.51.100.7/24 dev lo && ip addr add 198.51.100.8/24 dev lo"

# Its own listener, at another address of the machine, where local targets are allowed.
LOOPS_BACK = """
import asyncio, sys
from relay.access import Access
from relay.proxy import ConnectProxy
from relay.route import Endpoint

async def main():
    access = Access(allow_ports=(range(1, 65_536),), allow_local=True)
    async with ConnectProxy((Endpoint("0.0.0.0", 0),), access=access) as proxy:
        for host in sys.argv[1:]:
            target = f"{host}:{proxy.endpoint.port}"
            reader, writer = await asyncio.open_connection("127.0.0.1", proxy.endpoint.port)
            writer.write(f"CONNECT {target} HTTP/1.1\\r\\nHost: {target}\\r\\n\\r\\n".encode())
            print((await reader.read(4096)).decode().partition("\\r\\n")[0])
            writer.close()

asyncio.run(main())
"""

# Descriptors are used up when it is asked first; again when they are not.
USED_UP = """
import os, sys
from relay.access import Access
from relay.admission import Admission
from relay.dialler import Dialler
from relay.own_addresses import is_own_address
from relay.refused import Refused

access = Access(allow_ports=(range(1, 65_536),))
dialler = Dialler(access, (), 1.0)
admission = Admission(access, dialler)
own, other = (
    f"CONNECT {host}:5000 HTTP/1.1\\r\\nHost: {host}:5000\\r\\n\\r\\n".encode() for host in sys.argv[1:]
)
print(admission.admit(own), admission.admit(other) is not None)
admission = Admission(access, dialler)
taken = []
try:
    while True:
        taken.append(os.dup(0))
except OSError:
    pass
print(admission.admit(own), admission.admit(other))
for descriptor in taken:
    os.close(descriptor)
print(admission.admit(own), admission.admit(other) is not None)
"""


def in_a_namespace(tool: Tool, up: str, inside: list[str]) -> tuple[int, list[str], str]:
    """Run a Python program behind shell commands that set up a network of its own."""
    unshare = tool("unshare", "util-linux")
    rights = ["-n"] if os.geteuid() == 0 else ["-U", "-r", "-n"]
    done = subprocess.run(
        [unshare, *rights, "sh", "-c", f'{up} && exec "$@"', "sh", sys.executable, "-c", *inside],
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    return done.returncode, done.stdout.splitlines(), done.stderr


def test_addresses_of_its_interfaces_are_refused(tool: Tool) -> None:
    """403 for a target on any interface, IPv4 and IPv6, however the proxy's own listener is named."""
    ip = tool("ip", "iproute2")
    for version, address in ADDRESSES.items():
        public = "0.0.0.0" if version == "4" else "::"
        up = f"{ip} link set lo up && {ip} -{version} addr add {address} dev lo nodad"
        up = up.removesuffix(" nodad") if version == "4" else up
        status, lines, errors = in_a_namespace(tool, up, [INSIDE, public, address])
        assert (0, ["HTTP/1.1 403 Forbidden"] * 2) == (status, lines), errors


def test_further_addresses_of_an_interface_are_refused(tool: Tool) -> None:
    """403 for them too: packets to them leave from the first address of their network (ip(7))."""
    up = f"ip link set lo up && {TWO_ADDRESSES}"
    tool("ip", "iproute2")
    for nonlocal_bind in (0, 1):
        sysctl = f"echo {nonlocal_bind} >/proc/sys/net/ipv4/ip_nonlocal_bind"
        status, lines, errors = in_a_namespace(tool, f"{up} && {sysctl}", [INSIDE, "0.0.0.0", SECOND])
        assert (0, ["HTTP/1.1 403 Forbidden"] * 2) == (status, lines), errors


def test_its_own_listener_at_any_address_of_the_machine(tool: Tool) -> None:
    """It does not connect to itself, by whatever address: 502."""
    tool("ip", "iproute2")
    hosts = ["127.0.0.1", "127.0.0.2", ADDRESSES["4"], SECOND]
    up = f"ip link set lo up && {TWO_ADDRESSES}"
    status, lines, errors = in_a_namespace(tool, up, [LOOPS_BACK, *hosts])
    assert (0, ["HTTP/1.1 502 Bad Gateway"] * len(hosts)) == (status, lines), errors


def test_nothing_is_admitted_unseen(tool: Tool) -> None:
    """Without a descriptor nobody can tell whose address it is: not admitted, and not remembered either."""
    ip = tool("ip", "iproute2")
    up = f"ulimit -n 64 && {ip} link set lo up && {TWO_ADDRESSES}"
    status, lines, errors = in_a_namespace(tool, up, [USED_UP, "198.51.100.7", "203.0.113.1"])
    assert (0, ["None True", "None None", "None True"]) == (status, lines), errors


def test_a_system_that_does_not_tell_its_routes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without netlink(7) the source of packets says it, for the first addresses at least."""
    told = {host: is_own_address(ipaddress.ip_address(host)) for host in ("127.0.0.1", "::1", "203.0.113.1")}
    monkeypatch.delattr(socket, "AF_NETLINK")
    assert told == {host: is_own_address(ipaddress.ip_address(host)) for host in told}
    assert [True, True, False] == list(told.values())


def test_a_socket_that_dials_itself_is_no_target(tool: Tool) -> None:
    """TCP connects a socket that is given the very port it dials (RFC 9293 section 3.5): 502, as without."""
    ports = "echo 40000 40001 >/proc/sys/net/ipv4/ip_local_port_range"
    up = f"{tool('ip', 'iproute2')} link set lo up && {ports}"
    status, lines, errors = in_a_namespace(tool, up, [DIALS_ITSELF])
    assert (0, ["HTTP/1.1 502 Bad Gateway"] * 12) == (status, lines), errors


@pytest.mark.parametrize(
    ("host", "port", "expected"),
    [
        ("127.0.0.1", 40000, True),
        ("::1", 40000, True),
        # No port that is given out
        ("127.0.0.1", 443, False),
        # The source of connections to all of 127.0.0.0/8 is 127.0.0.1
        ("127.0.1.2", 40000, False),
    ],
)
def test_which_target_may_meet_itself(host: str, port: int, expected: bool) -> None:
    """The lane asks a new connection for its own end only where that can be the target."""
    authority = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    access = Access(allow_ports=(range(1, 65_536),), allow_local=True)
    dialler = Dialler(access, (), 1.0)
    admitted = Admission(access, dialler).admit(connect_head(authority))
    assert admitted is not None
    assert expected == admitted.may_meet_itself
