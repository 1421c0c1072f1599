"""The forwarder: what its local peer sees when the tunnel is good, fails, or says nothing."""

import asyncio
import base64
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from relay.failure import Reason
from relay.forward import Carried, Forwarder
from relay.proxy import ConnectProxy
from relay.pump_end import TunnelEnd
from relay.route import Endpoint, Hop, Route
from tests.path.ends import FIN, RST, connected, read_to_end
from tests.path.proxied import LOOPS, SOON_SECONDS, loop_factory, read_all

FREE = (Endpoint("127.0.0.1", 0),)
PATIENCE_SECONDS = 15.0
Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Ended(asyncio.Queue[Carried]):
    """The connections that have ended."""

    async def next(self) -> Carried:
        async with asyncio.timeout(PATIENCE_SECONDS):
            return await self.get()


@asynccontextmanager
async def far_end(serve: Serve) -> AsyncIterator[Endpoint]:
    """A target that does what `serve` does with each connection."""
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield Endpoint(*server.sockets[0].getsockname()[:2])
    finally:
        server.close()


@asynccontextmanager
async def forwarded(serve: Serve) -> AsyncIterator[tuple[Forwarder, Ended]]:
    """A forwarder through our proxy to such a target."""
    ended = Ended()
    async with far_end(serve) as target, ConnectProxy(FREE) as proxy:
        route = Route(target, (Hop(proxy.endpoint),))
        async with Forwarder(FREE, route, on_end=ended.put_nowait) as forwarder:
            yield forwarder, ended


async def test_a_target_that_ends_before_a_byte_has_passed_is_a_failure() -> None:
    """Proxies that say 200 before they have reached the target end so: the local peer gets a RST."""

    async def close(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    async with forwarded(close) as (forwarder, ended):
        with await connected(forwarder.endpoints[0]) as near:
            assert (b"", RST) == await read_to_end(near)
        assert TunnelEnd.TARGET_SILENT == (await ended.next()).ended


async def test_a_target_that_takes_bytes_and_ends_is_a_clean_end() -> None:
    """It may have had enough: what it did with them is not ours to judge."""

    async def take_one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(1)
        writer.close()

    async with forwarded(take_one) as (forwarder, ended):
        with await connected(forwarder.endpoints[0]) as near:
            await asyncio.get_running_loop().sock_sendall(near, b"x")
            assert (b"", FIN) == await read_to_end(near)
        assert TunnelEnd.TARGET_CLOSED == (await ended.next()).ended


async def test_a_target_that_ends_after_a_byte_is_a_clean_end() -> None:
    """A greeting and FIN is a session, however short."""

    async def greet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"!")
        writer.close()

    async with forwarded(greet) as (forwarder, ended):
        with await connected(forwarder.endpoints[0]) as near:
            assert (b"!", FIN) == await read_to_end(near)
        assert TunnelEnd.TARGET_CLOSED == (await ended.next()).ended


async def test_no_answer_after_our_last_word_is_a_clean_end() -> None:
    """A target that only takes is no failure: the local peer had said its last word first."""
    took = asyncio.get_running_loop().create_future()

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        took.set_result(await reader.read())
        writer.close()

    async with forwarded(take) as (forwarder, ended):
        with await connected(forwarder.endpoints[0]) as near:
            await asyncio.get_running_loop().sock_sendall(near, b"upload")
            near.shutdown(socket.SHUT_WR)
            assert (b"", FIN) == await read_to_end(near)
        assert b"upload" == await took
        carried = await ended.next()
        assert (TunnelEnd.CLIENT_CLOSED, 6, 0) == (carried.ended, carried.counters.up, carried.counters.down)


async def test_a_refused_login_is_not_tried_again() -> None:
    """Every local connection fails with the first refusal; the proxy sees the password once."""
    seen: list[bytes] = []

    async def deny(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while head := await reader.readuntil(b"\r\n\r\n"):
            seen.append(head)
            writer.write(b"HTTP/1.1 407 No\r\nProxy-Authenticate: Basic realm=x\r\nContent-Length: 0\r\n\r\n")

    async def quietly(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await deny(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    ended = Ended()
    async with far_end(quietly) as proxy:
        route = Route(Endpoint("far.example", 5000), (Hop(proxy, user="bob", password="wrong"),))
        async with Forwarder(FREE, route, on_end=ended.put_nowait) as forwarder:
            for _ in range(3):
                with await connected(forwarder.endpoints[0]) as near:
                    assert (b"", RST) == await read_to_end(near)
                failure = (await ended.next()).failure
                assert failure is not None
                assert Reason.LOGIN_REFUSED is failure.reason
    told = b"Proxy-Authorization: Basic " + base64.b64encode(b"bob:wrong")
    assert 1 == sum(told in head for head in seen)


@pytest.mark.parametrize("limit", [1, 3])
async def test_beyond_the_limit_connections_are_reset(limit: int) -> None:
    """One more than the limit gets a RST at once; the others go on."""

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.readexactly(1))
        await reader.read()
        writer.close()

    async with far_end(echo) as target, Forwarder(FREE, Route(target), max_connections=limit) as forwarder:
        endpoint = forwarder.endpoints[0]
        good = [await connected(endpoint) for _ in range(limit)]
        loop = asyncio.get_running_loop()
        try:
            for near in good:
                await loop.sock_sendall(near, b"x")
                assert b"x" == await loop.sock_recv(near, 1)
            with await connected(endpoint) as refused:
                assert (b"", RST) == await read_to_end(refused)
        finally:
            for near in good:
                near.close()


@pytest.mark.parametrize("loop", LOOPS)
def test_who_has_only_just_come_is_reset_at_the_stop(loop: str) -> None:
    """A connection whose own task never had a turn ends as the others do: RST, told, and counted."""
    ended: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as target:
        route = Route(Endpoint(*target.getsockname()))
        forwarder = Forwarder(FREE, route, on_end=lambda carried: ended.append(carried.ended))

        async def stop_at_once() -> socket.socket:
            async with forwarder:
                endpoint = forwarder.endpoints[0]
                near = socket.create_connection((endpoint.host, endpoint.port), SOON_SECONDS)
                while not forwarder.totals.accepted:  # noqa: ASYNC110 - a turn later its task begins
                    await asyncio.sleep(0)
            return near

        with asyncio.Runner(loop_factory=loop_factory(loop)) as runner, runner.run(stop_at_once()) as near:
            assert (b"", RST) == read_all(near)
    totals = forwarder.totals
    assert ([str(TunnelEnd.STOPPED)], 1, 0) == (ended, totals.accepted, totals.open)
