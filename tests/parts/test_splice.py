"""The data plane: the fast path and the chunk path carry the same bytes and the same ends."""

import asyncio
import errno
import hashlib
import os
import select
import socket
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass

import pytest
import uvloop

from relay.evidence import unsent_bytes
from relay.link import Link
from relay.pipes import PipePool
from relay.pump import pump
from relay.pump_end import Counters, TunnelEnd
from relay.splice import SplicePlane
from relay.stream import SocketStream
from relay.tunnel_loop import TunnelLoop
from relay.vanished import KEEPALIVE

MIB = 1_048_576
PATIENCE_SECONDS = 30


def pair() -> tuple[socket.socket, socket.socket]:
    """Both ends of a TCP connection on loopback, non-blocking: the outer one and the tunnel's."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        outer = socket.create_connection(listener.getsockname())
        inner, _ = listener.accept()
    for sock in (outer, inner):
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return outer, inner


@dataclass
class Tunnel:
    """A tunnel under test: what the client and the target hold, and how it ended."""

    client: socket.socket
    target: socket.socket
    ended: "asyncio.Future[TunnelEnd]"
    counters: Callable[[], Counters]

    async def end(self) -> TunnelEnd:
        async with asyncio.timeout(PATIENCE_SECONDS):
            return await self.ended


class Paths:
    """Opens tunnels on one of the two paths."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.plane = SplicePlane() if path == "splice" else None
        self._outer: list[socket.socket] = []
        self._tasks: list[asyncio.Task[None]] = []

    def open(self, early: bytes = b"", shrink_bytes: int = 0) -> Tunnel:
        client, near = pair()
        target, far = pair()
        if shrink_bytes:
            for sock in (client, near, target, far):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, shrink_bytes)
        self._outer += [client, target]
        ended = asyncio.get_running_loop().create_future()
        if self.plane is not None:
            link = Link(near, far, ended.set_result, early=early)
            self.plane.add(link)
            return Tunnel(client, target, ended, lambda: link.counters)
        counters = Counters()

        async def run() -> None:
            ended.set_result(await pump(SocketStream(near, early), SocketStream(far), counters))

        self._tasks.append(asyncio.create_task(run()))
        return Tunnel(client, target, ended, lambda: counters)

    async def close(self) -> None:
        if self.plane is not None:
            self.plane.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for sock in self._outer:
            sock.close()


LOOPS = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop, "tunnel": TunnelLoop}


@pytest.fixture(params=[f"{path}-{loop}" for path in ("splice", "chunks") for loop in LOOPS])
def on_path(request):
    """Run a coroutine function with `Paths` of each kind on each loop; nothing may be left behind."""
    path, loop_name = request.param.split("-")

    def run(scenario):
        async def whole() -> None:
            errors: list[dict] = []
            asyncio.get_running_loop().set_exception_handler(lambda _, context: errors.append(context))
            paths = Paths(path)
            try:
                async with asyncio.timeout(PATIENCE_SECONDS * 2):
                    await scenario(paths)
            finally:
                await paths.close()
            assert [] == errors
            if paths.plane is not None:
                assert (0, 0) == (len(paths.plane), paths.plane.pipes.lent)

        before = descriptors()
        with asyncio.Runner(loop_factory=LOOPS[loop_name]) as runner:
            runner.run(whole())
        assert before == descriptors()

    return run


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - a Path would hold the folder open


async def read_exactly(sock: socket.socket, size: int) -> bytes:
    got = bytearray()
    async with asyncio.timeout(PATIENCE_SECONDS):
        while len(got) < size:
            data = await asyncio.get_running_loop().sock_recv(sock, min(MIB, size - len(got)))
            if not data:
                break
            got += data
    return bytes(got)


async def read_all(sock: socket.socket) -> tuple[bytes, str]:
    """Everything until the end, and which kind of end it was."""
    got = bytearray()
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            try:
                data = await asyncio.get_running_loop().sock_recv(sock, MIB)
            except ConnectionResetError:
                return bytes(got), "RST"
            if not data:
                return bytes(got), "FIN"
            got += data


async def send(sock: socket.socket, data: bytes) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        await asyncio.get_running_loop().sock_sendall(sock, data)


def reset(sock: socket.socket) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


async def until(condition: Callable[[], bool]) -> None:
    """Wait for what has no event of its own, without a fixed time."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not condition():  # noqa: ASYNC110 - the kernel's send queue has no event to wait for
            await asyncio.sleep(0.001)


@pytest.mark.parametrize("size", [1, 100, 16_383, 16_384, 16_385, 262_144, 3 * MIB + 7])
def test_bytes_arrive_in_order_under_any_segmentation(on_path, size):
    """Both ways at once, in segments of odd sizes around every internal limit."""

    async def scenario(paths: Paths) -> None:
        tunnel = paths.open()
        up, down = os.urandom(size), os.urandom(size)

        async def in_pieces(sock: socket.socket, data: bytes, piece: int) -> None:
            for start in range(0, len(data), piece):
                await send(sock, data[start : start + piece])

        piece = max(1, size // 37)
        got = await asyncio.gather(
            read_exactly(tunnel.target, size),
            read_exactly(tunnel.client, size),
            in_pieces(tunnel.client, up, piece),
            in_pieces(tunnel.target, down, piece + 1),
        )
        assert (up, down) == (got[0], got[1])
        assert (size, size) == (tunnel.counters().up, tunnel.counters().down)

    on_path(scenario)


@pytest.mark.parametrize("size", [1, 5, 70_000, MIB])
def test_early_bytes_come_first(on_path, size):
    """What the client had sent before the tunnel began arrives before everything else."""

    async def scenario(paths: Paths) -> None:
        early = os.urandom(size)
        tunnel = paths.open(early)
        await send(tunnel.client, b"later")
        assert early + b"later" == await read_exactly(tunnel.target, size + 5)

    on_path(scenario)


@pytest.mark.parametrize("first", ["client", "target"])
def test_half_close_leaves_the_other_way_open(on_path, first):
    """The answer to "my last word" still arrives; the tunnel is named after the side that ended first."""

    async def scenario(paths: Paths) -> None:
        tunnel = paths.open()
        one, other = (tunnel.client, tunnel.target) if first == "client" else (tunnel.target, tunnel.client)
        await send(one, b"question")
        one.shutdown(socket.SHUT_WR)
        assert (b"question", "FIN") == await read_all(other)
        answer = os.urandom(MIB)
        sending = asyncio.create_task(send(other, answer))
        assert answer == await read_exactly(one, MIB)
        await sending
        other.close()
        assert (b"", "FIN") == await read_all(one)
        assert TunnelEnd(f"{first}-closed") is await tunnel.end()

    on_path(scenario)


def test_data_and_fin_in_one_breath(on_path):
    """Bytes and FIN that were there before the tunnel began are both passed on."""

    async def scenario(paths: Paths) -> None:
        for size in (1, 20_000, 300_000):
            tunnel = paths.open()
            data = os.urandom(size)
            sending = asyncio.create_task(send(tunnel.client, data))
            reading = asyncio.create_task(read_all(tunnel.target))
            await sending
            tunnel.client.shutdown(socket.SHUT_WR)
            assert (data, "FIN") == await reading
            tunnel.target.close()
            assert TunnelEnd.CLIENT_CLOSED is await tunnel.end()

    on_path(scenario)


@pytest.mark.parametrize("first", ["client", "target"])
def test_rst_is_passed_on_as_rst(on_path, first):
    """A reset on one side is a reset on the other, never a clean end; what came before it arrives."""

    async def scenario(paths: Paths) -> None:
        tunnel = paths.open()
        one, other = (tunnel.client, tunnel.target) if first == "client" else (tunnel.target, tunnel.client)
        await send(one, b"before")
        assert b"before" == await read_exactly(other, 6)
        reset(one)
        assert (b"", "RST") == await read_all(other)
        assert TunnelEnd(f"{first}-reset") is await tunnel.end()

    on_path(scenario)


@pytest.mark.parametrize("first", ["client", "target"])
def test_unread_bytes_do_not_cost_the_other_side_what_was_sent(on_path, first):
    """A peer that answers and closes without having read everything resets; its answer arrives whole."""

    async def scenario(paths: Paths) -> None:
        tunnel = paths.open()
        one, other = (tunnel.client, tunnel.target) if first == "client" else (tunnel.target, tunnel.client)
        answer = os.urandom(300_000)
        # The peer never reads this, and more keeps coming
        await send(other, b"x" * 200_000)
        await send(one, answer)
        # close(2) with unread bytes throws away what the tunnel's kernel has not taken yet; that is not ours
        await until(lambda: unsent_bytes(one) == 0)
        one.close()
        got = bytearray()
        end = ""
        while not end:
            try:
                data = await asyncio.get_running_loop().sock_recv(other, 4096)
            except ConnectionResetError:
                end = "RST"
            else:
                got += data
                end = "" if data else "FIN"
        assert (len(answer), "RST") == (len(got), end)
        assert answer == bytes(got)
        assert TunnelEnd(f"{first}-reset") is await tunnel.end()

    on_path(scenario)


def has_unread(sock: socket.socket) -> bool:
    return bool(select.select([sock], [], [], 0)[0])


def test_a_write_that_fails_does_not_cost_what_can_still_be_read(on_path):
    """The target answers, then resets while the client still sends: the whole answer arrives, then RST."""

    async def scenario(paths: Paths) -> None:
        tunnel = paths.open()
        answer = os.urandom(MIB + 200_000)
        sending = asyncio.create_task(send(tunnel.target, answer))
        flooding = asyncio.create_task(flood(tunnel.client))
        got = await read_exactly(tunnel.client, MIB)
        # The rest of the answer is on its way; the flood fills what the target does not read
        await sending
        await until(lambda: unsent_bytes(tunnel.target) == 0 and has_unread(tunnel.target))
        tunnel.target.close()
        rest, end = await read_all(tunnel.client)
        (flooded,) = await asyncio.gather(flooding, return_exceptions=True)
        # The kernel tells of a reset once, whoever asks first: who reads, or who still sends
        was_reset = end == "RST" or isinstance(flooded, ConnectionResetError)
        assert (answer, True) == (got + rest, was_reset)
        assert TunnelEnd.TARGET_RESET is await tunnel.end()

    on_path(scenario)


async def flood(sock: socket.socket) -> None:
    while True:
        await asyncio.get_running_loop().sock_sendall(sock, b"f" * 65_536)


def test_a_slow_reader_gives_back_pressure(on_path):
    """A client that does not read stops the target's sending after a bounded amount; nothing is lost."""

    async def scenario(paths: Paths) -> None:
        tunnel = paths.open()
        sent = 0
        block = os.urandom(65_536)
        quiet_since = time.monotonic()
        while time.monotonic() - quiet_since < 0.3:
            try:
                sent += tunnel.target.send(block)
                quiet_since = time.monotonic()
            except BlockingIOError:
                await asyncio.sleep(0.005)
        assert sent < 64 * MIB
        whole = hashlib.sha256((block * (sent // 65_536 + 1))[:sent]).digest() if sent % 65_536 == 0 else b""
        got = await read_exactly(tunnel.client, sent)
        assert sent == len(got)
        if whole:
            assert whole == hashlib.sha256(got).digest()

    on_path(scenario)


def test_one_byte_segments_fill_the_pipe_and_still_pass(on_path):
    """A pipe has 256 slots: single bytes fill it long before its size; none is lost or reordered."""

    async def scenario(paths: Paths) -> None:
        tunnel = paths.open()
        data = os.urandom(20_000)
        # A burst first, so that the fast path is in the mode that uses a pipe
        burst = os.urandom(MIB)
        reading = asyncio.create_task(read_exactly(tunnel.target, MIB + len(data)))
        await send(tunnel.client, burst)
        for value in data:
            await send(tunnel.client, bytes([value]))
        assert burst + data == await reading

    on_path(scenario)


@pytest.mark.parametrize("state", ["idle", "stalled"])
def test_no_cpu_while_nothing_moves(on_path, state):
    """An idle tunnel, and one whose reader has stopped, cost no CPU time."""

    async def scenario(paths: Paths) -> None:
        tunnel = paths.open()
        await send(tunnel.client, b"once")
        assert b"once" == await read_exactly(tunnel.target, 4)
        if state == "stalled":
            moved = -1
            while moved != (moved := tunnel.counters().down):
                try:
                    while True:
                        tunnel.target.send(b"z" * 65_536)
                except BlockingIOError:
                    await asyncio.sleep(0.05)
        before = time.process_time()
        # Not a wait for something: what is measured is the CPU time of a second in which nothing happens
        await asyncio.sleep(1.0)
        used = time.process_time() - before
        # A loop that spins would take nearly all of the second
        assert used < 0.1
        if state == "idle" and paths.plane is not None:
            assert 0 == paths.plane.pipes.lent

    on_path(scenario)


@pytest.mark.parametrize("size", [10, 300_000])
def test_bytes_behind_urgent_data_are_not_kept_waiting(on_path, size):
    """A read stops before urgent data (tcp(7)), so a short one does not say that nothing is left."""

    async def scenario(paths: Paths) -> None:
        for _ in range(10):
            tunnel = paths.open()
            before, behind = os.urandom(size), os.urandom(size)
            reading = asyncio.create_task(read_exactly(tunnel.target, 2 * size))
            await send(tunnel.client, before)
            tunnel.client.send(b"U", socket.MSG_OOB)
            await send(tunnel.client, behind)
            # The urgent byte itself is out of the stream, as through any proxy
            assert before + behind == await reading

    on_path(scenario)


def test_an_end_behind_urgent_data_is_not_taken_for_the_end_at_it(on_path):
    """splice(2) stops before urgent data with 0, as at the end, once the FIN has come: nothing is lost."""

    async def scenario(paths: Paths) -> None:
        # In one go, without a turn of the loop: all of it is there when the tunnel first reads
        tunnel = paths.open()
        before, behind = os.urandom(100_000), os.urandom(4_000)
        tunnel.client.setblocking(True)
        tunnel.client.sendall(before)
        tunnel.client.send(b"U", socket.MSG_OOB)
        tunnel.client.sendall(behind)
        tunnel.client.shutdown(socket.SHUT_WR)
        tunnel.client.setblocking(False)
        assert before + behind == await read_exactly(tunnel.target, len(before + behind))
        assert b"" == await asyncio.get_running_loop().sock_recv(tunnel.target, 1)

    on_path(scenario)


async def test_a_system_without_a_watch_left():
    """A link that epoll(7) does not take is reset, and told; nothing of it stays (epoll_ctl(2), ENOSPC)."""

    class Full:
        def register(self, descriptor: int, events: int) -> None:
            if descriptor == sockets[2].fileno():
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    plane = SplicePlane()
    sockets, ends = [*pair(), *pair()], []
    plane._epoll = Full()
    plane.add(Link(sockets[1], sockets[2], ends.append))
    assert ([TunnelEnd.STOPPED], 0, {}) == (ends, len(plane), plane._table)
    for sock in (sockets[0], sockets[3]):
        with pytest.raises(ConnectionResetError):
            await asyncio.get_running_loop().sock_recv(sock, 1)
        sock.close()
    plane.close()


async def test_a_tunnel_that_lasts_notices_a_vanished_target(monkeypatch):
    """Keep-alive probes are set for targets of tunnels that have outlived the most, not for others."""
    monkeypatch.setattr("relay.young_links.YOUNG_SECONDS", 0.01)
    plane = SplicePlane()
    sockets = [*pair(), *pair()]
    try:
        untouched = sockets[2].getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE)
        plane.add(Link(sockets[1], sockets[2], lambda end: None, is_young=True))
        await until(lambda: sockets[2].getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) != untouched)
        assert KEEPALIVE["TCP_KEEPIDLE"] == sockets[2].getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE)
        assert untouched == sockets[1].getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE)
    finally:
        plane.close()
        for sock in sockets:
            sock.close()


def test_idle_tunnels_hold_no_pipes(on_path):
    """After a burst on each of 50 tunnels all pipes are back in the pool, and no more than it keeps."""

    async def scenario(paths: Paths) -> None:
        tunnels = [paths.open() for _ in range(50)]
        data = os.urandom(200_000)
        for tunnel in tunnels:
            sending = asyncio.create_task(send(tunnel.client, data))
            assert data == await read_exactly(tunnel.target, len(data))
            await sending
        if paths.plane is not None:
            plane = paths.plane
            await until(lambda: plane.pipes.lent == 0)

    on_path(scenario)


def test_counters_are_live(on_path):
    """Bytes are counted while the tunnel runs, not when it ends."""

    async def scenario(paths: Paths) -> None:
        tunnel = paths.open()
        await send(tunnel.client, b"12345")
        assert b"12345" == await read_exactly(tunnel.target, 5)
        await until(lambda: tunnel.counters() == Counters(up=5, down=0))
        assert not tunnel.ended.done()

    on_path(scenario)


def test_a_small_tunnel_is_not_starved_by_bulk(on_path):
    """While eight tunnels carry bulk, a ninth still gets its answers."""

    async def scenario(paths: Paths) -> None:
        bulk = [paths.open() for _ in range(8)]
        tasks = [asyncio.create_task(flood(tunnel.client)) for tunnel in bulk]
        tasks += [asyncio.create_task(swallow(tunnel.target)) for tunnel in bulk]
        small = paths.open()
        for count in range(50):
            await send(small.client, b"%04d" % count)
            assert b"%04d" % count == await read_exactly(small.target, 4)
        moved = sum(tunnel.counters().up for tunnel in bulk)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert moved > 0

    on_path(scenario)


async def swallow(sock: socket.socket) -> None:
    while await asyncio.get_running_loop().sock_recv(sock, MIB):
        pass


def test_stopping_resets_both_sides(on_path):
    """When the proxy stops, neither side may take it for a clean end."""

    async def scenario(paths: Paths) -> None:
        tunnel = paths.open()
        await send(tunnel.client, b"x")
        assert b"x" == await read_exactly(tunnel.target, 1)
        if paths.plane is not None:
            paths.plane.close()
            assert (TunnelEnd.STOPPED, 0) == (await tunnel.end(), len(paths.plane))
            paths.plane = None
        else:
            for task in paths._tasks:
                task.cancel()
        assert (b"", "RST") == await read_all(tunnel.client)
        assert (b"", "RST") == await read_all(tunnel.target)

    on_path(scenario)


async def test_without_a_descriptor_for_a_pipe_the_bytes_still_pass(monkeypatch):
    """Plain reads take over when no pipe can be made."""
    monkeypatch.setattr(PipePool, "take", lambda self: None)
    paths = Paths("splice")
    tunnel = paths.open()
    data = os.urandom(MIB)
    sending = asyncio.create_task(send(tunnel.client, data))
    assert data == await read_exactly(tunnel.target, MIB)
    await sending
    await paths.close()


def test_a_pipe_that_cannot_grow_is_used_as_it_is(monkeypatch):
    """An unprivileged user's pipe budget may be spent (pipe(7)); the pool goes on with small pipes."""
    import fcntl

    def refuse(*_: object) -> int:
        raise PermissionError

    monkeypatch.setattr(fcntl, "fcntl", refuse)
    pool = PipePool()
    pipe = pool.take()
    assert pipe is not None
    assert 1 == pool.lent
    pool.give_back(pipe, is_empty=True)
    assert pipe == pool.take()
    pool.give_back(pipe, is_empty=False)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(pipe[0])
    pool.close()


@pytest.mark.parametrize("first", ["client", "target"])
def test_a_reset_behind_a_fin_is_noticed(on_path, first):
    """A side that said FIN and then resets ends the tunnel, although nobody reads from it any more."""

    async def scenario(paths: Paths) -> None:
        tunnel = paths.open()
        one, other = (tunnel.client, tunnel.target) if first == "client" else (tunnel.target, tunnel.client)
        one.shutdown(socket.SHUT_WR)
        assert (b"", "FIN") == await read_all(other)
        reset(one)
        assert TunnelEnd(f"{first}-reset") is await tunnel.end()
        with pytest.raises((ConnectionResetError, BrokenPipeError)):
            await flood(other)

    on_path(scenario)


@pytest.mark.parametrize("on_path", [f"splice-{loop}" for loop in LOOPS], indirect=True)
def test_a_dead_source_does_not_wait_for_ever_for_a_sink_that_takes_nothing(on_path, monkeypatch):
    """The client is gone and the target takes none of its last bytes: the tunnel is given up."""
    monkeypatch.setattr("relay.splice.DELIVERY_SECONDS", 0.2)
    monkeypatch.setattr("relay.resetting.DELIVERY_SECONDS", 0.2)

    async def scenario(paths: Paths) -> None:
        tunnel = paths.open()
        moved = -1
        while moved != (moved := tunnel.counters().up):
            try:
                while True:
                    tunnel.client.send(b"z" * 65_536)
            except BlockingIOError:
                await asyncio.sleep(0.05)
        reset(tunnel.client)
        assert TunnelEnd.CLIENT_RESET is await tunnel.end()

    on_path(scenario)
