"""`relay check` on loopback: real proxies and servers, healthy and broken; the cause named first."""

import asyncio
import socket
import struct
from asyncio import StreamReader, StreamWriter
from dataclasses import replace

import pytest

from protocol.sealing import Key
from relay.check import CHECKS, Trip
from relay.finding import Finding
from relay.report import Told
from relay.route import Endpoint
from tests.path import peers
from tests.path.checked import assert_good, assert_named, check, read_head, serving, until_end
from tests.path.conftest import FarEnd, OurProxy
from tests.path.origin import server_tls
from tests.path.real import Tool

OPEN = {"squid": peers.squid, "tinyproxy": peers.tinyproxy, "apache": peers.apache}
ONLY_443 = {
    "squid": {"allow_ports": "443"},
    "tinyproxy": {"allow_port": 443},
    "apache": {"allow_ports": "443"},
}
ESTABLISHED = b"HTTP/1.1 200 Connection established\r\n\r\n"


async def test_a_healthy_direct_path_is_good(far: FarEnd) -> None:
    """No alarm without a fault; every quality is tried."""
    checked = await check(far.server.endpoint)
    assert_good(checked)
    assert {"answered", "all", "kept", "clean"} <= {one.outcome for one in checked.found.findings}, (
        checked.told
    )


async def test_a_healthy_path_through_our_proxy_is_good(far: FarEnd, our_proxy: OurProxy) -> None:
    """No alarm, and nothing worth a note."""
    checked = await check(far.server.endpoint, our_proxy.url)
    assert_good(checked)
    assert () == checked.diagnosis.notices, checked.told


@pytest.mark.parametrize("name", OPEN)
async def test_a_healthy_path_through_a_real_proxy_is_good(name: str, far: FarEnd, tool: Tool) -> None:
    """No alarm: that squid and tinyproxy lose late answers is noted, and no fault."""
    with OPEN[name](tool) as proxy:
        checked = await check(far.server.endpoint, proxy.url)
    assert_good(checked)
    notes = [] if name == "apache" else ["tunnel-half-close"]
    assert notes == [cause.id for cause in checked.diagnosis.notices], checked.told


@pytest.mark.parametrize("name", OPEN)
async def test_a_port_policy_is_told_from_a_blocked_host(name: str, far: FarEnd, tool: Tool) -> None:
    """Only port 443 may be reached: the proxy's administrator must allow the port."""
    with OPEN[name](tool, **ONLY_443[name]) as proxy:
        checked = await check(far.server.endpoint, proxy.url)
    assert_named(checked, "proxy-port-policy")


@pytest.mark.parametrize("name", OPEN)
async def test_a_closed_port_behind_a_proxy(name: str, closed_port: Endpoint, tool: Tool) -> None:
    """Nothing listens at the target: squid says so, of tinyproxy and Apache it is concluded."""
    with OPEN[name](tool) as proxy:
        checked = await check(closed_port, proxy.url)
    assert_named(checked, "proxy-upstream-refused")


async def test_a_closed_port_behind_our_proxy(closed_port: Endpoint, our_proxy: OurProxy) -> None:
    """Our proxy says so in Proxy-Status."""
    checked = await check(closed_port, our_proxy.url)
    # Beyond its own machine only with --allow-local; loopback listeners may
    assert_named(checked, "proxy-upstream-refused")


@pytest.mark.parametrize("name", OPEN)
async def test_a_name_that_the_proxy_does_not_know(name: str, tool: Tool) -> None:
    """The proxy cannot resolve the target; no alarm about this machine, which may not either."""
    with OPEN[name](tool) as proxy:
        checked = await check(Endpoint("no-such-name.invalid", 5000), proxy.url)
    assert_named(checked, "proxy-upstream-dns")


async def test_a_closed_port(closed_port: Endpoint) -> None:
    """Refused by the machine itself."""
    assert_named(await check(closed_port), "server-port-closed")


async def test_nothing_listens_at_the_proxy(far: FarEnd, closed_port: Endpoint) -> None:
    """The proxy's address is wrong, or it is down; nothing is said about the server."""
    assert_named(await check(far.server.endpoint, f"http://{closed_port}"), "proxy-refused")


@pytest.mark.parametrize("name", OPEN)
async def test_a_login_is_wanted(name: str, far: FarEnd, tool: Tool) -> None:
    """407 without a login of ours: what is offered is told."""
    with OPEN[name](tool, login=True) as proxy:
        checked = await check(far.server.endpoint, proxy.url)
    assert_named(checked, "proxy-407-no-credentials")


@pytest.mark.parametrize("name", OPEN)
async def test_a_login_is_wrong(name: str, far: FarEnd, tool: Tool) -> None:
    """The password is sent once, and never again: an account would be locked."""
    with OPEN[name](tool, login=True) as proxy:
        checked = await check(far.server.endpoint, f"http://relay:wrong@{proxy.endpoint}")
    expected = "proxy-401-quirk" if name == "tinyproxy" else "proxy-407-wrong-credentials"
    assert_named(checked, expected)
    assert 2 == checked.found.connections, checked.told


async def test_a_portal_redirects(far: FarEnd) -> None:
    """The page that it wants opened is in the hint."""

    async def portal(reader: StreamReader, writer: StreamWriter) -> None:
        await read_head(reader)
        writer.write(b"HTTP/1.1 302 Found\r\nLocation: http://login.test/\r\nContent-Length: 0\r\n\r\n")
        await until_end(reader)

    async with serving(portal) as proxy:
        assert_named(await check(far.server.endpoint, f"http://{proxy}"), "proxy-deny-redirect")


async def test_a_page_comes_as_a_200(far: FarEnd) -> None:
    """A 200 with a page is no tunnel."""

    async def portal(reader: StreamReader, writer: StreamWriter) -> None:
        await read_head(reader)
        page = b"<!doctype html><html><title>Log in</title></html>"
        writer.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: %d\r\n\r\n" % len(page) + page
        )
        await until_end(reader)

    async with serving(portal) as proxy:
        assert_named(await check(far.server.endpoint, f"http://{proxy}"), "proxy-200-html")


async def test_tls_inspection_kills_what_is_not_tls(far: FarEnd) -> None:
    """200 to everything, even to a closed port, and the end of all that does not begin as TLS."""

    async def inspect(reader: StreamReader, writer: StreamWriter) -> None:
        await read_head(reader)
        writer.write(ESTABLISHED)
        if (await reader.readexactly(1)) == b"\x16":
            await until_end(reader)

    async with serving(inspect) as proxy:
        assert_named(await check(far.server.endpoint, f"http://{proxy}"), "tls-inspection-kills-nontls")


async def test_tls_inspection_starves_what_is_not_tls(far: FarEnd) -> None:
    """200 to everything, and silence but for what begins as TLS: that comes to an end."""

    async def inspect(reader: StreamReader, writer: StreamWriter) -> None:
        await read_head(reader)
        writer.write(ESTABLISHED)
        if (await reader.readexactly(1)) != b"\x16":
            await until_end(reader)

    async with serving(inspect) as proxy:
        assert_named(
            await check(far.server.endpoint, f"http://{proxy}"), "tls-inspection-starves-server-first"
        )


async def test_a_proxy_that_passes_nothing(far: FarEnd) -> None:
    """200 to everything, and silence, for what begins as TLS as well: it need not wait for that."""

    async def swallow(reader: StreamReader, writer: StreamWriter) -> None:
        await read_head(reader)
        writer.write(ESTABLISHED)
        await until_end(reader)

    async with serving(swallow) as proxy:
        checked = await check(far.server.endpoint, f"http://{proxy}")
    assert_named(checked, "proxy-passes-nothing")
    assert "tls-inspection-starves-server-first" in checked.named


async def test_a_proxy_that_says_200_too_early(far: FarEnd) -> None:
    """It hangs up by itself, whatever is sent: it had not connected."""

    async def early(reader: StreamReader, writer: StreamWriter) -> None:
        await read_head(reader)
        writer.write(ESTABLISHED)

    async with serving(early) as proxy:
        assert_named(await check(far.server.endpoint, f"http://{proxy}"), "proxy-answers-before-connecting")


async def test_a_silent_proxy(far: FarEnd, silent: Endpoint) -> None:
    """It takes the connection and says nothing to anything."""
    assert_named(await check(far.server.endpoint, f"http://{silent}"), "proxy-silent")


async def test_a_socks_proxy_is_taken_for_an_http_proxy(far: FarEnd) -> None:
    """It hangs up on CONNECT, and answers a SOCKS greeting."""

    async def socks(reader: StreamReader, writer: StreamWriter) -> None:
        if (await reader.readexactly(1)) == b"\x05":
            writer.write(b"\x05\xff")
            await until_end(reader)

    async with serving(socks) as proxy:
        assert_named(await check(far.server.endpoint, f"http://{proxy}"), "proxy-is-socks")


async def test_a_tls_proxy_is_taken_for_a_plain_one(far: FarEnd, certificate: bytes, tool: Tool) -> None:
    """The proxy's URL must begin with https://."""
    with peers.squid(tool, certificate=certificate) as proxy:
        assert_named(await check(far.server.endpoint, proxy.url), "proxy-is-tls")


async def test_a_tls_proxy_whose_certificate_is_unknown(far: FarEnd, certificate: bytes, tool: Tool) -> None:
    """The company's CA is not trusted here."""
    with peers.squid(tool, certificate=certificate) as proxy:
        assert_named(await check(far.server.endpoint, f"https://{proxy.endpoint}"), "proxy-cert-untrusted")


async def test_a_plain_proxy_is_taken_for_a_tls_one(far: FarEnd, tool: Tool) -> None:
    """The proxy's URL must begin with http://."""
    with peers.tinyproxy(tool) as proxy:
        assert_named(await check(far.server.endpoint, f"https://{proxy.endpoint}"), "proxy-is-plain")


async def test_an_ssh_server_is_taken_for_a_proxy(far: FarEnd, sshd: peers.Sshd) -> None:
    """What listens there is no HTTP proxy."""
    assert_named(await check(far.server.endpoint, sshd.daemon.url), "proxy-is-other")


async def test_a_web_server_is_taken_for_a_proxy(far: FarEnd) -> None:
    """A web server does not know CONNECT."""

    async def web(reader: StreamReader, writer: StreamWriter) -> None:
        await read_head(reader)
        writer.write(b"HTTP/1.1 405 Method Not Allowed\r\nAllow: GET\r\nContent-Length: 0\r\n\r\n")

    async with serving(web) as proxy:
        checked = await check(far.server.endpoint, f"http://{proxy}")
    assert_named(checked, "proxy-connect-forbidden")
    assert "proxy-is-web-server" in checked.named


async def test_an_ssh_server_is_taken_for_the_server(sshd: peers.Sshd) -> None:
    """It speaks first, and says what it is."""
    assert_named(await check(sshd.daemon.endpoint), "wrong-service-banner")


async def test_a_web_server_is_taken_for_the_server() -> None:
    """Silent until it has a whole line, so only an HTTP request makes it speak."""

    async def web(reader: StreamReader, writer: StreamWriter) -> None:
        head = await read_head(reader)
        if head.startswith(b"GET"):
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello")

    async with serving(web) as target:
        assert_named(await check(target), "wrong-service-http")


async def test_a_tls_server_is_taken_for_the_server(certificate: bytes) -> None:
    """A certificate comes back where our packet got none."""
    context = server_tls(certificate)

    async def hold(reader: StreamReader, writer: StreamWriter) -> None:
        await until_end(reader)
        writer.close()

    server = await asyncio.start_server(hold, "127.0.0.1", 0, ssl=context)
    async with server:
        assert_named(await check(Endpoint(*server.sockets[0].getsockname()[:2])), "wrong-service-tls")


async def test_the_key_is_another_one(far: FarEnd) -> None:
    """The server takes the connection and hangs up on our packet."""
    assert_named(await check(far.server.endpoint, key=Key(bytes(32))), "app-key-or-version")


@pytest.mark.parametrize("name", OPEN)
async def test_the_key_is_another_one_behind_a_proxy(name: str, far: FarEnd, tool: Tool) -> None:
    """The same through a proxy is no fault of the proxy: a closed port is told."""
    with OPEN[name](tool) as proxy:
        checked = await check(far.server.endpoint, proxy.url, key=Key(bytes(32)))
    assert checked.cause in ("upstream-close-in-tunnel", "app-key-or-version"), checked.told
    assert {"upstream-close-in-tunnel", "app-key-or-version"} == set(checked.named), checked.told


async def test_a_silent_server(silent: Endpoint) -> None:
    """It takes the packet and never answers."""
    checked = await check(silent)
    assert_named(checked, "server-silent")
    assert {"return-path-drop", "server-fin-lost"} <= set(checked.named), checked.told


async def test_a_silent_server_behind_a_proxy(silent: Endpoint, our_proxy: OurProxy) -> None:
    """The proxy refuses a closed port, so it has connected; the server is silent."""
    assert_named(await check(silent, our_proxy.url), "server-silent")


async def test_a_server_that_hangs_up_at_once() -> None:
    """Before a word is said."""

    async def leave(reader: StreamReader, writer: StreamWriter) -> None:
        pass

    async with serving(leave) as target:
        assert_named(await check(target), "server-close-on-accept")


async def test_a_server_that_resets_on_a_packet() -> None:
    """It has acknowledged our packet, so the reset is its own."""

    async def reset(reader: StreamReader, writer: StreamWriter) -> None:
        await reader.readexactly(8)
        linger = struct.pack("ii", 1, 0)
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        writer.transport.abort()

    async with serving(reset) as target:
        assert_named(await check(target), "server-reset-after-frame")


async def test_a_chain_is_good(far: FarEnd, our_proxy: OurProxy, tool: Tool) -> None:
    """Two proxies, one behind the other."""
    with peers.apache(tool) as second:
        assert_good(await check(far.server.endpoint, our_proxy.url, second.url))


async def test_the_second_proxy_of_a_chain_refuses(far: FarEnd, our_proxy: OurProxy, tool: Tool) -> None:
    """The one that has refused is named, not the first."""
    with peers.squid(tool, allow_ports="443") as second:
        checked = await check(far.server.endpoint, our_proxy.url, second.url)
    assert_named(checked, "proxy-port-policy")
    assert second.url in Told(checked.found, checked.diagnosis).headline


async def test_a_check_that_fails_itself_takes_no_verdict_with_it(
    far: FarEnd, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A defect of one check is told as untested, and the rest is judged."""

    async def defect(trip: Trip) -> Finding:
        """Fail."""
        raise LookupError("a defect")

    monkeypatch.setitem(CHECKS, "half-close", replace(CHECKS["half-close"], run=defect))
    checked = await check(far.server.endpoint)
    assert_good(checked)
    (failed,) = [one for one in checked.found.findings if one.question == "half-close"]
    assert ("untested", "the check itself failed: LookupError: a defect") == (failed.outcome, failed.words)


async def test_no_more_connections_than_a_run_may(
    closed_port: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What would go beyond the limit is not asked, and says so."""
    monkeypatch.setattr("relay.check.MAX_CONNECTIONS", 1)
    checked = await check(closed_port)
    assert 1 == checked.found.connections
    assert "untested" in {one.outcome for one in checked.found.findings}, checked.told


async def test_an_unknown_name() -> None:
    """The name does not exist, or no name server is there to say so."""
    checked = await check(Endpoint("no-such-name.invalid", 5000))
    assert "resolve" == checked.diagnosis.causes[0].stage, checked.told


async def test_the_proxys_name_is_unknown(far: FarEnd) -> None:
    """It is the proxy's name that is told."""
    checked = await check(far.server.endpoint, "http://no-such-proxy.invalid:3128")
    assert_named(checked, "proxy-name-unresolved")
