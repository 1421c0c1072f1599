"""The express lane: the usual CONNECT, from accept to tunnel, inside the splice plane's own epoll.

A CONNECT to an address, in the form that all usual clients send, is recognised at one glance, dialled and
linked: no transport, task or timer of its own. Everything else (another request, a name, an unusual field, a
head in pieces, a refusal) goes to aiohttp's server with its bytes as they came.
"""

import asyncio
import contextlib
import errno
import os
import re
import select
import socket
from collections.abc import Sequence
from functools import partial
from typing import Protocol

from relay.connect_tunnel import Tunnel, named
from relay.deadlines import Deadlines
from relay.dial import Address, new_socket, reset_socket
from relay.failure import RelayError, Stage, classify
from relay.listening import ACCEPT_AGAIN_SECONDS
from relay.pump_end import TunnelEnd
from relay.route import Endpoint
from relay.splice import IS_AVAILABLE, SplicePlane
from relay.vanished import is_dead

_READ_BYTES = 65_536
_REST_BYTES = 196_608
_BROKEN = select.EPOLLERR | select.EPOLLHUP if IS_AVAILABLE else 0
# Host names the same target, and no field has a meaning for this hop: strict readings of it are all alike.
_USUAL = re.compile(
    rb"CONNECT ((?:[0-9]{1,3}(?:\.[0-9]{1,3}){3}|\[[0-9A-Fa-f:.]{2,45}\]):[1-9][0-9]{0,4}) HTTP/1\.[01]\r\n"
    rb"(?i:Host): \1\r\n"
    rb"(?:(?i:User-Agent|Accept|Proxy-Connection|Connection|Pragma|Cache-Control): [\x20-\x7e]{0,512}\r\n)"
    rb"{0,8}\r\n"
)


class Desk(Protocol):
    """Who decides and writes down: the proxy."""

    def admit(self, authority: bytes) -> tuple[Endpoint, Address] | None:
        """Where a target is, if it may be reached; None: somebody else must look closer."""

    def was_silent(self) -> None: ...

    def opening(self, client: str, target: Endpoint) -> Tunnel:
        """A tunnel is being dialled."""

    def opened(self, tunnel: Tunnel) -> None: ...

    def could_not_open(self, tunnel: Tunnel, sock: socket.socket, error: RelayError) -> None:
        """Tell the client, whose socket it now is to close."""

    def hand_over(self, sock: socket.socket, data: bytes) -> None:
        """Take a connection that sent `data`, and answer it."""


class _Guest:
    """A connection that has sent nothing yet, or whose target is being dialled."""

    __slots__ = ("early", "flags", "lane", "peer", "sock", "target", "tunnel", "turn")

    def __init__(self, lane: "ExpressLane", sock: socket.socket, peer: tuple[str, int]) -> None:
        self.lane = lane
        self.sock = sock
        self.peer = peer
        self.flags = 0
        self.early = b""
        self.target: socket.socket | None = None
        self.tunnel: Tunnel | None = None
        self.turn = -1

    def client_woke(self, flags: int) -> None:
        self.flags |= flags
        if self.tunnel is not None:
            if flags & _BROKEN and is_dead(self.sock):
                self.lane.client_left(self)
            return
        try:
            data = self.sock.recv(_READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        self.lane.forget_silent(self)
        self.lane.came(self, data)

    def target_woke(self, flags: int) -> None:
        self.lane.dialled(self, flags)


class ExpressLane:
    """Accepts from `listeners` (non-blocking), which stay the caller's to close.

    Args: silence_seconds: for a client to send its first byte. connect_seconds: for a target to accept.
    """

    def __init__(
        self, plane: SplicePlane, listeners: Sequence[socket.socket], desk: Desk, *,
        silence_seconds: float, connect_seconds: float,
    ) -> None:  # fmt: skip
        self._plane = plane
        self._listeners = listeners
        self._families = {listener: listener.family for listener in listeners}
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
            self._too_silent(guest)

    def close(self) -> None:
        """Accept no more, and reset whatever is on its way to be a tunnel."""
        self.accept_no_more()
        for guest in [*self._silent.waiting, *self._dialling.waiting]:
            self._plane.unwatch(guest.sock.fileno())
            reset_socket(guest.sock)
            if guest.tunnel is not None:
                self._drop_target(guest)
                guest.tunnel.on_end(guest.tunnel)
        self._silent.close()
        self._dialling.close()

    def forget_silent(self, guest: _Guest) -> None:
        """It has said something."""
        self._silent.remove(guest)

    def came(self, guest: _Guest, data: bytes) -> None:
        """The first bytes of a client, or b"" for its end."""
        if not data:
            self._plane.unwatch(guest.sock.fileno())
            guest.sock.close()
            return
        match = _USUAL.match(data)
        admitted = self._desk.admit(match[1]) if match is not None else None
        if match is None or admitted is None:
            self._plane.unwatch(guest.sock.fileno())
            if len(data) == _READ_BYTES:
                # What came at once is judged at once: a request that is wrong at its end is not begun
                with contextlib.suppress(OSError):
                    data += guest.sock.recv(_REST_BYTES)
            self._desk.hand_over(guest.sock, data)
            return
        guest.early = data[match.end() :]
        if len(data) < _READ_BYTES and not guest.flags & select.EPOLLRDHUP:
            # The socket was read empty; whatever comes is a new edge, or is told when it is watched
            guest.flags = 0
        self._plane.watch_once(guest.sock.fileno(), guest.client_woke)
        self._dial(guest, *admitted)

    def _dial(self, guest: _Guest, target: Endpoint, where: Address) -> None:
        guest.tunnel = self._desk.opening(named(guest.peer), target)
        self._dialling.add(guest)
        try:
            guest.target = sock = new_socket(where[0])
            code = sock.connect_ex(where[1])
        except OSError as error:
            self._fail(guest, error)
            return
        if code not in (0, errno.EINPROGRESS):
            self._fail(guest, OSError(code, os.strerror(code)))
            return
        guest.turn = self._plane.turn
        self._plane.watch(sock.fileno(), guest.target_woke)

    def dialled(self, guest: _Guest, flags: int) -> None:
        """The target's socket has something to say."""
        sock, tunnel = guest.target, guest.tunnel
        assert sock is not None
        assert tunnel is not None
        if guest.turn == self._plane.turn:
            # Meant for an earlier socket of this number
            return
        code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) if flags & _BROKEN else 0
        if code:
            self._fail(guest, OSError(code, os.strerror(code)))
            return
        here = sock.getsockname()
        if here[1] == tunnel.target.port and here == _peer_of(sock):
            # TCP lets a socket that happens to get the port it dials connect to itself (RFC 9293 section 3.5)
            self._fail(guest, ConnectionRefusedError(errno.ECONNREFUSED, "connected to itself"))
            return
        try:
            os.write(guest.sock.fileno(), tunnel.established)
        except OSError:
            self.client_left(guest)
            return
        self._dialling.remove(guest)
        self._desk.opened(tunnel)
        tunnel.adopt(self._plane, guest.sock, sock, guest.early, (guest.flags, flags), here)

    def client_left(self, guest: _Guest) -> None:
        """The client has gone while its target was dialled."""
        assert guest.tunnel is not None
        self._dialling.remove(guest)
        self._drop_target(guest)
        self._plane.unwatch(guest.sock.fileno())
        reset_socket(guest.sock)
        guest.tunnel.ended = str(TunnelEnd.CLIENT_RESET)
        guest.tunnel.on_end(guest.tunnel)

    def _fail(self, guest: _Guest, error: OSError) -> None:
        assert guest.tunnel is not None
        self._dialling.remove(guest)
        self._drop_target(guest)
        self._plane.unwatch(guest.sock.fileno())
        raised = classify(error, Stage.CONNECT, str(guest.tunnel.target))
        self._desk.could_not_open(guest.tunnel, guest.sock, raised)

    def _drop_target(self, guest: _Guest) -> None:
        if guest.target is not None:
            self._plane.unwatch(guest.target.fileno())
            reset_socket(guest.target)

    def _too_silent(self, guest: _Guest) -> None:
        self._desk.was_silent()
        self._plane.unwatch(guest.sock.fileno())
        guest.sock.close()

    def _too_late(self, guest: _Guest) -> None:
        self._fail(guest, TimeoutError())

    def _listen(self) -> None:
        self._pause = None
        for listener in self._listeners:
            self._plane.watch(listener.fileno(), partial(self._accept, listener), select.EPOLLIN)

    def _listen_no_more(self) -> None:
        for listener in self._listeners:
            self._plane.unwatch(listener.fileno())

    def _accept(self, listener: socket.socket, flags: int) -> None:
        """One for each event: those that are there have their turn, and no call only says EAGAIN."""
        try:
            # socket.accept makes the family and the type anew from numbers each time, which takes longer
            descriptor, peer = listener._accept()  # type: ignore[attr-defined]  # noqa: SLF001
        except (BlockingIOError, ConnectionError):
            return
        except OSError:
            # Out of descriptors: connections wait in the queue until some are free again
            self._listen_no_more()
            self._pause = asyncio.get_running_loop().call_later(ACCEPT_AGAIN_SECONDS, self._listen)
            return
        sock = socket.socket(self._families[listener], socket.SOCK_STREAM, 0, descriptor)
        sock.setblocking(False)
        guest = _Guest(self, sock, peer)
        try:
            # Often there by now: the event that would say so is spared
            data = sock.recv(_READ_BYTES)
        except BlockingIOError:
            self._silent.add(guest)
            self._plane.watch(sock.fileno(), guest.client_woke)
        except OSError:
            sock.close()
        else:
            self.came(guest, data)


def _peer_of(sock: socket.socket) -> tuple[str, int] | None:
    with contextlib.suppress(OSError):
        peer: tuple[str, int] = sock.getpeername()
        return peer
    return None
