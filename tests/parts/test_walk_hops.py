"""SOCKS hops, alternatives, races, limits and evidence: asyncio and threads make the same of them."""

import base64
import json
import socket
from collections.abc import Callable

import pytest

from relay.failure import DialFailed, ProxyRefused, Reason, RelayError, Stage, TimedOut
from relay.hop_evidence import answered, redacted
from relay.race import Race, interleaved
from relay.route import Endpoint, Hop, Route
from relay.trace import Trace
from tests.parts.scripted_proxy import DEST, OK, WAYS, Opening, Played, ScriptedProxy, read_exactly

SHORT_SECONDS = 0.15
PATIENT_SECONDS = 30.0
SOCKS_REQUEST = b"\x05\x01\x00\x03\x0cdest.example\x13\x88"
SOCKS_OK = b"\x05\x00\x00\x01" + bytes(6)


def take(played: Played, size: int) -> bytes:
    while len(played.rest) < size:
        data = played.sock.recv(65536)
        if not data:
            raise EOFError
        played.rest += data
    taken, played.rest = played.rest[:size], played.rest[size:]
    played.heads.append(taken)
    return taken


def socks(*, login: bytes = b"", reply: bytes = SOCKS_OK) -> Callable[[Played], None]:
    """A SOCKS 5 server that answers byte by byte; `login`: the answer to one, which it asks for then."""

    def scene(played: Played) -> None:
        take(played, 2)
        take(played, played.heads[-1][1])
        played.write(b"\x05", b"\x02" if login else b"\x00")
        if login:
            take(played, 2)
            take(played, played.heads[-1][1])
            take(played, 1)
            take(played, played.heads[-1][0])
            played.write(login[:1], login[1:])
            if login[1]:
                played.wait_for_end()
                return
        take(played, len(SOCKS_REQUEST))
        played.write(*(bytes([byte]) for byte in reply), b"early")
        played.echo()

    return scene


def tunnel(played: Played) -> None:
    played.head()
    played.write(OK)
    played.echo()


def silent(played: Played) -> None:
    played.wait_for_end()


def closed() -> Endpoint:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return Endpoint(*sock.getsockname())


def test_socks_byte_by_byte(opening: Opening) -> None:
    """Its answers cut at every byte; early bytes are the tunnel's, and the login went out once."""
    with ScriptedProxy(socks(login=b"\x01\x00")) as proxy:
        hop = Hop(proxy.endpoint, socks="socks5h", user="bob", password="secret")
        opened = opening(Route(DEST, (hop,)))
        opened.write(b" hello")
        assert b"early hello" == read_exactly(opened, 11)
    assert 1 == proxy.heads.count(b"secret")
    assert SOCKS_REQUEST == proxy.heads[-1]


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (1, Reason.GATEWAY),
        (2, Reason.DENIED),
        (3, Reason.GATEWAY),
        (4, Reason.GATEWAY),
        (5, Reason.GATEWAY),
        (6, Reason.GATEWAY),
        (7, Reason.NO_CONNECT),
        (8, Reason.NO_CONNECT),
        (99, Reason.GATEWAY),
    ],
)
def test_socks_refusals(code: int, reason: Reason) -> None:
    """Each code has a reason and words; both ways of opening say the same."""
    told = []
    with ScriptedProxy(socks(reply=bytes([5, code, 0, 1]) + bytes(6))) as proxy:
        hop = Hop(proxy.endpoint, socks="socks5h")
        for way in WAYS.values():
            with way() as opening, pytest.raises(ProxyRefused) as caught:
                opening(Route(DEST, (hop,)))
            told.append((str(caught.value), caught.value.status, caught.value.failure.reason))
    assert told[0] == told[1]
    assert (code, reason) == told[0][1:]
    assert told[0][0].startswith(f"proxy: {hop} answered {code} to SOCKS5 CONNECT dest.example:5000: ")


def test_a_refused_socks_login(opening: Opening) -> None:
    """Stage login; one attempt; the password is nowhere in the failure."""
    with ScriptedProxy(socks(login=b"\x01\x01")) as proxy:
        hop = Hop(proxy.endpoint, socks="socks5h", user="bob", password="guess7")
        with pytest.raises(ProxyRefused) as caught:
            opening(Route(DEST, (hop,)))
    failure = caught.value.failure
    assert (Stage.LOGIN, Reason.LOGIN_REFUSED, 0) == (failure.stage, failure.reason, failure.hop)
    assert 1 == proxy.heads.count(b"guess7")
    assert "guess7" not in json.dumps(failure.as_dict()) + repr(caught.value)


def test_names_are_looked_up_where_the_url_says(opening: Opening, monkeypatch: pytest.MonkeyPatch) -> None:
    """socks5 and socks4: here, and socks4 takes the IPv4 address; socks5h and socks4a: there."""
    v6 = (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("2001:db8::1", 5000, 0, 0))
    v4 = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.0.2.7", 5000))
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [v6, v4])

    def seen(played: Played) -> None:
        take(played, 1)
        if played.heads[0] == b"\x05":
            take(played, 2)
            played.write(b"\x05\x00")
        played.heads.append(played.rest or played.sock.recv(100))

    for socks_kind, sent in {
        "socks5": b"\x05\x01\x00\x04\x20\x01\x0d\xb8" + bytes(11) + b"\x01\x13\x88",
        "socks5h": SOCKS_REQUEST,
        "socks4": b"\x01\x13\x88\xc0\x00\x02\x07\x00",
        "socks4a": b"\x01\x13\x88\x00\x00\x00\x01\x00dest.example\x00",
    }.items():
        with ScriptedProxy(seen) as proxy, pytest.raises(RelayError):
            opening(Route(DEST, (Hop(proxy.endpoint, socks=socks_kind),)))
        assert sent == proxy.heads[-1], socks_kind


def test_a_target_that_socks_4_cannot_carry(opening: Opening) -> None:
    """An IPv6 address is refused before anything is asked."""
    with ScriptedProxy(silent) as proxy, pytest.raises(DialFailed, match="cannot carry the IPv6 address"):
        opening(Route(Endpoint("::1", 5000), (Hop(proxy.endpoint, socks="socks4"),)))


# alternatives


def test_alternatives_are_taken_in_order(opening: Opening) -> None:
    """A proxy that refuses connections is passed over; what was tried is in the trace."""
    dead = Hop(closed())
    trace = Trace(PATIENT_SECONDS)
    with ScriptedProxy(tunnel) as proxy:
        opened = opening(Route(DEST, (dead,), ((proxy.hop(),), ())), trace=trace)
        opened.write(b"through")
        assert b"through" == read_exactly(opened, 7)
    assert [Stage.CONNECT, Stage.CONNECT, Stage.PROXY] == [step.stage for step in trace.steps]
    assert [str(dead), str(proxy.hop())] == [step.peer for step in trace.steps[:2]]


def test_a_proxy_that_says_no_is_no_reason_for_another(opening: Opening) -> None:
    """An answer is an answer: neither another proxy nor the direct way is taken behind its back."""

    def deny(played: Played) -> None:
        played.head()
        played.write(b"HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n")

    with ScriptedProxy(deny) as proxy, ScriptedProxy(tunnel) as other:
        with pytest.raises(ProxyRefused):
            opening(Route(DEST, (proxy.hop(),), ((other.hop(),), ())))
    assert [] == other.heads


def test_the_last_alternative_tells_its_own_failure(opening: Opening) -> None:
    """Direct, when it is allowed and fails, fails as the target."""
    target = closed()
    with pytest.raises(DialFailed) as caught:
        opening(Route(target, (Hop(closed()),), ((),)))
    failure = caught.value.failure
    assert (None, str(target), "target") == (failure.hop, failure.peer, failure.as_dict()["role"])


# Happy Eyeballs


def test_families_take_turns() -> None:
    """RFC 8305 section 4: the first family first, then one of each."""
    six, four = socket.AF_INET6, socket.AF_INET
    found = [(six, ("a", 1, 0, 0)), (six, ("b", 1, 0, 0)), (four, ("c", 1)), (four, ("d", 1))]
    assert ["a", "c", "b", "d"] == [address[1][0] for address in interleaved(found)]


def test_every_address_has_an_outcome(opening: Opening, monkeypatch: pytest.MonkeyPatch) -> None:
    """One refuses, one answers; the trace tells of each, and can be written as JSON."""
    with ScriptedProxy(tunnel) as proxy:
        port = proxy.endpoint.port
        hosts = ("127.0.0.9", "127.0.0.1")
        found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, port)) for host in hosts]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
        trace = Trace(PATIENT_SECONDS)
        opening(Route(DEST, (Hop(Endpoint("proxy.example", port)),)), trace=trace)
    evidence = json.loads(json.dumps([step.as_dict() for step in trace.steps]))[1]["evidence"]
    tried = [(outcome["address"], outcome["result"]) for outcome in evidence["tried"]]
    assert [("127.0.0.9", "ECONNREFUSED"), ("127.0.0.1", "connected")] == tried


def test_when_all_addresses_fail_each_is_told(opening: Opening, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sentence has every address with its own reason."""
    port = closed().port
    hosts = ("127.0.0.8", "127.0.0.9")
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, port)) for host in hosts]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    with pytest.raises(DialFailed) as caught:
        opening(Route(Endpoint("far.example", port)))
    assert "127.0.0.8: ECONNREFUSED; 127.0.0.9: ECONNREFUSED" == caught.value.failure.detail
    assert Reason.REFUSED is caught.value.failure.reason


def test_a_race_without_addresses() -> None:
    """A name without any is an error, not a wait."""
    with pytest.raises(OSError, match="no address"):
        Race((), []).advance()


# limits


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"timeout_seconds": SHORT_SECONDS}, "after 0.15 s, the limit for all"),
        ({"stage_seconds": {Stage.PROXY: SHORT_SECONDS}}, "after 0.15 s, the limit for proxy"),
    ],
)
def test_the_limit_is_named(opening: Opening, options: dict[str, object], words: str) -> None:
    """Which limit it was, and how long: a person knows what to change."""
    with ScriptedProxy(silent) as proxy, pytest.raises(TimedOut) as caught:
        opening(proxy.route(), **{"timeout_seconds": PATIENT_SECONDS, **options})
    assert words == caught.value.failure.detail


@pytest.mark.parametrize("socks_kind", [None, "socks5h"])
def test_a_proxy_has_its_own_limit(opening: Opening, socks_kind: str | None) -> None:
    """The second hop's limit ends its step, not the first's."""
    with ScriptedProxy(lambda played: (played.head(), played.write(OK), played.wait_for_end())) as proxy:
        slow = Hop(Endpoint("second.example", 3128), socks=socks_kind, timeout_seconds=SHORT_SECONDS)
        with pytest.raises(TimedOut) as caught:
            opening(Route(DEST, (proxy.hop(), slow)), timeout_seconds=PATIENT_SECONDS)
    failure = caught.value.failure
    assert (1, "proxy 2 of 2") == (failure.hop, failure.role)
    assert f"after 0.15 s, the limit for each step with {slow}" == failure.detail


def test_a_login_has_its_own_limit(opening: Opening) -> None:
    """From the credentials on: a proxy that asks at once and then thinks for ever."""

    def think(played: Played) -> None:
        played.head()
        head = b"HTTP/1.1 407 Who\r\nProxy-Authenticate: Basic realm=x\r\nContent-Length: 0\r\n\r\n"
        played.write(head)
        played.head()
        played.wait_for_end()

    with ScriptedProxy(think) as proxy, pytest.raises(TimedOut) as caught:
        opening(proxy.route(user="u", password="p"), stage_seconds={Stage.LOGIN: SHORT_SECONDS})
    assert "after 0.15 s, the limit for login" == caught.value.failure.detail


# evidence


def test_a_refusal_as_json(opening: Opening) -> None:
    """Role, head, body, Proxy-Status, X-Squid-Error and Via; the password shows nowhere in any writing."""
    secret = "hunter two"
    coded = base64.b64encode(f"bob:{secret}".encode()).decode()

    def echo(played: Played) -> None:
        played.head()
        played.write(
            b"HTTP/1.1 403 Forbidden\r\nVia: 1.1 edge\r\nX-Squid-Error: ERR_ACCESS_DENIED 0\r\n"
            b"Proxy-Status: edge; error=http_request_denied\r\nSet-Cookie: id=123\r\nX-Echo: %b\r\n"
            b"Connection: close\r\n\r\n<html><script>x()</script><h1>No\x1b[31m</h1> %b hunter%%20two "
            b"Proxy-Authorization: Basic %b" % (coded.encode(), secret.encode(), coded.encode())
        )

    with ScriptedProxy(echo) as proxy, pytest.raises(ProxyRefused) as caught:
        opening(proxy.route(user="bob", password=secret))
    told = json.loads(json.dumps(caught.value.failure.as_dict()))
    assert ("proxy", 0, "denied") == (told["role"], told["hop"], told["reason"])
    reply = told["reply"]
    assert (403, "1.1 edge", "ERR_ACCESS_DENIED 0") == (reply["status"], reply["via"], reply["squid_error"])
    assert "edge; error=http_request_denied" == reply["proxy_status"]
    assert reply["head"].startswith("HTTP/1.1 403 Forbidden\nVia: 1.1 edge\n")
    assert reply["body"].startswith("No [31m *** *** Proxy-Authorization: Basic ***")
    for text in (json.dumps(told), str(caught.value), repr(caught.value)):
        assert secret not in text
        assert coded not in text
        assert "id=123" not in text


@pytest.mark.parametrize(
    "text",
    ["Proxy-Authorization: Basic xyz", "NTLM TlRMTVNTUAABAAAAB4IIogAAAAA=", "set-cookie: a=b", "Cookie: c"],
)
def test_what_is_hidden(text: str) -> None:
    """Whatever logs somebody in, ours or not."""
    hidden = redacted(f"before\n{text}\nafter", Hop(DEST))
    assert ("before", "after", True) == (hidden[:6], hidden[-5:], "***" in hidden)
    assert text not in hidden


def test_evidence_is_bounded() -> None:
    """A huge head and body become a few kilobytes of printable text."""
    from protocol.connect import Reply

    fields = tuple((f"X-{number}", "v" * 100) for number in range(999))
    reply = Reply("1.1", 403, "No", fields, body=b"\x00<p>x" * 16_384)
    shown = answered(reply, Hop(DEST))
    assert len(shown.head) <= 4_000
    assert len(shown.body) <= 600
    assert shown.body.isprintable()
