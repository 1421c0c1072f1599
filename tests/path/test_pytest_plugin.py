"""The pytest plugin: as a vendor uses it, in an empty folder; and its fixtures in tests of ours."""

import asyncio
import socket
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from protocol import Packet
from relay.blocking import BlockingPackets, open_tunnel
from relay.failure import ProxyRefused, Reason, SettingsError
from relay.framework_client import FrameworkClient
from relay.places import FarServer, LocalPort, StandInProxy
from relay.route import Hop, Route
from relay.testbed import Testbed

pytest_plugins = ("pytester",)

Start = Callable[..., Any]

LEAN = tuple(f"-pno:{name}" for name in ("cacheprovider", "xdist", "_cov", "hypothesispytest", "locust"))
"""What the runs inside these tests start without, because it takes them a second each."""

CLIENT = '''
import socket

def connect(proxy, target):
    sock = socket.create_connection((proxy.host, proxy.port), 10)
    sock.sendall(f"CONNECT {target.endpoint} HTTP/1.1\\r\\nHost: {target.endpoint}\\r\\n\\r\\n".encode())
    head = b""
    while b"\\r\\n\\r\\n" not in head:
        head += sock.recv(SIZE)
    assert b" 200 " in head.split(b"\\r\\n")[0]
    return sock
'''
"""With SIZE 1 a right client; with more it drops what comes in the same segment as the head."""

VENDOR = '''
from CLIENT import connect

def test_the_first_bytes_arrive(connect_proxy, greeting_server):
    with connect(connect_proxy(faults="answer_joined"), greeting_server(b"hello")) as sock:
        sock.sendall(b" world")
        assert b"hello" == sock.recv(5)
'''


def test_a_vendor_finds_the_bug(pytester: pytest.Pytester) -> None:
    """Five lines in an empty folder tell a client that drops bytes behind the head from one that does not."""
    pytester.makepyfile(right=CLIENT.replace("SIZE", "1"), wrong=CLIENT.replace("SIZE", "4096"))
    pytester.makepyfile(
        test_right=VENDOR.replace("CLIENT", "right"), test_wrong=VENDOR.replace("CLIENT", "wrong")
    )
    done = pytester.runpytest_subprocess(*LEAN, "-v")
    done.assert_outcomes(passed=1, failed=1)
    done.stdout.fnmatch_lines([
        "test_right.py::test_the_first_bytes_arrive PASSED*",
        "test_wrong.py::test_the_first_bytes_arrive FAILED*",
        "E*assert b'hello' == b' worl'",
    ])  # fmt: skip


KINDS = '''
import threading, unittest
import pytest
from aiohttp import web
from relay import FrameworkClient

def test_plain(framework_server, tunnel):
    with tunnel().connect() as sock:
        sock.sendall(b"GET / HTTP/1.1\\r\\n\\r\\n")
        assert b"" == sock.recv(1)
    assert "frame-too-large" == framework_server.record().ended
    assert ["an HTTP request"] == [record["looks_like"] for record in framework_server.records]

@pytest.mark.asyncio
@pytest.mark.route({"persona": "squid-6"}, faults=["latency:seconds=0.01", "slicer"])
async def test_asyncio(framework_route, framework_server):
    async with FrameworkClient(framework_route) as client:
        await client.ping()
    assert 2 == len(framework_route.hops)
    assert 1 == framework_server.record().pings

async def test_aiohttp(aiohttp_client, connect_proxy):
    """aiohttp's own client, through the proxy, to an application of pytest-aiohttp's."""
    app = web.Application()
    async def hello(request):
        return web.Response(text="hello")
    app.router.add_get("/", hello)
    client = await aiohttp_client(app)
    proxy = connect_proxy()
    async with client.get("/", proxy=proxy.url) as reply:
        assert "hello" == await reply.text()
    assert "GET" == proxy.entry()["method"]

@pytest.mark.route()
def test_straight(framework_route):
    assert () == framework_route.hops

@pytest.mark.usefixtures("framework_server")
class TestClass(unittest.TestCase):
    def test_old_style(self):
        assert "relay-own-loop" in [thread.name for thread in threading.enumerate()]

def test_nothing_is_left():
    assert "relay-own-loop" not in [thread.name for thread in threading.enumerate()]
'''


def test_every_kind_of_test(pytester: pytest.Pytester) -> None:
    """Plain tests, coroutines of pytest-asyncio and pytest-aiohttp, unittest: all with warnings as errors."""
    pytester.makeini("[pytest]\nasyncio_mode = auto\nasyncio_default_fixture_loop_scope = function\n")
    pytester.makepyfile(KINDS)
    pytester.runpytest_subprocess(*LEAN, "--strict-markers", "-W", "error").assert_outcomes(passed=6)


MISTAKES = '''
import pytest

@pytest.mark.route(persona="squid-6", nosuch=1)
def test_unknown_option(framework_route): pass

@pytest.mark.route("ftp://proxy:1")
def test_no_proxy(framework_route): pass

@pytest.mark.route(5000)
def test_no_hop(framework_route): pass

@pytest.mark.route(faults="latency:hours=1")
def test_no_fault(tunnel): tunnel()

def test_no_persona(connect_proxy):
    connect_proxy(persona="nobody")

def test_no_profile(connect_proxy):
    connect_proxy(profile="nosuch.toml")

def test_no_login(connect_proxy):
    connect_proxy(login="alice")

def test_numbers_for_ports(connect_proxy):
    connect_proxy(allow_ports=443)

def test_a_pair_for_a_login(connect_proxy):
    connect_proxy(login=("alice", "opensesame"))

def test_a_number_for_a_fault(connect_proxy):
    connect_proxy(faults=[3])

def test_text_for_bytes(greeting_server):
    greeting_server("hello")

def test_not_in_a_network(broken_network):
    broken_network("refuse")

def test_no_target(broken_network):
    broken_network("latency", target=5000)

def test_nothing_came(connect_proxy):
    connect_proxy().entry(0.01)
'''


def test_mistakes_are_told(pytester: pytest.Pytester) -> None:
    """One line that names the marker or the option, what was given and expected; none of our own code."""
    pytester.makepyfile(MISTAKES)
    done = pytester.runpytest_subprocess(*LEAN)
    done.assert_outcomes(errors=3, failed=11)
    marker = "*: @pytest.mark.route: "
    done.stdout.fnmatch_lines_random([
        f"{marker}'nosuch'; expected target, or one of profile, persona, faults, allow_ports, login, *",
        f"{marker}route: scheme 'ftp'; expected one of http://, *",
        f"{marker}5000; expected a proxy's URL, or a dict of connect_proxy's options",
        f"{marker}faults: latency: unknown key 'hours'; expected seconds, *",
        "E*SettingsError: persona: there is no 'nobody'; expected one of *",
        "E*SettingsError: nosuch.toml: cannot be read: No such file or directory",
        "E*SettingsError: login: expected USER:PASSWORD",
        "E*SettingsError: allow_ports: 443; expected text such as *443,5000-5010*",
        "E*SettingsError: login: tuple; expected USER:PASSWORD",
        "E*SettingsError: faults: [[]3[]]; expected text such as *reset*, or a list of such",
        "E*SettingsError: words: 'hello'; expected bytes, such as b*hello*",
        "E*SettingsError: fault: refuse changes a proxy's answer; expected connect_proxy(faults=...)",
        "E*SettingsError: target: int; expected HOST:PORT, or what a fixture gave",
        "E*TimeoutError: no tunnel through the proxy has ended within 0.01 s",
        ">*connect_proxy(persona=\"nobody\")",
    ])  # fmt: skip
    assert [] == [line for line in done.outlines if "testbed.py" in line]
    assert [] == [line for line in done.outlines if "During handling" in line]


def test_it_costs_nothing_until_it_is_used() -> None:
    """Where no fixture is used nothing of the package is imported but the plugin itself."""
    program = (
        "import sys, relay.pytest_plugin; print(*sorted(name for name in sys.modules"
        " if name.split('.')[0] in ('relay', 'protocol', 'aiohttp', 'cryptography', 'asyncio')))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "relay relay.pytest_plugin" == done.stdout.strip()


# The fixtures in tests of ours


def exchange(sock: socket.socket, data: bytes) -> bytes:
    """Send, and read as many bytes."""
    sock.sendall(data)
    got = b""
    while len(got) < len(data) and (more := sock.recv(len(data))):
        got += more
    return got


@pytest.mark.route(login="alice:secret", faults="slicer:average_bytes=7")
def test_a_blocking_client_through_slices(framework_route: Route, framework_server: FarServer) -> None:
    """With a login, and every answer in pieces of seven bytes, packets come back whole."""
    packets = BlockingPackets(open_tunnel(framework_route))
    packets.send(Packet.echo(b"x" * 100))
    assert b"x" * 100 == packets.receive()[0].argument
    packets.close()
    assert (1, 1) == ((record := framework_server.record()).packets_received, record.packets_sent)
    assert "secret" not in repr(framework_route)


async def first_byte(port: LocalPort) -> bytes:
    loop = asyncio.get_running_loop()
    with socket.socket() as sock:
        sock.setblocking(False)
        await loop.sock_connect(sock, (port.host, port.port))
        return await loop.sock_recv(sock, 1)


@pytest.mark.route(allow_ports="443")
async def test_a_refusal_reaches_the_client(framework_route: Route, tunnel: Start) -> None:
    """The proxy lets only port 443 out: by name to who asks it, as a reset through a local port."""
    with pytest.raises(ProxyRefused) as refused:
        async with FrameworkClient(framework_route) as client:
            await client.ping()
    assert 403 == refused.value.status
    port = tunnel()
    # On a busy machine the reset is there before the connection is told of
    with pytest.raises(ConnectionResetError):
        await first_byte(port)
    assert Reason.DENIED == port.failure().reason


def test_a_chain_with_a_bad_link(
    connect_proxy: Start, broken_network: Start, tunnel: Start, greeting_server: Start
) -> None:
    """A network that cuts may stand before a proxy, and a tunnel may lead through it."""
    proxy: StandInProxy = connect_proxy()
    before: LocalPort = broken_network("limit_data:limit_bytes=100", target=proxy)
    assert before.url == f"http://{before.endpoint}"
    echo = greeting_server(b"")
    with tunnel(Route(echo.endpoint, (proxy.hop,))).connect() as sock:
        assert b"x" * 500 == exchange(sock, b"x" * 500)
    assert str(echo.endpoint) == proxy.entry()["target"]
    with tunnel(Route(echo.endpoint, (Hop.parse(before.url),))).connect() as sock:
        # 39 bytes are the head's
        assert b"x" * 61 == exchange(sock, b"x" * 500)


def test_the_same_seed_breaks_it_the_same_way(broken_network: Start, greeting_server: Start) -> None:
    """What was random is the same again, so that a failure can be repeated."""
    echo = greeting_server(b"")
    got = []
    for seed in (1, 1, 2):
        with broken_network("corrupt:bits=40", target=echo, fault_seed=seed).connect() as sock:
            got.append(exchange(sock, bytes(64)))
    assert got[0] == got[1]
    assert got[0] != got[2]
    assert bytes(64) not in got


def test_a_testbed_without_pytest() -> None:
    """It is an ordinary context manager, for unittest and for fixtures of another scope."""
    with Testbed() as testbed, testbed.greeting_server(b"hello").connect() as sock:
        assert b"hello" == sock.recv(5)
    with Testbed() as testbed, pytest.raises(SettingsError, match="expected one Route alone"):
        testbed.tunnel(testbed.route(), testbed.route())
