"""The emulated server under clients that are hostile, or many: the loop, the memory and the end stay ours."""

import asyncio
import errno
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import uvloop

from protocol import connection
from protocol.connection import PacketConnection, PacketLarge
from protocol.errors import InflateTooLarge
from protocol.packet import Packet
from protocol.sealing import MAX_INFLATED_BYTES, Direction, Key, unpacked
from relay import serving
from relay.emulator import EmulatedServer
from relay.journal import Ended
from relay.listening import accept_each, bound_endpoint, listen_on
from relay.operations import LARGE_BYTES, QUICK_BYTES
from tests.parts.framework_peers import FREE, PATIENCE_SECONDS, Watched, until

LOOPS = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("arrived", [0, 1, 3, 20])
def test_a_stop_while_clients_connect_ends(loop: str, arrived: int) -> None:
    """On uvloop too, which forgets a connection that is cancelled in the middle of being made."""

    async def work() -> None:
        ended: list[Any] = []
        server = EmulatedServer((FREE,), on_end=ended.append)
        await server.start()
        where = (server.endpoint.host, server.endpoint.port)
        # Of the kernel, without a turn of the loop
        clients = [socket.create_connection(where, PATIENCE_SECONDS) for _ in range(20)]
        await until(lambda: len(server.conversations) >= arrived)
        async with asyncio.timeout(PATIENCE_SECONDS):
            await server.aclose()
        assert set() == server.conversations
        assert len(server.journal.records) == len(ended)
        for client in clients:
            client.close()

    with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
        runner.run(work())


async def test_a_small_frame_of_a_large_packet_is_opened_in_a_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thousand times its size may be in it; what is small in both ways is not worth a thread."""
    inflated: list[tuple[int, bool]] = []

    def noted(packed: bytes, limit_bytes: int) -> bytes:
        body = unpacked(packed, limit_bytes)
        inflated.append((len(body), threading.current_thread() is threading.main_thread()))
        return body

    monkeypatch.setattr(connection, "unpacked", noted)
    async with Watched() as watched, await watched.client() as client:
        for size, is_ours in ((10_000, True), (10_000_000, False)):
            packet = Packet.sink(bytes(size))
            wire = client.packets.send(packet)
            assert len(wire) < LARGE_BYTES
            inflated.clear()
            await client.write(wire)
            await until(lambda: bool(inflated))
            [(found_bytes, was_ours)] = inflated
            assert (len(packet.body), is_ours) == (found_bytes, was_ours)
            reply = await client.receive()
            assert reply is not None
            assert packet.operation == reply.operation


def test_a_packet_larger_than_asked_for_is_still_the_next_one() -> None:
    """It is opened once, and counts as unread until it is given; nothing overtakes it."""
    key = Key.public()
    ours, theirs = PacketConnection(Direction.CLIENT, key), PacketConnection(Direction.SERVER, key)
    large = Packet.echo(bytes(QUICK_BYTES))
    theirs.receive_data(ours.send(large))
    for _ in range(2):
        with pytest.raises(PacketLarge):
            theirs.next_packet(QUICK_BYTES)
        assert theirs.unread_bytes
        assert 0 == theirs.packets_received
    ping = ours.send(Packet.ping())
    assert theirs.answer_ping(ping) is None
    theirs.receive_data(ping)
    assert [large, Packet.ping(), None] == [theirs.next_packet() for _ in range(3)]
    assert (0, 2) == (theirs.unread_bytes, theirs.packets_received)
    small = Packet.echo(bytes(QUICK_BYTES - 1))
    theirs.receive_data(ours.send(small))
    assert small == theirs.next_packet(QUICK_BYTES)


def test_a_limit_for_all_is_no_other_for_being_asked_for() -> None:
    """What is beyond it is an error of the connection, however much the caller would take."""
    key = Key.public()
    ours = PacketConnection(Direction.CLIENT, key)
    theirs = PacketConnection(Direction.SERVER, key, inflated_limit_bytes=1000)
    theirs.receive_data(ours.send(Packet.echo(bytes(2000))))
    with pytest.raises(InflateTooLarge):
        theirs.next_packet(QUICK_BYTES)


async def test_one_client_has_its_turn_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of packets that came in one go some are answered, then others are: each answer in its order."""
    monkeypatch.setattr(serving, "TURN_SECONDS", 0.0)
    async with Watched() as watched, await watched.client() as busy, await watched.client() as other:
        assert Packet.ping() == await other.ask(Packet.ping())
        many = 500
        await busy.send(*(Packet.echo(b"%d" % number) for number in range(many)))
        answers = asyncio.create_task(busy.receive())
        assert Packet.echo(b"0") == await answers
        assert Packet.ping() == await other.ask(Packet.ping())
        # The server has not been through all of them meanwhile
        [conversation] = [one for one in watched.server.conversations if one._record.peer == busy.name]
        assert conversation._record.packets_sent < many
        for number in range(1, many):
            assert Packet.echo(b"%d" % number) == await busy.receive()


async def test_a_broken_large_packet_does_not_outlive_the_idle_timeout() -> None:
    """A client that reads nothing and whose frame does not open is ended as any other that reads nothing."""
    async with Watched(idle_timeout_seconds=0.3) as watched:
        client = await watched.client(receive_buffer=4096)
        await until(lambda: bool(_connected(watched)))
        [conversation] = _connected(watched)
        for number in range(1000):
            # Not so much that the server would stop reading
            await client.send(Packet.source(10_000, number))
            await until(lambda: conversation._record.packets_sent > number)  # noqa: B023 - awaited at once
            if conversation._transport.get_write_buffer_size():
                break
        frame = bytearray(client.packets.send(Packet.echo(os.urandom(LARGE_BYTES))))
        frame[-1] ^= 1
        await client.write(bytes(frame))
        assert Ended.SEAL_BROKEN is (await watched.next_ended()).ended


def _connected(watched: Watched) -> list[serving.Conversation]:
    return [one for one in watched.server.conversations if one.is_connected]


MEMORY = """
import asyncio, resource, signal
from relay.emulator import EmulatedServer
from relay.route import Endpoint

async def main():
    async with EmulatedServer((Endpoint("127.0.0.1", 0),)) as server:
        print(server.endpoint.port, flush=True)
        stop = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
        await stop.wait()
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)

asyncio.run(main())
"""


async def test_memory_does_not_grow_with_the_clients_of_large_packets() -> None:
    """What waits for its turn is packed: 64 KiB, of which 64 MiB are made for one or two at a time."""
    threads = os.cpu_count() or 1
    clients = 6 * threads + 8
    server = await asyncio.create_subprocess_exec(
        sys.executable, "-c", MEMORY, stdout=subprocess.PIPE, limit=1000
    )
    assert server.stdout is not None
    port = int(await server.stdout.readline())
    packets = PacketConnection(Direction.CLIENT, Key.public())
    frame = packets.send(Packet.echo(bytes(MAX_INFLATED_BYTES - 100)))

    async def ask() -> int:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(frame)
        size = int.from_bytes(await reader.readexactly(4))
        await reader.readexactly(size)
        writer.close()
        await writer.wait_closed()
        return size

    async with asyncio.timeout(6 * PATIENCE_SECONDS):
        sizes = await asyncio.gather(*(ask() for _ in range(clients)))
    assert 1 == len(set(sizes))
    server.terminate()
    kilobytes = int(await server.stdout.readline())
    await server.wait()
    # All at once would be more than MAX_INFLATED_BYTES for each
    assert kilobytes * 1024 < (3 * threads + 4) * MAX_INFLATED_BYTES < clients * MAX_INFLATED_BYTES


async def test_a_listener_is_heard_of_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """When all watches of the user are taken for a while (epoll_ctl(2), ENOSPC), accepting goes on later."""
    loop, [listener] = asyncio.get_running_loop(), listen_on((FREE,))
    refusals = [OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))] * 2
    add_reader = loop.add_reader

    def refusing(*about: Any) -> None:
        if about[0] is listener and refusals:
            raise refusals.pop()
        add_reader(*about)

    monkeypatch.setattr(loop, "add_reader", refusing)
    came: asyncio.Queue[socket.socket] = asyncio.Queue()
    greet: Callable[[socket.socket], Awaitable[None]] = came.put
    accepting = asyncio.create_task(accept_each(listener, greet))
    await until(lambda: not refusals)
    where = bound_endpoint(listener)
    with socket.create_connection((where.host, where.port), PATIENCE_SECONDS):
        async with asyncio.timeout(PATIENCE_SECONDS):
            (await came.get()).close()
    accepting.cancel()
    await asyncio.gather(accepting, return_exceptions=True)
    listener.close()
