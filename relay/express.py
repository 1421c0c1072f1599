"""The express lane: the usual CONNECT, from accept to tunnel, inside the splice plane's own epoll.

A CONNECT to an address, in the form that all usual clients send, is recognised at one glance, dialled and
linked: no transport, task or timer of its own, and for the client no socket object but its descriptor.
Everything else (another request, a name, an unusual field, a head in pieces, a refusal) goes to aiohttp's
server with its bytes as they came.
"""

import asyncio
import contextlib
import errno
import os
import select
import socket
import time
from collections.abc import Sequence
from typing import Protocol

from relay.admission import Admission, Admitted
from relay.connect_tunnel import Tunnel, named
from relay.deadlines import Deadlines
from relay.dial import lean_socket, reset_socket
from relay.failure import RelayError, Stage, classify
from relay.listening import ACCEPT_AGAIN_SECONDS
from relay.pump_end import TunnelEnd
from relay.splice import IS_AVAILABLE, SplicePlane
from relay.vanished import is_dead

# A head, and seldom more: a larger buffer costs time for each connection.
_READ_BYTES = 4096
_REST_BYTES = 262_144 - _READ_BYTES
_BROKEN = select.EPOLLERR | select.EPOLLHUP if IS_AVAILABLE else 0


class Desk(Protocol):
    """Who decides and writes down: the proxy."""

    def admission(self) -> Admission | None:
        """Which targets may be reached; None: somebody else must look closer."""

    def was_silent(self) -> None: ...

    def opening(self, client: str, to: Admitted, began_seconds: float) -> Tunnel:
        """A tunnel is being dialled."""

    def opened(self, tunnel: Tunnel) -> None: ...

    def could_not_open(self, tunnel: Tunnel, sock: socket.socket, error: RelayError) -> None:
        """Tell the client, whose socket it now is to close."""

    def hand_over(self, sock: socket.socket, data: bytes) -> None:
        """Take a connection that sent `data`, and answer it."""


class _Guest:
    """A connection that has sent nothing yet, or whose target is being dialled."""

    __slots__ = ("client", "early", "flags", "is_watched", "lane", "peer", "target", "tunnel", "turn")

    def __init__(self, lane: "ExpressLane", client: int, peer: tuple[str, int]) -> None:
        self.lane = lane
        self.client = client
        self.peer = peer
        self.flags = 0
        self.early = b""
        self.is_watched = False
        self.target: socket.SocketType | None = None
        self.tunnel: Tunnel | None = None
        self.turn = -1

    def woke(self, descriptor: int, flags: int) -> None:
        """An event of either side."""
        if self.tunnel is None:
            self.lane.spoke(self, flags)
        elif descriptor != self.client:
            self.lane.dialled(self, flags)
        else:
            self.flags |= flags
            if flags & _BROKEN and _has_gone(self.client):
                self.lane.client_left(self)


class _Listening:
    """One listener of a lane."""

    def __init__(self, lane: "ExpressLane", listener: socket.socket) -> None:
        self.descriptor = listener.fileno()
        # socket.accept makes a socket object each time, which takes longer than all that a lane does with it
        self.accept = listener._accept  # type: ignore[attr-defined]  # noqa: SLF001
        self._lane = lane

    def woke(self, descriptor: int, flags: int) -> None:
        """Somebody has come: one for each event, so that those who are there have their turn."""
        self._lane.accept(self)


class ExpressLane:
    """Accepts from `listeners` (non-blocking), which stay the caller's to close.

    Args: silence_seconds: for a client to send its first byte. connect_seconds: for a target to accept.
    """

    def __init__(
        self, plane: SplicePlane, listeners: Sequence[socket.socket], desk: Desk, *,
        silence_seconds: float, connect_seconds: float,
    ) -> None:  # fmt: skip
        self._plane = plane
        self._listeners = [_Listening(self, listener) for listener in listeners]
        self._desk = desk
        self._silent = Deadlines[_Guest](silence_seconds, self._too_silent)
        self._dialling = Deadlines[_Guest](connect_seconds, self._too_late)
        self._pause: asyncio.TimerHandle | None = None
        self._listen()

    def __len__(self) -> int:
        """Connections that have sent nothing yet."""
        return len(self._silent.waiting)

    def accept_no_more(self) -> None:
        """Leave the listeners alone."""
        if self._pause is not None:
            self._pause.cancel()
        self._listen_no_more()

    def end_silent(self) -> None:
        """Close the connections that have sent nothing yet."""
        for guest in list(self._silent.waiting):
            self._silent.remove(guest)
            self._close_silent(guest)

    def close(self) -> None:
        """Accept no more, and reset whatever is on its way to be a tunnel."""
        self.accept_no_more()
        for guest in [*self._silent.waiting, *self._dialling.waiting]:
            reset_socket(self._release(guest))
            if guest.tunnel is not None:
                self._drop_target(guest)
                guest.tunnel.on_end(guest.tunnel)
        self._silent.close()
        self._dialling.close()

    def accept(self, listening: _Listening) -> None:
        """Let one connection in."""
        try:
            client, peer = listening.accept()
        except (BlockingIOError, ConnectionError):
            return
        except OSError:
            # Out of descriptors: connections wait in the queue until some are free again
            self._listen_no_more()
            self._pause = asyncio.get_running_loop().call_later(ACCEPT_AGAIN_SECONDS, self._listen)
            return
        os.set_blocking(client, False)
        guest = _Guest(self, client, peer)
        try:
            # Often there by now: the event that would say so is spared
            data = os.read(client, _READ_BYTES)
        except BlockingIOError:
            self._silent.add(guest)
            self._watch(guest)
        except OSError:
            os.close(client)
        else:
            self._came(guest, data)

    def spoke(self, guest: _Guest, flags: int) -> None:
        """A silent one has sent something, or has ended."""
        try:
            data = os.read(guest.client, _READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if len(data) == _READ_BYTES or flags & select.EPOLLRDHUP:
            # More may be there, of which no event will tell; what comes behind a short read is a new edge
            guest.flags = flags
        self._silent.remove(guest)
        self._came(guest, data)

    def _came(self, guest: _Guest, data: bytes) -> None:
        """The first bytes of a client, or b"" for its end."""
        admission = self._desk.admission()
        if admission is not None:
            to = admission.heads.get(data) or admission.admit(data)
            if to is not None:
                guest.early = data[to.size :]
                self._watch(guest)
                self._dial(guest, to)
                return
        sock = self._release(guest)
        if not data:
            sock.close()
            return
        if len(data) == _READ_BYTES:
            # What came at once is judged at once: a request that is wrong at its end is not begun
            with contextlib.suppress(OSError):
                data += sock.recv(_REST_BYTES)
        self._desk.hand_over(sock, data)

    def _dial(self, guest: _Guest, to: Admitted) -> None:
        now = time.monotonic()
        guest.tunnel = self._desk.opening(named(guest.peer), to, now)
        self._dialling.add(guest, now)
        family, address = to.address
        try:
            guest.target = target = lean_socket(family)
            code = target.connect_ex(address)
        except OSError as error:
            self._fail(guest, error)
            return
        if code not in (0, errno.EINPROGRESS):
            self._fail(guest, OSError(code, os.strerror(code)))
            return
        guest.turn = self._plane.turn
        self._plane.watch(target.fileno(), guest)

    def dialled(self, guest: _Guest, flags: int) -> None:
        """The target's socket has something to say."""
        target, tunnel = guest.target, guest.tunnel
        assert target is not None
        assert tunnel is not None
        if guest.turn == self._plane.turn:
            # Meant for an earlier socket of this number
            return
        code = target.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) if flags & _BROKEN else 0
        if code:
            self._fail(guest, OSError(code, os.strerror(code)))
            return
        here = target.getsockname()
        if here[1] == tunnel.target.port and here == _peer_of(target):
            # TCP lets a socket that happens to get the port it dials connect to itself (RFC 9293 section 3.5)
            self._fail(guest, ConnectionRefusedError(errno.ECONNREFUSED, "connected to itself"))
            return
        try:
            os.write(guest.client, tunnel.established)
        except OSError:
            self.client_left(guest)
            return
        self._dialling.remove(guest)
        self._desk.opened(tunnel)
        tunnel.adopt(self._plane, guest.client, target, guest.early, (guest.flags, flags), here)

    def client_left(self, guest: _Guest) -> None:
        """The client has gone while its target was dialled."""
        assert guest.tunnel is not None
        self._dialling.remove(guest)
        self._drop_target(guest)
        reset_socket(self._release(guest))
        guest.tunnel.ended = str(TunnelEnd.CLIENT_RESET)
        guest.tunnel.on_end(guest.tunnel)

    def _fail(self, guest: _Guest, error: OSError) -> None:
        assert guest.tunnel is not None
        self._dialling.remove(guest)
        self._drop_target(guest)
        raised = classify(error, Stage.CONNECT, str(guest.tunnel.target))
        self._desk.could_not_open(guest.tunnel, self._release(guest), raised)

    def _watch(self, guest: _Guest) -> None:
        if not guest.is_watched:
            guest.is_watched = True
            self._plane.watch(guest.client, guest)

    def _release(self, guest: _Guest) -> socket.socket:
        """The client's socket, for somebody else."""
        if guest.is_watched:
            self._plane.unwatch(guest.client)
        sock = socket.socket(fileno=guest.client)
        sock.setblocking(False)
        return sock

    def _drop_target(self, guest: _Guest) -> None:
        if guest.target is not None:
            self._plane.unwatch(guest.target.fileno())
            reset_socket(guest.target)

    def _too_silent(self, guest: _Guest) -> None:
        try:
            # A loop that was busy for long hears of the time before it hears of the bytes
            data = os.read(guest.client, _READ_BYTES)
        except OSError:
            data = b""
        if data:
            guest.flags = select.EPOLLIN
            self._came(guest, data)
        else:
            self._close_silent(guest)

    def _close_silent(self, guest: _Guest) -> None:
        self._desk.was_silent()
        self._release(guest).close()

    def _too_late(self, guest: _Guest) -> None:
        self._fail(guest, TimeoutError())

    def _listen(self) -> None:
        self._pause = None
        for listening in self._listeners:
            self._plane.watch(listening.descriptor, listening, select.EPOLLIN)

    def _listen_no_more(self) -> None:
        for listening in self._listeners:
            self._plane.unwatch(listening.descriptor)


def _peer_of(sock: socket.SocketType) -> tuple[str, int] | None:
    with contextlib.suppress(OSError):
        peer: tuple[str, int] = sock.getpeername()
        return peer
    return None


def _has_gone(client: int) -> bool:
    sock = socket.SocketType(fileno=client)
    try:
        return is_dead(sock)
    finally:
        sock.detach()
