"""`relay check` behind real firewalls, in namespaces: the cause named first, and who rejected it."""

import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from tests.lab.network import CLIENT, FIREWALL, ROUTER, SERVER, Network, listening, network
from tests.path.checked import keep
from tests.path.real import RUN_SECONDS, SCRIPTS, Tool, environment

PORT = "tcp dport 5000"
REJECT = "ip protocol tcp tcp dport 5000 reject with icmp"


@pytest.fixture
def lab(tool: Tool) -> Iterator[Network]:
    """The network, with a Framework Server in it."""
    try:
        with network(tool) as made:
            with listening(made, "server", SCRIPTS / "relay", "server", "--listen", "0.0.0.0:5000"):
                yield made
    except PermissionError as error:
        pytest.skip(f"no network namespaces here: {error}")


def check(lab: Network, *arguments: str) -> dict[str, Any]:
    """Run `relay check --json` on the client."""
    command = lab.command("client", SCRIPTS / "relay", "check", "--json", *arguments)
    done = subprocess.run(command, capture_output=True, text=True, timeout=RUN_SECONDS, env=environment())
    assert "" == done.stderr, done.stderr
    document: dict[str, Any] = json.loads(done.stdout)
    document["status"] = done.returncode
    return document


def assert_named(document: dict[str, Any], expected: str) -> None:
    keep(expected, document["record"])
    named = [cause["id"] for cause in document["diagnosis"]["causes"]]
    told = [f"{one['question']}: {one['outcome']} ({one['words']})" for one in document["record"]["findings"]]
    assert (1, expected) == (document["status"], named[0] if named else None), "\n".join([*told, f"{named}"])


def evidence(document: dict[str, Any], question: str) -> dict[str, Any]:
    found = [one for one in document["record"]["findings"] if one["question"] == question]
    return dict(found[0]["evidence"])


def test_nothing_in_the_way(lab: Network) -> None:
    """Through two routers no alarm is raised."""
    document = check(lab, SERVER)
    keep("", document["record"])
    assert (0, "good", []) == (
        document["status"],
        document["diagnosis"]["verdict"],
        document["diagnosis"]["notices"],
    )


FIREWALLS = {
    "drop": ("fw-drop-syn", f"{PORT} drop"),
    "drop of the answer": ("fw-drop-syn", "tcp sport 5000 drop"),
    "reset": ("server-port-closed", f"{PORT} reject with tcp reset"),
    "port-unreachable": ("fw-reject-port-unreach", f"{REJECT} type port-unreachable"),
    "admin-prohibited": ("fw-reject-admin", f"{REJECT} type admin-prohibited"),
    "host-prohibited": ("fw-reject-admin", f"{REJECT} type host-prohibited"),
    "net-prohibited": ("fw-reject-net", f"{REJECT} type net-prohibited"),
    "net-unreachable": ("route-unreachable", f"{REJECT} type net-unreachable"),
    "host-unreachable": ("route-unreachable", f"{REJECT} type host-unreachable"),
    "prot-unreachable": ("fw-reject-proto", f"{REJECT} type prot-unreachable"),
    "payload dropped": ("dpi-drop-payload", f"{PORT} meta length > 60 drop"),
    "payload reset": ("dpi-rst-payload", f"{PORT} meta length > 60 reject with tcp reset"),
    "payload rejected by ICMP": (
        "ips-icmp-mid-session",
        f"ip protocol tcp {PORT} meta length > 60 reject with icmp type admin-prohibited",
    ),
    "answer dropped": ("server-silent", "tcp sport 5000 meta length > 60 drop"),
    "our half of the handshake dropped": (
        "fw-asymmetric-state",
        f"{PORT} tcp flags & (syn | ack) == ack drop",
    ),
    "cut by volume": ("byte-quota", f"{PORT} ct original bytes > 60000 reject with tcp reset"),
}


NEARER = {
    "a reset from the first router": ("fw-reject-rst", f"{PORT} reject with tcp reset"),
    "what is not TLS is dropped": (
        "allow-http-tls-first-byte",
        f"{PORT} meta length > 60 @ih,0,8 != 0x16 drop",
    ),
    "a dead one of two links": ("path-per-flow-broken", f"{PORT} jhash tcp sport mod 2 == 0 drop"),
    "three connections and no more": (
        "fw-conn-rate-limit",
        f"{PORT} ct state new limit rate over 2/minute burst 2 packets drop",
    ),
}


@pytest.mark.parametrize("name", NEARER)
def test_a_rule_that_further_questions_find(name: str, lab: Network) -> None:
    """Distance, other forms of the packet, and the source ports tell it from its look-alikes."""
    expected, rule = NEARER[name]
    lab.rules("router", rule)
    # Whether a dead link of two is met at all, and the other one too, is chance: one run of 50 cannot tell
    for _ in range(3):
        document = check(lab, SERVER)
        named = {cause["id"] for cause in document["diagnosis"]["causes"]}
        if expected in named:
            break
    told = [f"{one['question']}: {one['outcome']} ({one['words']})" for one in document["record"]["findings"]]
    assert expected in named, "\n".join([*told, f"{named}"])
    if expected == "fw-reject-rst":
        assert "server-port-closed" not in named
        seen = evidence(document, "distance")
        assert (2, 3) == (seen["distance_hops"], seen["control_hops"])


@pytest.mark.parametrize("name", FIREWALLS)
def test_a_firewall(name: str, lab: Network) -> None:
    """The cause is named first; who rejects by ICMP is named by address."""
    expected, rule = FIREWALLS[name]
    lab.rules("firewall", rule)
    document = check(lab, SERVER)
    assert_named(document, expected)
    if "type" in rule and "meta length" not in rule:
        seen = evidence(document, "connect")
        assert ("between", FIREWALL) == (seen["sender"], seen["sender_address"])
    assert document["record"]["connections"] <= 30


def test_the_last_router_that_talks_is_named(lab: Network) -> None:
    """A drop at the second hop: the first one still answers."""
    lab.rules("firewall", f"{PORT} drop")
    document = check(lab, SERVER)
    assert FIREWALL == evidence(document, "hops")["last_address"]


def test_the_servers_own_firewall(lab: Network) -> None:
    """Rejected by the server's address itself."""
    lab.rules("server", f"{REJECT} type admin-prohibited", hook="input")
    assert_named(check(lab, SERVER), "server-host-firewall")


def test_the_clients_own_firewall(lab: Network) -> None:
    """Rejected by our own address."""
    lab.rules("client", f"{REJECT} type admin-prohibited", hook="output")
    assert_named(check(lab, SERVER), "client-local-firewall-reject")


def test_no_route(lab: Network) -> None:
    """Nothing leaves this machine."""
    lab.run("client", "ip", "route", "del", "default")
    assert_named(check(lab, SERVER), "client-no-route")


def test_nobody_has_the_address(lab: Network) -> None:
    """The client's own network has nobody with this address."""
    assert_named(check(lab, "10.231.1.77"), "host-down-on-link")


def test_a_route_that_is_unreachable(lab: Network) -> None:
    """A router without a route says so."""
    lab.run("router", "ip", "route", "del", "10.231.3.0/24")
    document = check(lab, SERVER)
    assert_named(document, "route-unreachable")
    assert ROUTER == evidence(document, "connect")["sender_address"]


def test_a_black_hole_for_large_packets(lab: Network) -> None:
    """A link carries 1280 bytes and the routers do not say so; small segments pass."""
    lab.run("router", "ip", "link", "set", "wan", "mtu", "1280")
    lab.run("firewall", "ip", "link", "set", "lan", "mtu", "1280")
    silence = "icmp type destination-unreachable icmp code frag-needed drop"
    for place in ("router", "firewall"):
        lab.rules(place, silence, hook="output")
    document = check(lab, SERVER)
    named = {cause["id"] for cause in document["diagnosis"]["causes"]}
    assert {"mtu-blackhole-up"} & named or {"mtu-blackhole-down"} & named, document["record"]["findings"]
    assert 1 == document["status"]


def test_idle_connections_are_forgotten(lab: Network) -> None:
    """A firewall that forgets after a second: found when asked for."""
    lab.run("firewall", "sysctl", "-qw", "net.netfilter.nf_conntrack_tcp_loose=0")
    lab.run("firewall", "sysctl", "-qw", "net.netfilter.nf_conntrack_tcp_timeout_established=1")
    lab.rules(
        "firewall",
        "ct state established accept",
        "tcp dport 5000 tcp flags & (fin | syn | rst | ack) == syn accept",
        "meta l4proto tcp drop",
    )
    assert_named(check(lab, "--idle", "3", SERVER), "idle-timeout-drop")


def test_a_proxy_that_is_dropped(lab: Network) -> None:
    """The way to the proxy is closed: nothing is said about the server."""
    lab.rules("firewall", "tcp dport 3128 drop")
    assert_named(check(lab, "-x", f"http://{SERVER}:3128", "10.9.9.9"), "proxy-timeout")


def test_the_client_is_where_it_should_be(lab: Network) -> None:
    """The ticket names the client's own address."""
    lab.rules("firewall", f"{PORT} drop")
    document = check(lab, SERVER)
    assert CLIENT in document["diagnosis"]["sentence"]


def test_everything_to_the_host_is_dropped(lab: Network) -> None:
    """No port answers: a drop, a dead host and a hole in the routes look the same, and all are named."""
    lab.rules("firewall", f"ip daddr {SERVER} drop")
    document = check(lab, SERVER)
    named = {cause["id"] for cause in document["diagnosis"]["causes"]}
    assert {"fw-drop-syn", "host-down-remote", "route-blackhole"} <= named


def test_a_port_is_dropped_and_others_are_not(lab: Network) -> None:
    """The host answers on another port: it is neither off nor unreachable."""
    lab.rules("firewall", f"{PORT} drop")
    document = check(lab, SERVER)
    named = {cause["id"] for cause in document["diagnosis"]["causes"]}
    assert set() == {"host-down-remote", "route-blackhole"} & named
    assert "fw-drop-syn" in named


def test_our_own_firewall_drops(lab: Network) -> None:
    """Not even the first router answers: this machine is among the suspects."""
    lab.rules("client", f"{PORT} drop", hook="output")
    document = check(lab, SERVER)
    assert "client-local-firewall-drop" in {cause["id"] for cause in document["diagnosis"]["causes"]}
    assert 1 == document["status"]


def test_something_takes_every_connection(lab: Network) -> None:
    """The firewall redirects all ports to a listener of its own that says nothing: open proves nothing."""
    listener = (
        "import socket\ns = socket.create_server(('0.0.0.0', 7))\nprint('ready', flush=True)\n"
        "while True: s.accept()[0].detach()"
    )
    command = lab.command("firewall", sys.executable, "-c", listener)
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        assert process.stdout.readline()
        nat = "type nat hook prerouting priority -100; policy accept;"
        rule = f"ip daddr {SERVER} tcp dport 1-65535 redirect to :7"
        rules = f"table ip n {{\nchain pre {{\n{nat}\n{rule}\n}}\n}}\n"
        lab.run("firewall", "nft", "-f", "-", stdin=rules)
        assert_named(check(lab, SERVER), "syn-proxy")
    finally:
        process.kill()
        process.communicate()


def test_a_proxy_that_is_rejected(lab: Network) -> None:
    """The device that rejects it is named."""
    lab.rules("firewall", "ip protocol tcp tcp dport 3128 reject with icmp type admin-prohibited")
    document = check(lab, "-x", f"http://{SERVER}:3128", "10.9.9.9")
    assert_named(document, "fw-reject-admin")
    assert FIREWALL in document["diagnosis"]["headline"]


def test_the_way_behind_the_proxy_is_dropped(lab: Network) -> None:
    """Our proxy stands at the router; behind it the port is dropped, others answer."""
    lab.rules("firewall", f"{PORT} drop")
    arguments = ["proxy", "--allow-local", "--listen", f"{ROUTER}:3128", "--connect-timeout", "2"]
    with listening(lab, "router", SCRIPTS / "relay", *arguments):
        document = check(lab, "-x", f"http://{ROUTER}:3128", SERVER)
    assert_named(document, "proxy-upstream-timeout")


def test_the_way_behind_a_slow_proxy_is_dropped(lab: Network) -> None:
    """The proxy waits longer than we do: other ports are answered, so it is not the proxy that hangs."""
    lab.rules("firewall", f"{PORT} drop")
    arguments = ["proxy", "--allow-local", "--listen", f"{ROUTER}:3128", "--connect-timeout", "60"]
    with listening(lab, "router", SCRIPTS / "relay", *arguments):
        document = check(lab, "-x", f"http://{ROUTER}:3128", SERVER)
    assert_named(document, "proxy-upstream-timeout")
