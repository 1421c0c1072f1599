"""The emulated server as a whole: where it listens, its limits of connections and memory, how it stops."""

import asyncio
import contextlib
import errno
import os
import resource
import socket
from collections.abc import AsyncIterator, Iterator

import pytest

from protocol.packet import MAX_HOLD_MILLISECONDS, Packet
from relay.emulator import EmulatedServer
from relay.journal import Ended
from relay.route import Endpoint
from tests.parts.framework_peers import FREE, RawClient, Watched, nothing_unheard, until


@pytest.fixture(autouse=True)
async def unheard() -> AsyncIterator[None]:
    """No exception of any of these tests reaches asyncio's exception handler."""
    async with nothing_unheard():
        yield


async def test_listens_on_several_addresses_and_both_families() -> None:
    """Every endpoint given is listened on, IPv4 and IPv6; the journal tells through which a client came."""
    listen = (FREE, FREE, Endpoint("::1", 0))
    async with Watched(listen=listen) as watched:
        assert ["127.0.0.1", "127.0.0.1", "::1"] == [end.host for end in watched.server.endpoints]
        for endpoint in watched.server.endpoints:
            async with await RawClient.connect(endpoint) as client:
                assert Packet.ping() == await client.ask(Packet.ping())
                name = client.name
            record = await watched.next_ended()
            assert (str(endpoint), name) == (record.local, record.peer)


async def test_binds_loopback_by_default() -> None:
    """A server that was not told where to listen cannot be reached from another machine."""
    assert (Endpoint("127.0.0.1", 5000),) == EmulatedServer()._listen


async def test_an_address_in_use_is_named_and_nothing_stays_open() -> None:
    """When one of several endpoints cannot be had, none is listened on, and the error names it."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        endpoint = Endpoint("127.0.0.1", taken.getsockname()[1])
        server = EmulatedServer((FREE, endpoint))
        with pytest.raises(OSError, match=f"cannot listen on {endpoint}: Address already in use") as caught:
            await server.start()
    assert errno.EADDRINUSE == caught.value.errno
    assert [] == server.endpoints
    await server.aclose()


async def test_one_connection_too_many_is_reset_and_journaled() -> None:
    """At the limit a new connection is reset at once; the others go on, and a free place is given again."""
    async with Watched(max_connections=2) as watched:
        async with await watched.client() as first, await watched.client() as second:
            await first.ask(Packet.ping())
            await second.ask(Packet.ping())
            async with await watched.client() as third:
                assert (b"", "rst") == await third.end()
                record = await watched.next_ended()
                assert (Ended.TOO_MANY, third.name) == (record.ended, record.peer)
                assert "2 connections are open, which is the limit" == record.detail
            assert Packet.ping() == await first.ask(Packet.ping())
            assert 1 == watched.server.refused_connections
        await watched.next_ended()
        await watched.next_ended()
        async with await watched.client() as again:
            assert Packet.ping() == await again.ask(Packet.ping())


async def test_stops_at_once_with_connections_open() -> None:
    """Connections that idle, wait for an answer, or do not read, hold up no stop; each is journaled."""
    async with Watched() as watched:
        clients = [await watched.client(receive_buffer=4096) for _ in range(4)]
        await clients[0].ask(Packet.ping())
        await clients[1].send(Packet.hold(MAX_HOLD_MILLISECONDS))
        await clients[2].send(*(Packet.source(5_000_000) for _ in range(3)))
        await clients[3].write(b"\x00\xff\xff\xff" + bytes(100_000))
        journal = watched.server.journal
        await until(lambda: sum(record.packets_received for record in journal.records) >= 3)
        await until(lambda: sum(record.bytes_received > 100_000 for record in journal.records) == 1)
        await asyncio.wait_for(watched.server.aclose(), 1)
        assert [Ended.SERVER_STOPPED] * 4 == [(await watched.next_ended()).ended for _ in clients]
        assert [] == watched.server.endpoints
        assert set() == watched.server.conversations
        assert (b"", "fin") == await clients[0].end()


async def test_a_stop_in_the_middle_of_an_accept_leaves_nothing() -> None:
    """Connections that are just being accepted when the server stops are closed and journaled, too."""
    for turns in range(12):
        async with Watched() as watched:
            clients = [await watched.client() for _ in range(5)]
            for _ in range(turns):
                await asyncio.sleep(0)
            await watched.server.aclose()
            assert set() == watched.server.conversations
            assert [] == [record for record in watched.server.journal.records if record.ended is None]
            for client in clients:
                assert b"" == (await client.end())[0]


async def test_may_be_stopped_twice_and_started_again() -> None:
    """A stopped server can listen again, on the same port, and its journal goes on."""
    watched = Watched()
    await watched.server.start()
    endpoint = watched.server.endpoint
    async with await watched.client() as client:
        await client.ask(Packet.ping())
        await watched.server.aclose()
        await watched.server.aclose()
    again = EmulatedServer((endpoint,))
    async with again, await RawClient.connect(endpoint) as client:
        assert Packet.ping() == await client.ask(Packet.ping())


async def test_unread_bytes_of_all_connections_have_one_budget() -> None:
    """Many clients that each send most of a frame are held to one budget; who holds most is reset."""
    budget = 4_000_000
    async with Watched(held_limit_bytes=budget) as watched:
        highest = asyncio.create_task(highest_held(watched.server))
        honest = await watched.client()
        greedy = [await watched.client() for _ in range(12)]
        writing = [asyncio.create_task(write_most_of_a_frame(client, 1_000_000)) for client in greedy]
        for _ in range(12 - 4):
            record = await watched.next_ended()
            assert Ended.OUT_OF_MEMORY is record.ended
            assert "in the middle of a frame" in record.detail
            assert f"when all connections held more than {budget}" in record.detail
            assert watched.server._held_bytes <= budget
        assert Packet.ping() == await honest.ask(Packet.ping())
        await asyncio.gather(*writing)
        held = sum(conversation.held_bytes for conversation in watched.server.conversations)
        assert held == watched.server._held_bytes
        for client in [honest, *greedy]:
            client.sock.close()
        await until(lambda: not watched.server.conversations)
        assert 0 == watched.server._held_bytes
        # At no turn of the loop was it more
        highest.cancel()
        assert budget // 2 < await highest <= budget


async def highest_held(server: EmulatedServer) -> int:
    """Look in every turn of the event loop, until cancelled."""
    highest = 0
    with contextlib.suppress(asyncio.CancelledError):
        while True:
            highest = max(highest, server._held_bytes)
            await asyncio.sleep(0)
    return highest


async def test_what_was_taken_meanwhile_does_not_count() -> None:
    """A client that is just taking its reply is weighed anew before somebody is cut off for it."""
    loop = asyncio.get_running_loop()
    async with Watched() as watched:
        reading = await watched.client(receive_buffer=4096)
        await reading.send(Packet.source(12_000_000))
        (conversation,) = watched.server.conversations
        await until(lambda: conversation.held_bytes > 0)
        weighed = conversation.held_bytes
        while (waiting := conversation._transport.get_write_buffer_size()) > weighed - 1_000_000:
            reading.packets.receive_data(await loop.sock_recv(reading.sock, 65_536))
        assert (weighed, True) == (conversation.held_bytes, waiting > 0)
        # Between what waits really and what was weighed there is room for another client
        watched.server._held_limit_bytes = waiting + 3_000_000
        await write_most_of_a_frame(await watched.client(), 2_900_000)
        reply = await reading.receive()
        assert reply is not None
        assert 12_000_000 == len(reply.argument)
        assert Packet.ping() == await reading.ask(Packet.ping())
        assert [None, None] == [record.ended for record in watched.server.journal.records]


async def write_most_of_a_frame(client: RawClient, size: int) -> None:
    try:
        await client.write(b"\x00\xff\xff\xff" + bytes(size))
    except ConnectionError:
        return


async def test_replies_that_nobody_takes_count_too() -> None:
    """Replies that wait for clients which do not read are in the same budget."""
    async with Watched(held_limit_bytes=7_000_000) as watched:
        # The kernel takes 4 MB of a reply at most (tcp_wmem), so 4 MB of each wait with the server
        for _ in range(3):
            client = await watched.client(receive_buffer=4096)
            await client.send(Packet.source(8_000_000))
        record = await watched.next_ended()
        assert Ended.OUT_OF_MEMORY is record.ended
        await watched.next_ended()
        async with await watched.client() as honest:
            assert Packet.ping() == await honest.ask(Packet.ping())


async def test_a_budget_that_is_enough_resets_nobody() -> None:
    """What was held and has been answered or sent does not count any more."""
    async with Watched(held_limit_bytes=3_000_000) as watched, await watched.client() as client:
        for _ in range(6):
            data = os.urandom(1_000_000)
            assert Packet.echo(data) == await client.ask(Packet.echo(data))
        assert 0 == watched.server._held_bytes


async def test_running_out_of_descriptors_is_survived() -> None:
    """When no descriptor is free, connections wait in the queue, and are served when there are some again."""
    async with Watched() as watched:
        first = await watched.client()
        await first.ask(Packet.ping())
        waiting = await watched.client()
        # What was accepted is served, and the next accept fails
        await waiting.ask(Packet.ping())
        late = socket.socket()
        late.setblocking(False)
        client = RawClient(late, watched.server.key)
        async with client:
            with no_free_descriptor():
                where = watched.server.endpoint
                await asyncio.get_running_loop().sock_connect(late, (where.host, where.port))
                for _ in range(3):
                    assert Packet.ping() == await first.ask(Packet.ping())
            assert Packet.ping() == await client.ask(Packet.ping())


@contextlib.contextmanager
def no_free_descriptor() -> Iterator[None]:
    """Inside, this process can open nothing."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    highest = os.dup(0)
    resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 1, hard))
    held = [highest]
    try:
        with contextlib.suppress(OSError):
            while True:
                held.append(os.dup(0))
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for descriptor in held:
            os.close(descriptor)
