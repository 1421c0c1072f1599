"""TMSS10Ping through real proxies: what it says, and what the far end saw."""

import re
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from urllib.parse import quote

import pytest

from relay.journal import Ended
from relay.route import Endpoint
from tests.path import peers
from tests.path.conftest import FarEnd
from tests.path.real import Daemon, Ran, RelayCommand, Tool, ping

Proxy = Daemon | RelayCommand
OPEN = {
    "relay": peers.relay_proxy,
    "squid": peers.squid,
    "tinyproxy": peers.tinyproxy,
    "apache": peers.apache,
}
SOURCES = {
    "relay": "127.0.0.1",
    "squid": peers.SQUID_SOURCE,
    "tinyproxy": peers.TINYPROXY_SOURCE,
    "apache": peers.APACHE_SOURCE,
}
ONLY_443 = {
    "relay": {"allow_ports": "443"},
    "squid": {"allow_ports": "443"},
    "tinyproxy": {"allow_port": 443},
    "apache": {"allow_ports": "443"},
}
PASSWORDS = {
    "squid": peers.PASSWORD,
    "tinyproxy": peers.TINYPROXY_PASSWORD,
    "apache": peers.PASSWORD,
}

MS = r"[0-9]+\.[0-9]{2}"
FAILED = ": it could not reach the target, or failed itself"

PORT_DENIED = {
    "relay": r" \(Proxy-Status: framework-relay; error=http_request_denied; "
    r"details=\"port [0-9]+ is not allowed\"\)",
    "squid": r" \(X-Squid-Error: ERR_ACCESS_DENIED 0\)",
    "tinyproxy": "",
    "apache": "",
}
TARGET_REFUSED = {
    "relay": r"502 Bad Gateway TO \(Proxy-Status: framework-relay; error=connection_refused; details=.*\)",
    "squid": r"503 Service Unavailable TO \(X-Squid-Error: ERR_CONNECT_FAIL 111\)",
    "tinyproxy": "500 Unable to connect TO",
    "apache": "503 Service Unavailable TO",
}
NAME_UNKNOWN = {
    "relay": r"502 Bad Gateway TO \(Proxy-Status: framework-relay; error=dns_error; details=.*\)",
    # 5.7 and 6.13
    "squid": r"(500 Internal Server Error TO \(X-Squid-Error: ERR_CANNOT_FORWARD 0\)"
    r"|503 Service Unavailable TO \(X-Squid-Error: ERR_DNS_FAIL 0\))",
    "tinyproxy": "500 Unable to connect TO",
    "apache": "502 Proxy Error TO",
}


@pytest.fixture(params=OPEN)
def name(request: pytest.FixtureRequest) -> str:
    """Each proxy's name."""
    return str(request.param)


@pytest.fixture
def proxy(name: str, tool: Tool) -> Iterator[Proxy]:
    """Each proxy, as one that lets everything through."""
    with OPEN[name](tool) as running:
        yield running


def expected_output(host: str, via: str, count: int) -> str:
    """Return the whole output of a ping that went well, as a pattern."""
    lines = [
        rf"44 bytes from {host}: seq={seq} time={MS} ms{re.escape(via)}\n" for seq in range(1, count + 1)
    ]
    lines += [
        rf"--- {host} TMSS10Ping statistics ---\n",
        rf"{count} packets transmitted\n",
        rf"round-trip min/avg/max = {MS}/{MS}/{MS} ms\n",
    ]
    return "".join(lines)


def sentence_of(ran: Ran, host: str) -> str:
    """Return the one sentence of one ping that failed; all that it printed is checked."""
    nothing = "1 packets transmitted, 0 received, 100% packet loss"
    assert (1, f"--- {host} TMSS10Ping statistics ---\n{nothing}\n") == (ran.status, ran.text), ran.stderr
    said, end = ran.stderr.split("\n")
    assert ("TMSS10Ping: seq=1: ", "") == (said[:19], end)
    return said[19:]


async def failing_ping(target: Endpoint | str, *proxies: str, wait_seconds: float = 10) -> str:
    """Ping once, through proxies; return the sentence that says why there was no answer."""
    through = [argument for url in proxies for argument in ("-x", url)]
    ran = await ping("-c", "1", "-W", f"{wait_seconds}", *through, str(target))
    return sentence_of(ran, str(target).rpartition(":")[0])


async def test_four_pings_get_through(name: str, proxy: Proxy, far: FarEnd) -> None:
    """Output in the vendor's form, byte for byte; one connection at the far end, and the proxy made it."""
    ran = await ping("-P", far.port, "-c", "4", "-i", "0.01", "-x", proxy.url, far.host)
    assert (0, "") == (ran.status, ran.stderr)
    assert re.fullmatch(expected_output("127.0.0.1", f" (via {proxy.url})", 4), ran.text), ran.text
    record = await far.record()
    assert [record] == far.server.journal.records
    assert (4, 176, 4, 176) == (
        record.pings,
        record.bytes_received,
        record.packets_sent,
        record.bytes_sent,
    )
    assert (Ended.CLIENT_CLOSED, "a Framework frame") == (record.ended, record.looks_like)
    assert SOURCES[name] == record.peer.rpartition(":")[0]
    if isinstance(proxy, RelayCommand):
        # It has no address of its own: the other end of its connection tells the two apart
        proxy.stop()
        [entry] = proxy.logged
        assert record.peer != entry["client"]
        assert (200, far.server.endpoint, 176, 176, "client-closed") == (
            entry["status"],
            Endpoint.parse(entry["target"]),
            entry["bytes_up"],
            entry["bytes_down"],
            entry["ended"],
        )


async def test_without_a_proxy_the_far_end_sees_the_client(far: FarEnd) -> None:
    """The addresses above prove something: a direct ping comes from none of them, and names no proxy."""
    ran = await ping("-P", far.port, "-c", "2", "-i", "0.01", far.host)
    assert (0, "") == (ran.status, ran.stderr)
    assert re.fullmatch(expected_output("127.0.0.1", "", 2), ran.text), ran.text
    assert "127.0.0.1" == (await far.record()).peer.rpartition(":")[0]


async def test_a_chain_of_all_four(tool: Tool, far: FarEnd) -> None:
    """One tunnel inside the other: the far end sees the last proxy only."""
    with ExitStack() as stack:
        urls = [stack.enter_context(OPEN[name](tool)).url for name in OPEN]
        through = [argument for url in urls for argument in ("-x", url)]
        ran = await ping("-P", far.port, "-c", "2", "-i", "0.01", *through, far.host)
        assert (0, "") == (ran.status, ran.stderr)
        via = f" (via {' -> '.join(urls)})"
        assert re.fullmatch(expected_output("127.0.0.1", via, 2), ran.text), ran.text
        record = await far.record()
    assert (2, peers.APACHE_SOURCE) == (record.pings, record.peer.rpartition(":")[0])


async def test_a_port_that_the_policy_refuses(name: str, tool: Tool, far: FarEnd) -> None:
    """Only 443 is allowed, as in most companies: one sentence with stage, peer and cause; nothing arrives."""
    target = far.server.endpoint
    with OPEN[name](tool, **ONLY_443[name]) as proxy:
        said = await failing_ping(target, proxy.url)
    words = rf"answered 403 [A-Za-z ]+ to CONNECT {target}: its policy does not allow it"
    assert re.fullmatch(rf"proxy: {re.escape(proxy.url)} {words}{PORT_DENIED[name]}", said), said
    assert [] == far.server.journal.records


async def test_a_target_that_refuses(name: str, proxy: Proxy, closed_port: Endpoint) -> None:
    """The sentence quotes what the proxy knows, and does not say that the proxy cannot be reached."""
    said = await failing_ping(closed_port, proxy.url)
    pattern = TARGET_REFUSED[name].replace("TO", f"to CONNECT {closed_port}{FAILED}")
    assert re.fullmatch(rf"proxy: {re.escape(proxy.url)} answered {pattern}", said), said


async def test_a_target_that_has_no_address(name: str, proxy: Proxy) -> None:
    """The last proxy looks names up; that it could not is what it answers, never a local lookup."""
    target = "nowhere.invalid:5000"
    said = await failing_ping(target, proxy.url)
    pattern = NAME_UNKNOWN[name].replace("TO", f"to CONNECT {target}{FAILED}")
    assert re.fullmatch(rf"proxy: {re.escape(proxy.url)} answered {pattern}", said), said


@pytest.fixture(params=PASSWORDS)
def guarded(request: pytest.FixtureRequest, tool: Tool) -> Iterator[tuple[str, Daemon]]:
    """Each real proxy that asks for a Basic login."""
    with OPEN[request.param](tool, login=True) as running:
        yield request.param, running


def with_login(proxy: Daemon, password: str) -> str:
    return f"http://{peers.USER}:{quote(password, safe='')}@{proxy.endpoint}"


async def test_the_right_password(guarded: tuple[str, Daemon], far: FarEnd) -> None:
    """It gets through, whatever is in it, and shows nowhere."""
    name, proxy = guarded
    url = with_login(proxy, PASSWORDS[name])
    ran = await ping("-P", far.port, "-c", "2", "-i", "0.01", "-x", url, far.host)
    assert (0, "") == (ran.status, ran.stderr)
    assert re.fullmatch(expected_output("127.0.0.1", f" (via {proxy.url})", 2), ran.text), ran.text
    assert SOURCES[name] == (await far.record()).peer.rpartition(":")[0]


async def test_no_password(guarded: tuple[str, Daemon], far: FarEnd) -> None:
    """login-required, with the schemes that the proxy offers."""
    _, proxy = guarded
    said = await failing_ping(far.server.endpoint, proxy.url)
    words = f"answered 407 Proxy Authentication Required to CONNECT {far.server.endpoint}"
    assert said.startswith(f"login: {proxy.url} {words}: it wants a login, offered: Basic"), said
    assert [] == far.server.journal.records


async def test_a_wrong_password(guarded: tuple[str, Daemon], far: FarEnd) -> None:
    """login-refused, also where the proxy answers 401 (tinyproxy); the password is not in the sentence."""
    name, proxy = guarded
    said = await failing_ping(far.server.endpoint, with_login(proxy, "guess7"))
    status = "401 Unauthorized" if name == "tinyproxy" else "407 Proxy Authentication Required"
    words = f"answered {status} to CONNECT {far.server.endpoint}: user or password were not accepted"
    # A tinyproxy of tomorrow answers 407
    said = said.replace("407 Proxy Authentication Required", status)
    assert said.startswith(f"login: {proxy.url} {words}"), said
    assert "guess7" not in said
    assert [] == far.server.journal.records


async def test_a_wrong_password_is_tried_once(tool: Tool, far: FarEnd) -> None:
    """A second try would only bring the account nearer to being locked: squid's log has one with a name."""
    target = far.server.endpoint
    with peers.squid(tool, login=True) as proxy:
        said = await failing_ping(target, with_login(proxy, "guess7"))
        proxy.stop(signal.SIGINT)  # it ends with its log complete
        requests = [line for line in proxy.text("access.log").splitlines() if line.startswith("CONNECT")]
    assert said.startswith("login: ")
    assert [f"CONNECT {target} 407 -", f"CONNECT {target} 407 {peers.USER}"] == requests


async def test_a_dead_proxy(closed_port: Endpoint, far: FarEnd) -> None:
    """It is the proxy, not the target, that refuses."""
    url = f"http://{closed_port}"
    words = "refused the connection: nothing listens on that port, or a firewall rejects it (ECONNREFUSED)"
    assert f"connect: {url} {words}" == await failing_ping(far.server.endpoint, url)


async def test_a_silent_proxy(silent: Endpoint, far: FarEnd) -> None:
    """A proxy that accepts and says nothing is given up after -W."""
    url = f"http://{silent}"
    said = await failing_ping(far.server.endpoint, url, wait_seconds=1.5)
    assert f"proxy: {url} did not answer in time (after 1.5 s, the limit for all)" == said


async def test_a_proxy_that_is_an_ssh_server(sshd: peers.Sshd, far: FarEnd) -> None:
    """What answers instead is named."""
    said = await failing_ping(far.server.endpoint, sshd.daemon.url)
    words = "does not answer as an HTTP proxy does (the reply is not HTTP, it looks like an SSH banner: "
    assert said.startswith(f"proxy: {sshd.daemon.url} {words}"), said


async def test_a_proxy_that_is_the_framework_server(far: FarEnd) -> None:
    """It cuts off what is no packet, and its journal says what came: an HTTP request."""
    url = f"http://{far.server.endpoint}"
    said = await failing_ping("elsewhere.invalid:5000", url)
    words = "closed the connection (instead of answering CONNECT elsewhere.invalid:5000: "
    assert said.startswith(f"proxy: {url} {words}"), said
    record = await far.record()
    assert (Ended.FRAME_TOO_LARGE, "an HTTP request") == (record.ended, record.looks_like)


async def test_a_target_that_is_no_framework_server(
    name: str, proxy: Proxy, sshd: peers.Sshd, far: FarEnd
) -> None:
    """A tunnel that opens proves nothing: what sent the wrong bytes at its end is named."""
    said = await failing_ping(sshd.daemon.endpoint, proxy.url)
    words = "sent an SSH banner where a Framework packet belongs: something else answers there"
    assert f"framework: {sshd.daemon.endpoint} {words}" == said
