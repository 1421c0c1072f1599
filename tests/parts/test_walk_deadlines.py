"""No wait without a limit: the deadline of each stage, the one over all, and what is kept when it comes."""

import asyncio
import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Iterator

import pytest

import relay.tunnel
from relay.failure import PeerMisbehaved, ProxyRefused, Reason, Stage, TimedOut
from relay.route import Endpoint, Hop, Route
from relay.trace import Trace
from relay.walk import BODY_GRACE_SECONDS
from tests.parts.scripted_proxy import DEST, OK, Opening, Played, ScriptedProxy

SHORT_SECONDS = 0.15
PATIENT_SECONDS = 30.0


@contextlib.contextmanager
def takes(at_least: float, less_than: float) -> Iterator[None]:
    began = time.monotonic()
    yield
    assert at_least <= time.monotonic() - began < less_than


def stay_silent(played: Played) -> None:
    played.head()
    played.wait_for_end()


def dribble_a_head(played: Played) -> None:
    played.head()
    played.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
    played.dribble(b"x", 0.01)


def dribble_interim_replies(played: Played) -> None:
    played.head()
    played.dribble(b"HTTP/1.1 100 Continue\r\n\r\n", 0.04)


@pytest.mark.parametrize("scene", [stay_silent, dribble_a_head, dribble_interim_replies])
@pytest.mark.parametrize("limit", ["stage", "all"])
def test_a_proxy_that_never_gets_done(opening: Opening, scene, limit: str) -> None:  # type: ignore[no-untyped-def]
    """A byte now and then gains no time: the stage's deadline ends it, and so does the one over all."""
    stage_seconds = {Stage.PROXY: SHORT_SECONDS} if limit == "stage" else {}
    timeout_seconds = PATIENT_SECONDS if limit == "stage" else SHORT_SECONDS
    with ScriptedProxy(scene) as proxy, takes(SHORT_SECONDS, 2):
        with pytest.raises(TimedOut) as caught:
            opening(proxy.route(), timeout_seconds=timeout_seconds, stage_seconds=stage_seconds)
    failure = caught.value.failure
    assert (Stage.PROXY, Reason.TIMED_OUT, str(proxy.hop())) == (failure.stage, failure.reason, failure.peer)


@pytest.mark.parametrize(
    ("begin", "again"),
    [(b"HTTP/1.1 200 OK\r\n", b"X-More: of the same\r\n" * 100), (b"", b"HTTP/1.1 102 Wait\r\n\r\n" * 100)],
    ids=["fields", "interim_replies"],
)
def test_a_reply_without_an_end(opening: Opening, begin: bytes, again: bytes) -> None:
    """An endless reply ends at a limit of size or count, long before any deadline, and names the limit."""

    def endless(played: Played) -> None:
        played.head()
        played.write(begin)
        while True:
            played.write(again)

    with ScriptedProxy(endless) as proxy, takes(0, 5):
        with pytest.raises(PeerMisbehaved, match=r"131072|1000|16") as caught:
            opening(proxy.route(), timeout_seconds=PATIENT_SECONDS)
    assert Stage.PROXY is caught.value.failure.stage


def test_a_refusal_does_not_wait_for_its_body(opening: Opening) -> None:
    """A refusal is known by its head: a body that dribbles delays it by the grace time only."""

    def dribble(played: Played) -> None:
        played.head()
        played.write(b"HTTP/1.1 403 No\r\nContent-Length: 1000000\r\n\r\nsome of it")
        played.dribble(b".", BODY_GRACE_SECONDS / 5)

    with ScriptedProxy(dribble) as proxy, takes(0, BODY_GRACE_SECONDS * 2):
        with pytest.raises(ProxyRefused) as caught:
            opening(proxy.route(), timeout_seconds=PATIENT_SECONDS)
    assert 403 == caught.value.status
    assert caught.value.body.startswith(b"some of it")


def test_a_refusal_is_a_refusal_though_its_body_is_cut(opening: Opening) -> None:
    """A proxy that resets the connection in the middle of its block page has refused all the same."""

    def cut(played: Played) -> None:
        played.head()
        played.write(b"HTTP/1.1 403 No\r\nContent-Length: 10\r\n\r\nsome")
        played.reset()

    with ScriptedProxy(cut) as proxy, pytest.raises(ProxyRefused) as caught:
        opening(proxy.route())
    assert (403, b"some") == (caught.value.status, caught.value.body)


def test_a_refusal_is_a_refusal_at_the_deadline(opening: Opening) -> None:
    """When the time is over while a refusal's body is awaited, the refusal is told, not the time."""

    def stall(played: Played) -> None:
        played.head()
        played.write(b"HTTP/1.1 403 No\r\nContent-Length: 10\r\n\r\n")
        played.dribble(b".", SHORT_SECONDS / 3)

    with ScriptedProxy(stall) as proxy, pytest.raises(ProxyRefused) as caught:
        opening(proxy.route(), timeout_seconds=SHORT_SECONDS)
    assert 403 == caught.value.status


def test_a_silent_tls_proxy(opening: Opening) -> None:
    """A proxy that takes the connection and says nothing of TLS ends at the deadline of that stage."""
    with ScriptedProxy(Played.wait_for_end) as proxy, takes(SHORT_SECONDS, 2):
        hop = Hop(proxy.endpoint, tls=True, verify=False)
        with pytest.raises(TimedOut) as caught:
            opening(
                Route(DEST, (hop,)), timeout_seconds=PATIENT_SECONDS, stage_seconds={Stage.TLS: SHORT_SECONDS}
            )
    failure = caught.value.failure
    assert (Stage.TLS, str(hop), 0) == (failure.stage, failure.peer, failure.hop)


@contextlib.contextmanager
def full_listener() -> Iterator[Endpoint]:
    """A listener whose queue is full: further SYNs are dropped, as a firewall does."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        queued = []
        for _ in range(8):
            sock = socket.socket()
            sock.setblocking(False)
            sock.connect_ex(listener.getsockname())
            queued.append(sock)
        yield Endpoint(*listener.getsockname()[:2])
        for sock in queued:
            sock.close()


@pytest.mark.parametrize("is_proxy", [True, False])
def test_a_connect_that_is_not_answered(opening: Opening, is_proxy: bool) -> None:
    """SYNs that are dropped end at the deadline of connecting; the peer is the proxy or the target."""
    with full_listener() as endpoint, takes(SHORT_SECONDS, 2):
        route = Route(DEST, (Hop(endpoint),)) if is_proxy else Route(endpoint)
        with pytest.raises(TimedOut) as caught:
            opening(route, timeout_seconds=PATIENT_SECONDS, stage_seconds={Stage.CONNECT: SHORT_SECONDS})
    failure = caught.value.failure
    assert (Stage.CONNECT, 0 if is_proxy else None) == (failure.stage, failure.hop)
    assert (str(Hop(endpoint)) if is_proxy else str(endpoint)) == failure.peer


def test_a_name_that_is_looked_up_for_ever(opening: Opening, monkeypatch: pytest.MonkeyPatch) -> None:
    """getaddrinfo(3) has no limit of its own; ours ends the wait."""
    is_over = threading.Event()

    def never(*_: object, **__: object) -> list[object]:
        is_over.wait()
        return []

    monkeypatch.setattr(socket, "getaddrinfo", never)
    with takes(SHORT_SECONDS, 2), pytest.raises(TimedOut) as caught:
        opening(Route(DEST), timeout_seconds=SHORT_SECONDS)
    is_over.set()
    assert (Stage.RESOLVE, DEST.host) == (caught.value.failure.stage, caught.value.failure.peer)


async def test_a_cancelled_walk_closes_its_connection_and_says_where_it_was() -> None:
    """Cancelled while the proxy is silent: the connection is closed, the open step is marked interrupted."""
    is_waiting, is_gone = threading.Event(), threading.Event()

    def scene(played: Played) -> None:
        played.head()
        is_waiting.set()
        played.wait_for_end()
        is_gone.set()

    trace = Trace(PATIENT_SECONDS)
    with ScriptedProxy(scene) as proxy:
        walking = asyncio.create_task(relay.tunnel.open_tunnel(proxy.route(), trace=trace))
        await asyncio.to_thread(is_waiting.wait, 10)
        walking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await walking
        assert await asyncio.to_thread(is_gone.wait, 10)
    assert [(Stage.CONNECT, False), (Stage.PROXY, True)] == [(s.stage, s.interrupted) for s in trace.steps]


def test_time_is_shared_among_the_addresses_of_a_name(
    opening: Opening, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A first address that swallows SYNs does not eat the time of the second, which answers."""

    def tunnel(played: Played) -> None:
        played.head()
        played.write(OK)
        played.echo()

    with full_listener() as dead, ScriptedProxy(tunnel) as proxy:
        addresses = [(end.host, end.port) for end in (dead, proxy.endpoint)]
        found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", address) for address in addresses]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
        trace = Trace(1.0)
        opened = opening(Route(DEST, (Hop(Endpoint("proxy.example", 3128)),)), trace=trace)
        opened.write(b"through")
        assert b"through" == opened.read()
    assert [Stage.RESOLVE, Stage.CONNECT, Stage.PROXY] == [step.stage for step in trace.steps]


def test_what_is_over_tls_is_not_spoken_in_plain(opening: Opening) -> None:
    """An http:// proxy behind an https:// URL is a failed TLS handshake, at once."""
    with ScriptedProxy(answer_in_plain) as proxy, takes(0, 2):
        with pytest.raises(ConnectionError) as caught:
            opening(Route(DEST, (Hop(proxy.endpoint, tls=True),)))
    assert isinstance(caught.value.__cause__, ssl.SSLError)


def answer_in_plain(played: Played) -> None:
    played.sock.recv(1000)
    played.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
