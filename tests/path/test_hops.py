"""Every kind of hop against a real peer, alone and in chains, by asyncio and by threads."""

import asyncio
import contextlib
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

import pytest
import trustme

from protocol.packet import Packet
from relay.blocking import BlockingPackets, open_tunnel
from relay.framework_client import FrameworkClient
from relay.pump_end import TunnelEnd
from relay.route import Endpoint, Hop, Route
from relay.stdio import carry
from tests.path import hop_peers, peers
from tests.path.conftest import FarEnd
from tests.path.origin import some_bytes, tcp_server
from tests.path.real import SCRIPTS, Daemon, Ran, Tool, ping, relay_command, run
from tests.path.test_real_proxies import failing_ping

Start = Callable[[ExitStack], str]


@pytest.fixture(scope="module")
def certificates(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> "Certificates":
    """Our authority, and a client's certificate from it, as files."""
    return Certificates(authority, tmp_path_factory.mktemp("certificates"))


class Certificates:
    """Files for --proxy-ca, --proxy-cert and --proxy-key."""

    def __init__(self, authority: trustme.CA, place: Path) -> None:
        self.authority_pem = authority.cert_pem.bytes()
        self.ca, self.both, self.cert, self.key = (
            str(place / name) for name in ("ca.pem", "both.pem", "cert.pem", "key.pem")
        )
        client = authority.issue_cert("client@relay.test")
        key, chain = client.private_key_pem.bytes(), b"".join(pem.bytes() for pem in client.cert_chain_pems)
        for name, data in ((self.ca, self.authority_pem), (self.key, key), (self.cert, chain)):
            Path(name).write_bytes(data)
        Path(self.both).write_bytes(key + chain)


@pytest.fixture
def start(tool: Tool, certificate: bytes) -> Iterator[Callable[[str], tuple[str, str]]]:
    """Give `start(kind)`: a proxy's URL, and the address from which it reaches targets."""
    with ExitStack() as stack:

        def begin(kind: str) -> tuple[str, str]:
            if kind in ("socks5", "socks5h", "socks4", "socks4a"):
                running = stack.enter_context(hop_peers.dante(tool))
                return f"{kind}://{running.endpoint}", hop_peers.DANTE_SOURCE
            if kind == "microsocks":
                running = stack.enter_context(hop_peers.microsocks(tool))
                return f"socks5h://{running.endpoint}", hop_peers.MICROSOCKS_SOURCE
            if kind == "microsocks+login":
                running = stack.enter_context(hop_peers.microsocks(tool, login=True))
                return f"socks5h://{login_of()}@{running.endpoint}", hop_peers.MICROSOCKS_SOURCE
            squid = stack.enter_context(peers.squid(tool, login=kind.endswith("+login")))
            if kind.startswith("http"):
                who = f"{login_of()}@" if kind.endswith("+login") else ""
                return f"http://{who}{squid.endpoint}", peers.SQUID_SOURCE
            front = stack.enter_context(front_of(tool, kind, squid.endpoint, certificate))
            who = f"{login_of()}@" if kind.endswith("+login") else ""
            return f"https://{who}{front.endpoint}", peers.SQUID_SOURCE

        yield begin


def login_of(password: str = hop_peers.PASSWORD) -> str:
    return f"{hop_peers.USER}:{quote(password, safe='')}"


@contextlib.contextmanager
def front_of(tool: Tool, kind: str, before: Endpoint, certificate: bytes) -> Iterator[Daemon]:
    if kind.startswith("stunnel"):
        with hop_peers.stunnel(tool, before, certificate=certificate) as running:
            yield running
        return
    key, mark, rest = certificate.partition(b"-----BEGIN CERTIFICATE-----")
    with hop_peers.nghttpx(tool, before, key=key, chain=mark + rest) as running:
        yield running


KINDS = [
    "socks5", "socks5h", "socks4", "socks4a", "microsocks", "microsocks+login", "stunnel", "stunnel+login",
    "nghttpx", "nghttpx+login",
]  # fmt: skip
CHAINS = [
    ("microsocks+login", "http+login"),
    ("http", "socks5h"),
    ("stunnel", "microsocks"),
    ("microsocks", "stunnel+login"),
    ("nghttpx", "socks4"),
    ("socks5", "nghttpx+login"),
    ("stunnel", "stunnel"),
    ("microsocks+login", "nghttpx", "socks4a"),
    ("nghttpx+login", "stunnel+login", "microsocks"),
]


def options_of(urls: list[str], certificates: Certificates) -> list[str]:
    options = [argument for url in urls for argument in ("-x", url)]
    return [*options, "--proxy-ca", certificates.ca, "--proxy-http2"]


@pytest.mark.parametrize("kinds", [(kind,) for kind in KINDS] + CHAINS, ids="->".join)
async def test_pings_through(
    kinds: tuple[str, ...],
    start: Callable[[str], tuple[str, str]],
    certificates: Certificates,
    far: FarEnd,
) -> None:
    """Two pings are answered, by threads (TMSS10Ping) and by asyncio (relay tunnel), and the journal proves
    that the last proxy made the connection; no password is printed."""
    started = [start(kind) for kind in kinds]
    options = options_of([url for url, _ in started], certificates)
    ran = await ping("-P", far.port, "-c", "2", "-i", "0.01", *options, far.host)
    assert (0, "") == (ran.status, ran.stderr)
    assert_no_secret(ran)
    with relay_command("tunnel", str(far.server.endpoint), "-v", *options) as local:
        through = await ping("-c", "2", "-i", "0.01", str(local.endpoint))
        assert (0, "") == (through.status, through.stderr)
        local.stop()  # nghttpx does not pass a half-close on
    records = [await far.record() for _ in range(2)]
    assert [(2, started[-1][1])] * 2 == [(record.pings, record.peer.rpartition(":")[0]) for record in records]
    assert hop_peers.PASSWORD not in local.stderr


def assert_no_secret(ran: Ran) -> None:
    for shown in (ran.text, ran.stderr):
        assert hop_peers.PASSWORD not in shown
        assert quote(hop_peers.PASSWORD, safe="") not in shown


# what fails


async def test_a_wrong_socks_password(tool: Tool, far: FarEnd) -> None:
    """login-refused at stage login, and nothing arrives."""
    with hop_peers.microsocks(tool, login=True) as running:
        said = await failing_ping(far.server.endpoint, f"socks5h://{login_of('guess7')}@{running.endpoint}")
    words = f"answered 1 to SOCKS5 CONNECT {far.server.endpoint}: user or password were not accepted"
    assert f"login: socks5h://{running.endpoint} {words}" == said
    assert [] == far.server.journal.records


async def test_a_wrong_socks_password_is_tried_once(tool: Tool, far: FarEnd) -> None:
    """dante's log has one attempt although four pings were asked for."""
    with hop_peers.dante(tool, login=True) as running:
        url = f"socks5h://{login_of('guess7')}@{running.endpoint}"
        ran = await ping("-P", far.port, "-c", "4", "-i", "0.01", "-x", url, far.host)
        attempts = running.text("dante.log").count("password authentication failed for user")
        logged = running.text("dante.log")
    assert 1 == ran.status
    assert f"login: socks5h://{running.endpoint} answered 1 to SOCKS5 CONNECT" in ran.stderr
    assert 1 == ran.stderr.count("\n"), ran.stderr
    assert 1 == attempts, logged


async def test_no_socks_password(tool: Tool, far: FarEnd) -> None:
    """login-required, in words that say what is missing."""
    with hop_peers.microsocks(tool, login=True) as running:
        said = await failing_ping(far.server.endpoint, f"socks5h://{running.endpoint}")
    words = f"answered 255 to SOCKS5 CONNECT {far.server.endpoint}: it wants a login"
    assert f"login: socks5h://{running.endpoint} {words}" == said


async def test_a_port_that_a_socks_server_refuses(tool: Tool, far: FarEnd) -> None:
    """denied: its rules do not allow it."""
    for version, code in (("socks5h", 2), ("socks4a", 91)):
        with hop_peers.dante(tool, deny_port=far.server.endpoint.port) as running:
            said = await failing_ping(far.server.endpoint, f"{version}://{running.endpoint}")
        asked = f"answered {code} to SOCKS{version[5]} CONNECT {far.server.endpoint}: "
        assert said.startswith(f"proxy: {version}://{running.endpoint} {asked}"), said


async def test_a_target_that_refuses_behind_socks(tool: Tool, closed_port: Endpoint) -> None:
    """It is the target that refuses, and the SOCKS server that says so."""
    with hop_peers.microsocks(tool) as running:
        said = await failing_ping(closed_port, f"socks5h://{running.endpoint}")
    words = f"answered 5 to SOCKS5 CONNECT {closed_port}: the target refused the connection"
    assert f"proxy: socks5h://{running.endpoint} {words}" == said


async def test_http_spoken_to_a_socks_server(tool: Tool, far: FarEnd) -> None:
    """The wrong scheme in -x: dante closes, or says what is no HTTP."""
    with hop_peers.microsocks(tool) as running:
        said = await failing_ping(far.server.endpoint, f"http://{running.endpoint}")
    assert said.startswith(f"proxy: http://{running.endpoint} "), said


async def test_socks_spoken_to_something_else(sshd: peers.Sshd, far: FarEnd) -> None:
    """The wrong port in -x: what answers there is named."""
    said = await failing_ping(far.server.endpoint, f"socks5h://{sshd.daemon.endpoint}")
    words = "it looks like an SSH banner"
    assert said.startswith(f"proxy: socks5h://{sshd.daemon.endpoint} "), said
    assert words in said


@pytest.mark.parametrize("kind", ["stunnel+login", "nghttpx+login"])
async def test_a_wrong_password_behind_tls(
    kind: str, start: Callable[[str], tuple[str, str]], certificates: Certificates, far: FarEnd
) -> None:
    """HTTP/1.1 or HTTP/2: the same sentence, and the proxy's evidence in JSON, without the password."""
    url, _ = start(kind)
    bad = url.replace(quote(hop_peers.PASSWORD, safe=""), "guess-seven")
    ran = await ping("-c", "4", "-P", far.port, "--json", *options_of([bad], certificates), far.host)
    assert 1 == ran.status
    assert 1 == ran.text.count('"reason": "login-refused"')
    assert '"squid_error": "ERR_CACHE_ACCESS_DENIED 0"' in ran.text
    assert "guess-seven" not in ran.text
    assert [] == far.server.journal.records


@pytest.mark.parametrize("kind", ["stunnel", "nghttpx"])
async def test_a_failure_in_a_chain_names_its_hop(
    kind: str, start: Callable[[str], tuple[str, str]], certificates: Certificates, tool: Tool, far: FarEnd
) -> None:
    """The second of three proxies refuses: index and role say so."""
    first, _ = start(kind)
    with peers.squid(tool, allow_ports="443") as strict:
        urls = [first, strict.url, "socks5h://127.0.0.1:1080"]
        ran = await ping("-c", "1", "-P", far.port, *options_of(urls, certificates), far.host)
    assert 1 == ran.status
    words = "answered 403 Forbidden to CONNECT 127.0.0.1:1080"
    assert f"seq=1: proxy: {strict.url} [proxy 2 of 3] {words}" in ran.stderr


# TLS


def one_ping(far: FarEnd, url: str) -> list[str]:
    return ["-P", far.port, "-c", "1", "-x", url]


async def test_a_client_certificate(
    tool: Tool, certificate: bytes, certificates: Certificates, far: FarEnd
) -> None:
    """A proxy that wants one gets it, from one file or two; without it the failure is TLS's."""
    with peers.squid(tool) as squid:
        with hop_peers.stunnel(
            tool, squid.endpoint, certificate=certificate, client_authority=certificates.authority_pem
        ) as front:
            base = [
                "-P",
                far.port,
                "-c",
                "1",
                "-x",
                f"https://{front.endpoint}",
                "--proxy-ca",
                certificates.ca,
            ]
            one = await ping(*base, "--proxy-cert", certificates.both, far.host)
            two = await ping(
                *base, "--proxy-cert", certificates.cert, "--proxy-key", certificates.key, far.host
            )
            none = await ping(*base, far.host)
    assert [(0, ""), (0, "")] == [(one.status, one.stderr), (two.status, two.stderr)]
    assert 1 == none.status
    assert "certificate" in none.stderr.lower(), none.stderr


async def test_another_name_for_sni(
    tool: Tool, authority: trustme.CA, certificates: Certificates, far: FarEnd
) -> None:
    """--proxy-sni: the certificate is for a name that the URL does not have."""
    made = authority.issue_cert("proxy.example")
    pem = made.private_key_pem.bytes() + b"".join(blob.bytes() for blob in made.cert_chain_pems)
    with peers.squid(tool) as squid, hop_peers.stunnel(tool, squid.endpoint, certificate=pem) as front:
        base = [*one_ping(far, f"https://{front.endpoint}"), "--proxy-ca", certificates.ca]
        without = await ping(*base, far.host)
        told = await ping(*base, "--proxy-sni", "proxy.example", far.host)
    assert 1 == without.status
    assert "not trusted here" in without.stderr
    assert (0, "") == (told.status, told.stderr)


async def test_the_systems_trust(
    tool: Tool, certificate: bytes, certificates: Certificates, far: FarEnd
) -> None:
    """--proxy-system-trust: the proxy is refused unless its authority is there (SSL_CERT_FILE)."""
    with (
        peers.squid(tool) as squid,
        hop_peers.stunnel(tool, squid.endpoint, certificate=certificate) as front,
    ):
        base = [*one_ping(far, f"https://{front.endpoint}"), "--proxy-system-trust"]
        foreign = await ping(*base, far.host)
        own = await ping(*base, far.host, SSL_CERT_FILE=certificates.ca)
    assert 1 == foreign.status
    assert "not trusted here" in foreign.stderr
    assert (0, "") == (own.status, own.stderr)


async def test_each_proxy_has_its_own_tls(
    tool: Tool, certificate: bytes, certificates: Certificates, far: FarEnd
) -> None:
    """Two TLS proxies of two authorities: an option given twice belongs to the -x before it."""
    other = trustme.CA()
    made = other.issue_cert("127.0.0.1", "far-proxy.example")
    pem = made.private_key_pem.bytes() + b"".join(blob.bytes() for blob in made.cert_chain_pems)
    other_ca = str(Path(certificates.ca).with_name("other.pem"))
    other.cert_pem.write_to_path(other_ca)
    with ExitStack() as stack:
        squid = stack.enter_context(peers.squid(tool))
        first = stack.enter_context(hop_peers.stunnel(tool, squid.endpoint, certificate=certificate))
        second = stack.enter_context(hop_peers.stunnel(tool, squid.endpoint, certificate=pem))
        ran = await ping(
            "-P", far.port, "-c", "1",
            "-x", f"https://{first.endpoint}", "--proxy-ca", certificates.ca,
            "-x", f"https://{second.endpoint}", "--proxy-ca", other_ca, "--proxy-sni", "far-proxy.example",
            far.host,
        )  # fmt: skip
    # One SNI is for every proxy: the first has no such name
    assert 1 == ran.status
    assert f"tls: https://{first.endpoint} [proxy 1 of 2]" in ran.stderr


# ssh


@pytest.mark.parametrize(
    "kinds", [("microsocks+login", "stunnel+login"), ("nghttpx", "socks4a")], ids="->".join
)
async def test_ssh_through_a_chain(
    kinds: tuple[str, ...],
    start: Callable[[str], tuple[str, str]],
    certificates: Certificates,
    tool: Tool,
    sshd: peers.Sshd,
) -> None:
    """`ssh -o ProxyCommand='relay tunnel --stdio ...'`: a megabyte through `cat` on the other side."""
    urls = [start(kind)[0] for kind in kinds]
    # ssh expands % in its ProxyCommand
    options = " ".join(options_of(urls, certificates)).replace("%", "%%")
    where = sshd.daemon.endpoint
    body = bytes(range(256)) * 4096
    ran = await run(
        tool("ssh", "openssh-client"), *sshd.options,
        "-o", f"ProxyCommand={SCRIPTS / 'relay'} tunnel --stdio {options} %h:%p",
        "-p", str(where.port), f"{sshd.user}@{where.host}", "cat", stdin=body,
    )  # fmt: skip
    assert (0, body) == (ran.status, ran.stdout), ran.stderr


async def test_a_proxy_that_drops_our_last_word_does_not_hold_up_stdio(
    start: Callable[[str], tuple[str, str]], certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    """nghttpx keeps our END_STREAM to itself: what came is given, and the wait has an end that is told."""
    monkeypatch.setattr("relay.http2_pipe.HALF_CLOSED_SECONDS", 0.5)
    url, _ = start("nghttpx")

    async def answer_and_wait(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.readexactly(5))
        await reader.read()

    def piped(target: Endpoint) -> tuple[TunnelEnd, bytes]:
        stream = open_tunnel(Route(target, (replace(Hop.parse(url), ca_file=certificates.ca, http2=True),)))
        with contextlib.ExitStack() as stack:
            ends = [descriptor for _ in range(2) for descriptor in os.pipe()]
            for descriptor in (ends[0], ends[2], ends[3]):
                stack.callback(os.close, descriptor)
            os.write(ends[1], b"hello")
            os.close(ends[1])
            return carry(stream, ends[0], ends[3]), os.read(ends[2], 100)

    async with tcp_server(answer_and_wait) as target:
        assert (TunnelEnd.TARGET_UNHEARD, b"hello") == await asyncio.to_thread(piped, target)


@pytest.mark.parametrize("kind", ["nghttpx", "microsocks", "stunnel"])
async def test_a_megabyte_there_and_back(
    kind: str, start: Callable[[str], tuple[str, str]], certificates: Certificates, far: FarEnd
) -> None:
    """More than any window or buffer holds, up and down at the same time, by asyncio and by threads."""
    url, _ = start(kind)
    hop = replace(Hop.parse(url), ca_file=certificates.ca, http2=True)
    route = Route(far.server.endpoint, (hop,))
    body = some_bytes(3_000_000)
    async with FrameworkClient(route) as client:
        reply = await client.request(Packet.echo(body))
    assert body == reply.argument

    def by_threads() -> bytes:
        packets = BlockingPackets(open_tunnel(route))
        try:
            packets.send(Packet.echo(body))
            return packets.receive()[0].argument
        finally:
            packets.close()

    assert body == await asyncio.to_thread(by_threads)
