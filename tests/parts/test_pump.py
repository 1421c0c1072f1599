"""pump: bytes both ways between two sockets, and every kind of end, on both event loops."""

import asyncio
import os
import random
import socket
import threading
from collections.abc import Iterator
from types import TracebackType
from typing import Any, Self

import pytest

import relay.resetting
from relay.pump import pump
from relay.pump_end import Counters, TunnelEnd
from relay.stream import SocketStream
from tests.path.proxied import (
    LOOPS,
    SOON_SECONDS,
    loop_factory,
    read_all,
    read_exactly,
    reset,
    wait_until_delivered,
)

MIB = 1 << 20
SMALL_BUFFER_BYTES = 65_536


def connected(buffer_bytes: int | None = None) -> tuple[socket.socket, socket.socket]:
    """Two ends of a TCP connection; small buffers make who does not read felt soon."""
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.socket() as sock:
        if buffer_bytes is not None:
            for end in (listener, sock):
                end.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer_bytes)
                end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffer_bytes)
        sock.settimeout(SOON_SECONDS)
        sock.connect(listener.getsockname())
        accepted, _ = listener.accept()
        return accepted, duplicate(sock)


def duplicate(sock: socket.socket) -> socket.socket:
    own = sock.dup()
    own.settimeout(SOON_SECONDS)
    return own


class Pumped:
    """A pump at work in a thread; `near` and `far` are the client's and the target's own ends."""

    def __init__(
        self, loop: str, *, early: bytes = b"", buffer_bytes: int | None = None, **options: Any
    ) -> None:
        self._factory = loop_factory(loop)
        self._early = early
        self._options = options
        self._client, self.near = connected(buffer_bytes)
        self._target, self.far = connected(buffer_bytes)
        self.counters = Counters()
        self.end: TunnelEnd | None = None
        self.was_cancelled = False
        self._thread = threading.Thread(target=self._work)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.near.close()
        self.far.close()
        self._thread.join(SOON_SECONDS)
        assert not self._thread.is_alive()

    def ended(self) -> TunnelEnd | None:
        self._thread.join(SOON_SECONDS)
        assert not self._thread.is_alive()
        assert (-1, -1) == (self._client.fileno(), self._target.fileno()), "both are closed"
        return self.end

    def cancel(self) -> None:
        self._loop.call_soon_threadsafe(self._task.cancel)

    def _work(self) -> None:
        with asyncio.Runner(loop_factory=self._factory) as runner:
            runner.run(self._pump())

    async def _pump(self) -> None:
        self._loop = asyncio.get_running_loop()
        for sock in (self._client, self._target):
            sock.setblocking(False)
        client, target = SocketStream(self._client, self._early), SocketStream(self._target)
        self._task = asyncio.create_task(pump(client, target, self.counters, **self._options))
        try:
            self.end = await self._task
        except asyncio.CancelledError:
            self.was_cancelled = True
        assert [asyncio.current_task()] == list(asyncio.all_tasks())


@pytest.fixture(params=LOOPS)
def loop(request: pytest.FixtureRequest) -> Iterator[str]:
    return request.param


def test_both_ways_at_once(loop: str) -> None:
    """16 MiB in each direction, at once, in odd pieces, early bytes first: whole, in order, counted."""
    up, down = os.urandom(16 * MIB), os.urandom(16 * MIB)
    with Pumped(loop, early=up[:1000]) as pumped:
        ways = [(pumped.near, up[1000:], 1), (pumped.far, down, 2)]
        threads = [threading.Thread(target=send_in_pieces, args=way) for way in ways]
        got = {}

        def read(name: str, sock: socket.socket) -> None:
            got[name] = read_all(sock)

        threads += [
            threading.Thread(target=read, args=(name, sock))
            for name, sock in (("up", pumped.far), ("down", pumped.near))
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert ((up, "FIN"), (down, "FIN")) == (got["up"], got["down"])
        assert pumped.ended() in (TunnelEnd.CLIENT_CLOSED, TunnelEnd.TARGET_CLOSED)
        assert Counters(len(up), len(down)) == pumped.counters


def send_in_pieces(sock: socket.socket, data: bytes, seed: int) -> None:
    sizes = random.Random(seed)
    at = 0
    while at < len(data):
        size = sizes.choice([1, 100, 1460, 65_536, 300_000])
        sock.sendall(data[at : at + size])
        at += size
    sock.shutdown(socket.SHUT_WR)


@pytest.mark.parametrize("first", ["near", "far"])
def test_a_fin_is_passed_on_as_one(loop: str, first: str) -> None:
    """Half-close in either order; the end is named after the side that said its last word first."""
    with Pumped(loop) as pumped:
        one, other = (pumped.near, pumped.far) if first == "near" else (pumped.far, pumped.near)
        one.sendall(b"last word")
        one.shutdown(socket.SHUT_WR)
        assert (b"last word", "FIN") == read_all(other)
        other.sendall(b"answer")
        other.shutdown(socket.SHUT_WR)
        assert (b"answer", "FIN") == read_all(one)
        expected = TunnelEnd.CLIENT_CLOSED if first == "near" else TunnelEnd.TARGET_CLOSED
        assert expected == pumped.ended()


@pytest.mark.parametrize("first", ["near", "far"])
@pytest.mark.parametrize("words", [b"", b"said before"])
def test_a_reset_is_passed_on_as_one(loop: str, first: str, words: bytes) -> None:
    """RST in either direction, behind bytes that arrive before it."""
    with Pumped(loop) as pumped:
        one, other = (pumped.near, pumped.far) if first == "near" else (pumped.far, pumped.near)
        one.sendall(words)
        assert words == read_exactly(other, len(words))
        reset(one)
        assert (b"", "RST") == read_all(other)
        assert (TunnelEnd.CLIENT_RESET if first == "near" else TunnelEnd.TARGET_RESET) == pumped.ended()


@pytest.mark.parametrize("first", ["near", "far"])
def test_who_closes_without_reading_loses_no_word_of_its_own(loop: str, first: str) -> None:
    """What a side sent before it reset arrives, although the other still sends to it."""
    words = os.urandom(MIB)
    with Pumped(loop) as pumped:
        one, other = (pumped.near, pumped.far) if first == "near" else (pumped.far, pumped.near)
        other.sendall(b"unread" * 5000)
        one.recv(1, socket.MSG_PEEK)
        sending = threading.Thread(target=one.sendall, args=(words,))
        sending.start()
        head = read_exactly(other, 1000)
        sending.join()
        wait_until_delivered(one)
        one.close()
        data, end = read_all(other)
        assert (words, "RST") == (head + data, end)


def test_a_reset_waits_for_a_slow_reader(loop: str) -> None:
    """The side that is to be reset takes its time; as long as it reads, it gets all it is owed."""
    words = os.urandom(2 * MIB)
    with Pumped(loop, buffer_bytes=SMALL_BUFFER_BYTES) as pumped:
        pumped.near.sendall(b"unread" * 100)
        pumped.far.recv(1, socket.MSG_PEEK)
        sending = threading.Thread(target=pumped.far.sendall, args=(words,))
        sending.start()
        data = bytearray()
        while len(data) < len(words) - 300_000:
            data += read_exactly(pumped.near, 1000)
        sending.join()
        while len(data) < len(words) - 100_000:
            data += read_exactly(pumped.near, 1000)
        wait_until_delivered(pumped.far)
        pumped.far.close()
        while len(data) < len(words):
            data += pumped.near.recv(1000)
        assert (b"", "RST", words) == (*read_all(pumped.near), data)


def test_a_reset_after_a_fin(loop: str) -> None:
    """A client that said FIN and then goes for good, while the target is silent: the target is reset too."""
    with Pumped(loop, half_closed_look_seconds=0.05) as pumped:
        pumped.near.shutdown(socket.SHUT_WR)
        assert b"" == pumped.far.recv(1)
        reset(pumped.near)
        assert TunnelEnd.CLIENT_RESET == pumped.ended()
        # After a FIN no read tells of a RST any more, a write does
        with pytest.raises(ConnectionError):
            pumped.far.sendall(b"x")


def test_a_half_closed_tunnel_may_be_quiet(loop: str) -> None:
    """The look at a half-closed tunnel does not end it: the answer may take its time."""
    with Pumped(loop, half_closed_look_seconds=0.02) as pumped:
        pumped.near.shutdown(socket.SHUT_WR)
        assert b"" == pumped.far.recv(1)
        pumped.near.settimeout(0.2)
        with pytest.raises(TimeoutError):
            pumped.near.recv(1)
        pumped.near.settimeout(SOON_SECONDS)
        pumped.far.sendall(b"late")
        pumped.far.close()
        assert (b"late", "FIN") == read_all(pumped.near)


def test_a_client_that_goes_while_its_target_does_not_read(
    loop: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody reads from the client then, so its RST is only found by looking; nothing stays open for ever."""
    monkeypatch.setattr(relay.resetting, "DELIVERY_SECONDS", 0.2)
    with Pumped(loop, buffer_bytes=SMALL_BUFFER_BYTES, look_seconds=0.05) as pumped:
        fill(pumped.near)
        reset(pumped.near)
        assert TunnelEnd.CLIENT_RESET == pumped.ended()
        assert "RST" == read_all(pumped.far)[1]


def test_a_stalled_tunnel_is_no_dead_one(loop: str) -> None:
    """A target that does not read for a while, and a client that waits: looking ends and loses nothing."""
    with Pumped(loop, buffer_bytes=SMALL_BUFFER_BYTES, look_seconds=0.02) as pumped:
        size = fill(pumped.near)
        pumped.near.settimeout(0.2)
        with pytest.raises(TimeoutError):
            pumped.near.recv(1)
        pumped.near.close()
        data, end = read_all(pumped.far)
        assert (size, "FIN") == (len(data), end)


def fill(sock: socket.socket) -> int:
    """Send until nobody takes more; return how much it was."""
    sock.settimeout(0.2)
    size = 0
    while True:
        try:
            size += sock.send(b"x" * 10_000)
        except TimeoutError:
            return size


def test_who_does_not_read_holds_the_other_back(loop: str) -> None:
    """Between the two lie the kernel's buffers and one chunk, not more."""
    with Pumped(loop, buffer_bytes=SMALL_BUFFER_BYTES) as pumped:
        assert fill(pumped.near) < 2 * MIB
        assert fill(pumped.far) < 2 * MIB
        for sock in (pumped.near, pumped.far):
            reset(sock)


@pytest.mark.parametrize("is_stalled", [False, True])
def test_a_cancelled_tunnel_is_reset(loop: str, is_stalled: bool) -> None:
    """Both sides get RST at once, also when bytes wait to be written."""
    with Pumped(loop, buffer_bytes=SMALL_BUFFER_BYTES) as pumped:
        pumped.near.sendall(b"x")
        assert b"x" == pumped.far.recv(1)
        if is_stalled:
            fill(pumped.near)
        pumped.cancel()
        assert ("RST", "RST") == (read_all(pumped.near)[1], read_all(pumped.far)[1])
        pumped.ended()
        assert pumped.was_cancelled


def test_a_side_that_is_gone_before_the_start(loop: str) -> None:
    """A tunnel whose client has reset already hands its early bytes over, and the RST."""
    pumped = Pumped(loop, early=b"early")
    reset(pumped.near)
    with pumped:
        assert (b"early", "RST") == read_all(pumped.far)
        assert TunnelEnd.CLIENT_RESET == pumped.ended()
