"""`relay check` where the obvious reading blames the wrong one: chains, TLS, SOCKS and silence."""

import asyncio
from asyncio import StreamReader, StreamWriter
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path

import pytest
import trustme

from relay.checks.closed_port import CLOSED_PORT
from relay.report import Told, document
from relay.route import Endpoint
from tests.path import peers
from tests.path.checked import Serve, assert_named, check, read_head, serving, until_end
from tests.path.conftest import FarEnd, OurProxy
from tests.path.hop_peers import stunnel
from tests.path.origin import server_tls
from tests.path.real import Tool, loopback_host

ESTABLISHED = b"HTTP/1.1 200 Connection established\r\n\r\n"
FORBIDDEN = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n"


def answering(reply: bytes) -> Serve:
    """A proxy that says the same to everybody, and hangs up."""

    async def play(reader: StreamReader, writer: StreamWriter) -> None:
        await read_head(reader)
        writer.write(reply)

    return play


@pytest.mark.parametrize(
    ("reply", "cause"),
    [
        (b"511 Network Authentication Required\r\nContent-Length: 0\r\n\r\n", "proxy-network-login"),
        (b"503 No\r\nRetry-After: 5\r\nContent-Length: 17\r\n\r\nToo many clients.", "proxy-overloaded"),
        (
            b"502 No\r\nKeep-Alive: timeout=5\r\nContent-Length: 16\r\n\r\nNo route to host",
            "proxy-upstream-unreachable",
        ),
    ],
    ids=["a portal", "a limit", "no route"],
)
async def test_what_a_refusal_says(reply: bytes, cause: str, far: FarEnd) -> None:
    """A portal, a limit and a missing route, each in the words in which it was told."""
    async with serving(answering(b"HTTP/1.1 " + reply)) as proxy:
        checked = await check(far.server.endpoint, f"http://{proxy}")
    assert_named(checked, cause)
    tunnel = checked.found.of("tunnel")
    assert tunnel is not None
    assert ("login" in tunnel.words) == (cause == "proxy-network-login"), tunnel.words


def pool(bad: bytes, numbers: Iterator[int]) -> Serve:
    """Two proxies behind one address, in turn: the odd one says `bad`."""

    async def play(reader: StreamReader, writer: StreamWriter) -> None:
        await read_head(reader)
        if next(numbers) % 2:
            writer.write(bad)
        else:
            writer.write(ESTABLISHED)
            await until_end(reader)

    return play


@pytest.mark.parametrize("bad", [FORBIDDEN, b""], ids=["refuses", "hangs up"])
async def test_the_bad_one_of_a_pool_comes_first(bad: bytes, far: FarEnd) -> None:
    """Its refusal is no policy of the address: the same request passes on another connection."""
    async with serving(pool(bad, count(1))) as proxy:
        checked = await check(far.server.endpoint, f"http://{proxy}")
    assert_named(checked, "proxy-refuses-now-and-then")


@pytest.mark.parametrize(
    ("bad", "words"),
    [(FORBIDDEN, "answered 403 Forbidden"), (b"", "closed the connection")],
    ids=["refuses", "hangs up"],
)
async def test_one_proxy_of_a_pool_is_bad(bad: bytes, words: str, far: FarEnd) -> None:
    """Each connection goes to the next member: the path is broken every second time, and says how."""
    async with serving(pool(bad, count())) as proxy:
        checked = await check(far.server.endpoint, f"http://{proxy}")
    assert_named(checked, "proxy-now-and-then")
    assert words in Told(checked.found, checked.diagnosis).sentence


async def test_the_next_proxy_is_down(far: FarEnd, our_proxy: OurProxy, closed_port: Endpoint) -> None:
    """What the first one says is of the second, and not of the server."""
    checked = await check(far.server.endpoint, our_proxy.url, f"http://{closed_port}")
    assert_named(checked, "proxy-next-hop")
    told = Told(checked.found, checked.diagnosis)
    words = f"{our_proxy.url} cannot reach the next proxy of the chain, http://{closed_port}."
    assert (words, words) == (told.headline, document(told)["diagnosis"]["causes"][0]["title"])


async def test_the_next_proxy_is_forbidden(far: FarEnd, our_proxy: OurProxy, tool: Tool) -> None:
    """The first one's policy is for the second proxy's port, and not for the server's."""
    with peers.squid(tool, allow_ports="443") as first:
        checked = await check(far.server.endpoint, first.url, our_proxy.url)
    assert_named(checked, "proxy-next-hop-denied")


async def test_the_next_proxy_is_a_socks_proxy(far: FarEnd, our_proxy: OurProxy) -> None:
    """It is asked through the first one what it is."""

    async def socks(reader: StreamReader, writer: StreamWriter) -> None:
        if (await reader.readexactly(1)) == b"\x05":
            writer.write(b"\x05\xff")
            await until_end(reader)

    async with serving(socks) as second:
        checked = await check(far.server.endpoint, our_proxy.url, f"http://{second}")
    assert_named(checked, "proxy-is-socks")


@pytest.mark.parametrize(
    ("offer", "cause"),
    [
        ('Digest realm="x", nonce="y"', "proxy-407-no-credentials"),
        ("NTLM", "proxy-407-no-credentials"),
        ("Negotiate", "proxy-407-no-ticket"),
        ('Bearer realm="x"', "proxy-407-scheme-unsupported"),
    ],
)
async def test_what_a_login_takes(offer: str, cause: str, far: FarEnd) -> None:
    """A user and a password also log in by Digest and NTLM."""
    reply = f"HTTP/1.1 407 Login\r\nProxy-Authenticate: {offer}\r\nContent-Length: 0\r\n\r\n"
    async with serving(answering(reply.encode())) as proxy:
        assert_named(await check(far.server.endpoint, f"http://{proxy}"), cause)


async def test_ntlm_that_is_cut_between_its_messages(far: FarEnd) -> None:
    """A balancer that closes after each reply: the password has not been looked at."""
    wanted = (
        b"HTTP/1.1 407 Login\r\nProxy-Authenticate: NTLM\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
    )

    async def balanced(reader: StreamReader, writer: StreamWriter) -> None:
        # A proxy offers NTLM no more where the connection is not to last
        head = await read_head(reader)
        offers = b"Proxy-Authorization" not in head
        writer.write(wanted if offers else wanted.replace(b"Proxy-Authenticate: NTLM\r\n", b""))

    async with serving(balanced) as proxy:
        checked = await check(far.server.endpoint, f"http://ada:secret@{proxy}")
    assert_named(checked, "proxy-407-turned-away")


@pytest.fixture
def trusted(authority: trustme.CA, tmp_path: Path) -> Path:
    """What `--proxy-ca` names."""
    file = tmp_path / "ca.pem"
    file.write_bytes(authority.cert_pem.bytes())
    return file


async def test_an_https_proxy_that_hangs_up(far: FarEnd, certificate: bytes, trusted: Path) -> None:
    """Its URL begins with https:// already, so that is not what is wrong."""

    async def hang_up(reader: StreamReader, writer: StreamWriter) -> None:
        del writer
        await read_head(reader)

    async with serving(hang_up, server_tls(certificate)) as proxy:
        checked = await check(far.server.endpoint, f"https://{proxy}", ca_file=trusted)
    assert_named(checked, "proxy-hangs-up")


@pytest.mark.parametrize(
    ("name", "days", "cause"),
    [("other.example", 1, "proxy-cert-other-name"), (None, -1, "proxy-cert-expired")],
)
async def test_a_certificate_that_is_wrong(
    name: str | None, days: int, cause: str, far: FarEnd, authority: trustme.CA, trusted: Path
) -> None:
    """Another CA would not mend it."""
    ends = datetime.now(UTC) + timedelta(days=days)
    starts = ends - timedelta(days=2)
    made = authority.issue_cert(name or loopback_host(), not_before=starts, not_after=ends)
    pem = made.private_key_pem.bytes() + b"".join(blob.bytes() for blob in made.cert_chain_pems)
    async with serving(answering(ESTABLISHED), server_tls(pem)) as proxy:
        checked = await check(far.server.endpoint, f"https://{proxy}", ca_file=trusted)
    assert_named(checked, cause)


async def test_an_https_proxy_that_wants_a_certificate(
    far: FarEnd, our_proxy: OurProxy, authority: trustme.CA, certificate: bytes, trusted: Path, tool: Tool
) -> None:
    """It does speak TLS, and wants to see a certificate of ours in it."""
    clients = authority.cert_pem.bytes()
    before = our_proxy.service.endpoint
    with stunnel(tool, before, certificate=certificate, client_authority=clients) as proxy:
        checked = await check(far.server.endpoint, f"https://{proxy.endpoint}", ca_file=trusted)
    assert_named(checked, "proxy-wants-certificate")


async def hang_up_on_connect(reader: StreamReader, writer: StreamWriter) -> None:
    """As ssh -D: a method, and then the end instead of a reply."""
    if (await reader.readexactly(1)) == b"\x05":
        writer.write(b"\x05\x00")
        await reader.readexactly(3)


@pytest.mark.parametrize(
    ("scheme", "cause"), [("socks5h", "socks-hangs-up"), ("socks4a", "socks-other-version")]
)
async def test_a_socks_proxy_that_hangs_up(scheme: str, cause: str, far: FarEnd) -> None:
    """It is a SOCKS proxy, as the setting says: of that version, or of the other one."""
    async with serving(hang_up_on_connect) as proxy:
        assert_named(await check(far.server.endpoint, f"{scheme}://{proxy}"), cause)


async def test_a_proxy_that_waits_for_one_host(far: FarEnd) -> None:
    """Silent for the server on every port, it answers everything else at once: it is no silent proxy."""

    async def waiting(reader: StreamReader, writer: StreamWriter) -> None:
        if b"CONNECT 127.0.0.1:" in await read_head(reader):
            writer.write(FORBIDDEN)
        else:
            await until_end(reader)

    async with serving(waiting) as proxy:
        checked = await check(Endpoint("192.0.2.7", 5000), f"http://{proxy}")
    assert_named(checked, "proxy-upstream-silent-host")


@pytest.mark.parametrize(
    ("status", "cause"), [("431 Too large", "proxy-head-limit"), ("404 Not found", "proxy-rejects-request")]
)
async def test_a_proxy_that_does_not_like_the_request(status: str, cause: str) -> None:
    """It is a proxy all the same: it opens a tunnel to itself."""

    async def picky(reader: StreamReader, writer: StreamWriter) -> None:
        refused = f"HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n".encode()
        writer.write(ESTABLISHED if b"CONNECT 127.0.0.1:" in await read_head(reader) else refused)

    async with serving(picky) as proxy:
        assert_named(await check(Endpoint("far.invalid", 5000), f"http://{proxy}"), cause)


async def test_a_policy_does_not_hide_an_early_200() -> None:
    """Port 1 is forbidden; a host that nobody has is opened all the same."""

    async def early(reader: StreamReader, writer: StreamWriter) -> None:
        head = await read_head(reader)
        writer.write(FORBIDDEN if f":{CLOSED_PORT} ".encode() in head else ESTABLISHED)

    async with serving(early) as proxy:
        checked = await check(Endpoint("192.0.2.7", 5000), f"http://{proxy}")
    assert_named(checked, "proxy-answers-before-connecting")


@pytest.mark.parametrize("is_constant", [False, True])
async def test_a_tunnel_that_ended_before_its_first_packet(far: FarEnd, is_constant: bool) -> None:
    """One end by FIN is a short limit of silence on a busy machine; what does it again changes bytes."""
    ended: list[bytes] = []

    async def carry(reader: StreamReader, writer: StreamWriter) -> None:
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()

    async def play(reader: StreamReader, writer: StreamWriter) -> None:
        await read_head(reader)
        writer.write(ESTABLISHED)
        first = await reader.read(65_536)
        # As a sweep of sizes up begins: with 200 bytes, and what seals them
        if 230 < len(first) < 300 and (is_constant or not ended):
            ended.append(first)
            return
        there, back = await asyncio.open_connection(far.server.endpoint.host, far.server.endpoint.port)
        with closing(back):
            back.write(first)
            await asyncio.gather(carry(reader, back), carry(there, writer), return_exceptions=True)

    async with serving(play) as proxy:
        checked = await check(far.server.endpoint, f"http://{proxy}")
    sizes = checked.found.of("sizes")
    assert sizes is not None, checked.told
    assert ended
    assert ("changed" if is_constant else "all") == sizes.outcome, checked.told
    assert is_constant == ("large-payload-rewritten" in checked.named), checked.told
