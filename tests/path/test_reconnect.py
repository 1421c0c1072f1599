"""Clients behind a proxy that cuts: at idle, at an age, in mid-packet; by asyncio and by threads."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from protocol.packet import Packet
from relay.blocking_framework_client import BlockingFrameworkClient
from relay.failure import AnswerLost, DialFailed, PeerMisbehaved, ProxyRefused, Reason, SettingsError
from relay.fault_plan import FaultPlan
from relay.fault_rule import rule_from_text
from relay.framework_client import Backoff, FrameworkClient, Reconnecting
from relay.route import Endpoint, Hop, Route
from tests.parts.framework_peers import PATIENCE_SECONDS, QUICK, Conversed, Counted, ScriptedServer
from tests.path.proxied import Proxied

IDLE_LIMIT_SECONDS = 4.0
KEEP_ALIVE_SECONDS = 0.2
"""So far below the limit that a busy machine cannot make a ping come too late."""

SOON = Backoff(first_seconds=0.001, most_seconds=0.01, give_up_seconds=0.3)


class Tasks:
    """FrameworkClient."""

    def __init__(self, route: Route, **options: Any) -> None:
        self.client = FrameworkClient(route, **{"backoff": QUICK, **options})
        self.ping, self.request, self.close = self.client.ping, self.client.request, self.client.aclose

    @property
    def connections_made(self) -> int:
        return self.client.connections_made


class Threads:
    """BlockingFrameworkClient, each call in a thread."""

    def __init__(self, route: Route, **options: Any) -> None:
        self.client = BlockingFrameworkClient(route, **{"backoff": QUICK, **options})

    @property
    def connections_made(self) -> int:
        return self.client.connections_made

    async def ping(self) -> None:
        await asyncio.to_thread(self.client.ping)

    async def request(self, packet: Packet, **options: Any) -> Packet:
        return await asyncio.to_thread(self.client.request, packet, **options)

    async def close(self) -> None:
        await asyncio.to_thread(self.client.close)


class Came(Counted):
    """Requests that have reached the server, and a way to wait for them."""

    def __init__(self) -> None:
        super().__init__()
        self._changed = asyncio.Condition()

    async def take(self, peer: Conversed) -> Packet | None:
        packet = await super().take(peer)
        async with self._changed:
            self._changed.notify_all()
        return packet

    async def number(self, count: int) -> None:
        """Wait until so many have come."""
        async with asyncio.timeout(6 * PATIENCE_SECONDS), self._changed:
            await self._changed.wait_for(lambda: len(self.requests) >= count)


WAYS: dict[str, Callable[..., Any]] = {"asyncio": Tasks, "threads": Threads}


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest) -> Callable[..., Any]:
    """Each kind of client."""
    return WAYS[request.param]


@asynccontextmanager
async def client_at(way: Callable[..., Any], endpoint: Endpoint, **options: Any) -> AsyncIterator[Any]:
    client = way(Route(endpoint), **options)
    try:
        yield client
    finally:
        await client.close()


@asynccontextmanager
async def cut_by(way: Callable[..., Any], fault: str, **options: Any) -> AsyncIterator[Any]:
    """A client, what reached the server, and the proxy between them, which has this fault."""
    came = Came()
    async with ScriptedServer(came.answer) as server:
        with Proxied(faults=FaultPlan([rule_from_text(fault)], seed=1)) as proxied:
            route = Route(server.endpoint, (Hop(Endpoint("127.0.0.1", proxied.port)),))
            client = way(route, **options)
            try:
                yield client, came, proxied
            finally:
                await client.close()


@pytest.mark.parametrize("ends", ["fin", "reset"])
async def test_cut_at_idle(way: Callable[..., Any], ends: str) -> None:
    """The next request finds out, and goes over a new connection at once; none is lost or doubled."""
    told: list[Reconnecting] = []
    fault = f"idle_timeout:seconds=0.1,ends={ends}"
    async with cut_by(way, fault, on_reconnect=told.append) as (client, came, proxied):
        for number in (b"1", b"2"):
            assert Packet.echo(number) == await client.request(Packet.echo(number), safe_to_repeat=True)
            await asyncio.to_thread(proxied.entry)  # its tunnel has ended
        assert 2 == client.connections_made
        assert [b"1", b"2"] == came.requests
    assert [(1, 0.0)] == [(event.attempt, event.delay_seconds) for event in told]


async def test_cut_at_an_age(way: Callable[..., Any]) -> None:
    """In use or not: what is safe is repeated, and every answer is the right one."""
    async with cut_by(way, "lifetime:seconds=0.2") as (client, came, _):
        number = 0
        while client.connections_made < 3:
            number += 1
            asked = Packet.echo(b"%d" % number)
            assert asked == await client.request(asked, safe_to_repeat=True)
    assert number <= len(came.requests) <= number + 2


async def test_cut_in_mid_packet(way: Callable[..., Any]) -> None:
    """44 bytes of an answer pass, then 16 of the next: a ping is repeated on a new connection."""
    async with cut_by(way, "limit_data:limit_bytes=60") as (client, came, _):
        for _ in range(3):
            await client.ping()
        assert 3 == client.connections_made
        assert 5 == len(came.requests)


async def test_what_is_not_safe_is_not_repeated_in_mid_packet(way: Callable[..., Any]) -> None:
    """The server has carried it out, and the caller is told that it may have; the next request goes on."""
    async with cut_by(way, "limit_data:limit_bytes=60") as (client, came, _):
        await client.ping()
        with pytest.raises(AnswerLost) as caught:
            await client.request(Packet.echo(b"once"))
        assert "the request may have been carried out" in str(caught.value)
        await client.ping()
        assert (2, 1) == (client.connections_made, came.requests.count(b"once"))


async def test_kept_alive_below_an_idle_limit() -> None:
    """Both clients side by side: pings in the silence keep the proxy's idle limit from being reached, for
    longer than the limit is, and the next request needs no new connection."""
    count = round(1.25 * IDLE_LIMIT_SECONDS / KEEP_ALIVE_SECONDS)

    async def quiet(way: Callable[..., Any]) -> tuple[int, bool]:
        fault = f"idle_timeout:seconds={IDLE_LIMIT_SECONDS:g}"
        async with cut_by(way, fault, keep_alive_seconds=KEEP_ALIVE_SECONDS) as (client, came, proxied):
            await client.ping()
            await came.number(count)
            await client.ping()
            return client.connections_made, proxied.has_entries()

    assert [(1, False)] * 2 == await asyncio.gather(*(quiet(way) for way in WAYS.values()))


async def test_a_keep_alive_that_fails_costs_no_request(way: Callable[..., Any]) -> None:
    """Its connection is left; the next request makes a new one, and nothing is said in between."""
    came = Came()
    was_reset = asyncio.Event()

    async def resets_the_second(peer: Conversed) -> None:
        await came.after_one_answer(lambda _: None)(peer)
        await came.take(peer)
        peer.reset()
        was_reset.set()

    async with ScriptedServer(resets_the_second, came.answer) as server:
        async with client_at(way, server.endpoint, keep_alive_seconds=0.05) as client:
            assert Packet.echo(b"1") == await client.request(Packet.echo(b"1"))
            async with asyncio.timeout(PATIENCE_SECONDS):
                await was_reset.wait()
            assert 1 == server.connections
            assert Packet.echo(b"2") == await client.request(Packet.echo(b"2"), safe_to_repeat=True)
            assert 2 == client.connections_made
    assert [b"1", b"", b"2"] == came.requests[:3]


async def test_no_ping_without_a_wish(way: Callable[..., Any]) -> None:
    """By default nothing is said that was not asked for; a closed client says nothing either."""
    came = Came()
    async with ScriptedServer(came.answer) as server:
        async with client_at(way, server.endpoint) as silent:
            async with client_at(way, server.endpoint, keep_alive_seconds=0.02) as kept:
                await silent.request(Packet.echo(b"silent"))
                await kept.request(Packet.echo(b"kept"))
                await came.number(6)
            assert 2 == server.connections
            with pytest.raises(DialFailed, match="this client is closed"):
                await kept.request(Packet.ping())
    assert [b"silent", b"kept"] == [said for said in came.requests if said]


# what both share besides


async def test_what_timed_out_is_not_repeated(way: Callable[..., Any]) -> None:
    """No answer in time is TimedOut, and the connection is left: the answer cannot be the next one's."""
    came = Came()
    async with ScriptedServer(came.stay_silent, came.answer) as server:
        async with client_at(way, server.endpoint, timeout_seconds=0.3) as client:
            with pytest.raises(TimeoutError, match=r"no answer within 0\.3 s"):
                await client.request(Packet.echo(b"lost"), safe_to_repeat=True)
            assert Packet.echo(b"next") == await client.request(Packet.echo(b"next"))
    assert [b"lost", b"next"] == came.requests


async def test_a_ping_answered_by_something_else(way: Callable[..., Any]) -> None:
    """PeerMisbehaved, by both."""

    async def odd(peer: Conversed) -> None:
        await peer.receive()
        await peer.send(Packet.echo(b"what?"))

    async with ScriptedServer(odd) as server, client_at(way, server.endpoint) as client:
        with pytest.raises(PeerMisbehaved, match="a packet that is not empty"):
            await client.ping()


async def test_closing_ends_a_request_that_waits(way: Callable[..., Any]) -> None:
    """From another thread, or task: it is AnswerLost, for it was sent."""
    came = Came()
    async with ScriptedServer(came.stay_silent) as server:
        async with client_at(way, server.endpoint) as client:
            asked = asyncio.ensure_future(client.request(Packet.echo(b"x")))
            await came.number(1)
            await client.close()
            with pytest.raises(AnswerLost):
                await asked


async def test_a_server_that_is_gone_is_given_up(way: Callable[..., Any]) -> None:
    """The first connection is not repeated; a later one is tried until the time is over."""
    came = Came()
    async with ScriptedServer(came.after_one_answer(lambda _: None)) as server:
        async with client_at(way, server.endpoint, backoff=SOON) as client:
            await client.ping()
            await server.close()
            with pytest.raises((DialFailed, AnswerLost)):
                await client.request(Packet.echo(b"x"))
        async with client_at(way, server.endpoint) as other:
            with pytest.raises(DialFailed):
                await other.ping()
            assert 0 == other.connections_made


async def test_a_refused_login_is_said_once(way: Callable[..., Any]) -> None:
    """Every further request has the same refusal, and the password is not sent again: accounts get locked."""
    heads: list[bytes] = []

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        fields = b"Proxy-Authenticate: Basic realm=x\r\nContent-Length: 0\r\nConnection: close\r\n"
        writer.write(b"HTTP/1.1 407 No\r\n" + fields + b"\r\n")
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(refuse, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        client = way(Route(Endpoint("127.0.0.1", 1), (Hop.parse(f"http://me:wrong@127.0.0.1:{port}"),)))
        for _ in range(3):
            with pytest.raises(ProxyRefused) as caught:
                await client.ping()
            assert Reason.LOGIN_REFUSED is caught.value.failure.reason
        await client.close()
    assert 1 == sum(b"proxy-authorization:" in head.lower() for head in heads)


@pytest.mark.parametrize("seconds", [0, -1.0, float("nan"), 86_401])
def test_a_keep_alive_that_cannot_be(way: Callable[..., Any], seconds: float) -> None:
    """Without a pause pings would be a flood."""
    with pytest.raises(SettingsError, match=r"keep_alive_seconds: .*; expected seconds above 0"):
        way(Route(Endpoint("127.0.0.1", 1)), keep_alive_seconds=seconds)
