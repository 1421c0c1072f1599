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
from collections.abc import Callable, Sequence

from relay.admission import Admission, Admitted
from relay.arrivals import Arrivals, has_gone, peer_of
from relay.deadlines import Deadlines
from relay.dial import STREAM_NOW, reset_socket
from relay.failure import Stage, classify
from relay.listening import ACCEPT_AGAIN_SECONDS, BACKLOG
from relay.passage import Desk, Passage, Silent
from relay.pump_end import TunnelEnd
from relay.splice import SplicePlane
from relay.watching import ENDING, EVENTS, EVENTS_AND_ROOM, IS_AVAILABLE

# A head, and seldom more: a larger buffer costs time for each connection.
_READ_BYTES = 4096
_REST_BYTES = 262_144 - _READ_BYTES
_STANDS = (0, errno.EISCONN)
_UNDER_WAY = (errno.EINPROGRESS, errno.EALREADY)
_BROKEN = select.EPOLLERR | select.EPOLLHUP if IS_AVAILABLE else 0


class ExpressLane:
    """Accepts from `listeners` (non-blocking), which stay the caller's to close.

    Args: silence_seconds: for a client to send its first byte. connect_seconds: for a target to accept.
    """

    def __init__(
        self, plane: SplicePlane, listeners: Sequence[socket.socket], desk: Desk, *,
        silence_seconds: float, connect_seconds: float,
    ) -> None:  # fmt: skip
        self._plane = plane
        self._watching = plane.watching
        self._poller = plane.poller
        self._listeners = [Arrivals(self, listener) for listener in listeners]
        self._desk = desk
        # A call less than a method
        self.ended: Callable[[Passage], None] = desk.ended
        self._silent = Deadlines[Silent](silence_seconds, self._too_silent)
        self._dialling = Deadlines[Passage](connect_seconds, self._too_late)
        self._admission: Admission | None = None
        self._asked_in_turn = -1
        self._pause: asyncio.TimerHandle | None = None
        self._listen()

    def __len__(self) -> int:
        """Connections that have sent nothing yet."""
        return len(self._silent.waiting)

    def accept_the_last(self) -> None:
        """Take those who have come by now, whom the end of the listeners would reset."""
        for listening in self._listeners:
            listening.let_in_the_rest(BACKLOG)

    def accept_no_more(self) -> None:
        """Leave the listeners alone."""
        if self._pause is not None:
            self._pause.cancel()
        self._listen_no_more()
        # Who asks again must not meet others that have got their numbers meanwhile
        self._listeners.clear()

    def change_connect_timeout(self, seconds: float) -> None:
        """For targets that are dialled already, too."""
        self._dialling.change(seconds)

    def end_silent(self) -> None:
        """Close the connections that have sent nothing yet."""
        for silent in list(self._silent.waiting):
            self._silent.remove(silent)
            self._release(silent.client).close()

    def close(self) -> None:
        """Accept no more, and reset whatever is on its way to be a tunnel."""
        self.accept_no_more()
        for silent in self._silent.waiting:
            reset_socket(self._release(silent.client))
        for passage in list(self._dialling.waiting):
            reset_socket(self._release(passage.descriptor))
            self._drop_way_out(passage)
            self.ended(passage)
        self._silent.close()
        self._dialling.close()

    def pause(self) -> None:
        """Out of descriptors: connections wait in the queue until some are free again."""
        self._listen_no_more()
        self._pause = asyncio.get_running_loop().call_later(ACCEPT_AGAIN_SECONDS, self._listen_again)

    def let_in(self, client: int, peer: tuple[str, int]) -> None:
        """Take a connection that was accepted."""
        os.set_blocking(client, False)
        try:
            # Often there by now: the event that would say so is spared
            data = os.read(client, _READ_BYTES)
        except BlockingIOError:
            self._wait_for_word(client, peer)
        except OSError:
            os.close(client)
        else:
            # The same head as somebody else's: what most say
            if self._asked_in_turn == self._poller.turn and self._admission is not None:
                to = self._admission.heads.get(data)
                if to is not None:
                    self._dial(client, peer, to, b"", None)
                    return
            self._came(client, peer, data)

    def _wait_for_word(self, client: int, peer: tuple[str, int]) -> None:
        silent = Silent(self, client, peer)
        try:
            self._watching.watch(client, silent, EVENTS)
        except OSError:
            # No watch is left for it (epoll_ctl(2)): as little as a descriptor would be
            os.close(client)
            return
        self._silent.add(silent)

    def spoke(self, silent: Silent, flags: int) -> None:
        """A silent one has sent something, or has ended."""
        try:
            data = os.read(silent.client, _READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        self._silent.remove(silent)
        # More may be there, of which no event will tell; what comes behind a short read is a new edge
        is_more = len(data) == _READ_BYTES or flags & ENDING
        self._came(silent.client, silent.peer, data, flags if is_more else 0)

    def _came(self, client: int, peer: tuple[str, int], data: bytes, flags: int | None = None) -> None:
        """The first bytes of a client, or b"" for its end. Args: flags: None when it is not watched yet."""
        if self._asked_in_turn != self._poller.turn:
            # Nothing that decides changes while events are served
            self._admission, self._asked_in_turn = self._desk.admission(), self._poller.turn
        admission = self._admission
        if admission is not None:
            to = admission.heads.get(data) or admission.admit(data)
            if to is not None:
                self._dial(client, peer, to, data[to.size :], flags)
                return
        sock = self._release(client)
        if not data:
            sock.close()
            return
        if len(data) == _READ_BYTES:
            # What came at once is judged at once: a request that is wrong at its end is not begun
            with contextlib.suppress(OSError):
                data += sock.recv(_REST_BYTES)
        self._desk.hand_over(sock, data)

    def _dial(
        self, client: int, peer: tuple[str, int], to: Admitted, early: bytes, flags: int | None
    ) -> None:
        passage = Passage(self, client, peer, to, time.monotonic(), early, flags)
        self._desk.opening(passage)
        family, address = to.address
        try:
            # As new_socket, without keep-alive and what Python adds to the socket of the C library
            passage.way_out = way_out = socket.SocketType(family, STREAM_NOW)
            way_out.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            code = way_out.connect_ex(address)
            if code == errno.EINPROGRESS and to.is_near:
                # Most often it stands when the call returns, which the next one says (connect(2))
                code = way_out.connect_ex(address)
        except OSError as error:
            self._fail(passage, error)
            return
        if code in _STANDS:
            self._open(passage, way_out, None)
        elif code in _UNDER_WAY:
            self._wait_for(passage, way_out)
        else:
            self._fail(passage, OSError(code, os.strerror(code)))

    def _wait_for(self, passage: Passage, way_out: socket.SocketType) -> None:
        passage.turn = self._poller.turn
        try:
            if passage.flags is None:
                self._watching.watch(passage.descriptor, passage, EVENTS)
                passage.flags = 0
            else:
                self._watching.table[passage.descriptor] = passage
            self._watching.watch(way_out.fileno(), passage, EVENTS_AND_ROOM)
        except OSError as error:
            self._fail(passage, error)
            return
        self._dialling.add(passage, passage.began_seconds)

    def dialled(self, passage: Passage, flags: int) -> None:
        """The target's socket has something to say."""
        way_out = passage.way_out
        assert way_out is not None
        if passage.turn == self._poller.turn:
            # Meant for an earlier socket of this number
            return
        if flags & _BROKEN and (code := way_out.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)):
            self._fail(passage, OSError(code, os.strerror(code)))
            return
        self._dialling.remove(passage)
        self._open(passage, way_out, flags)

    def _open(self, passage: Passage, way_out: socket.SocketType, flags: int | None) -> None:
        if self._desk.names_ends or passage.to.may_meet_itself:
            passage.own_end = here = way_out.getsockname()
            if here[1] == passage.to.target.port and here == peer_of(way_out):
                # TCP lets a socket that gets the port it dials connect to itself (RFC 9293 section 3.5)
                self._fail(passage, ConnectionRefusedError(errno.ECONNREFUSED, "connected to itself"))
                return
        try:
            os.write(passage.descriptor, passage.established)
        except OSError:
            self._client_left(passage)
            return
        if self._desk.times_dials:
            self._desk.opened(passage)
        passage.stand(way_out)
        self._plane.add(passage, passage.flags, flags)

    def stirred(self, passage: Passage) -> None:
        """The client of one that is dialled has perhaps gone."""
        if has_gone(passage.descriptor):
            self._client_left(passage)

    def _client_left(self, passage: Passage) -> None:
        self._dialling.remove(passage)
        self._drop_way_out(passage)
        reset_socket(self._release(passage.descriptor))
        passage.ended = str(TunnelEnd.CLIENT_RESET)
        self.ended(passage)

    def _fail(self, passage: Passage, error: OSError) -> None:
        self._dialling.remove(passage)
        self._drop_way_out(passage)
        raised = classify(error, Stage.CONNECT, str(passage.target))
        self._desk.could_not_open(passage, self._release(passage.descriptor), raised)

    def _release(self, client: int) -> socket.socket:
        """The client's socket, for somebody else."""
        self._watching.unwatch(client)
        sock = socket.socket(fileno=client)
        sock.setblocking(False)
        return sock

    def _drop_way_out(self, passage: Passage) -> None:
        if passage.way_out is not None:
            self._watching.unwatch(passage.way_out.fileno())
            reset_socket(passage.way_out)

    def _too_silent(self, silent: Silent) -> None:
        try:
            # A loop that was busy for long hears of the time before it hears of the bytes
            data = os.read(silent.client, _READ_BYTES)
        except OSError:
            data = b""
        if data:
            self._asked_in_turn = -1
            self._came(silent.client, silent.peer, data, select.EPOLLIN)
        else:
            self._close_silent(silent)

    def _close_silent(self, silent: Silent) -> None:
        self._desk.was_silent()
        self._release(silent.client).close()

    def _too_late(self, passage: Passage) -> None:
        self._fail(passage, TimeoutError())

    def _listen(self) -> None:
        for listening in self._listeners:
            self._watching.watch(listening.descriptor, listening, select.EPOLLIN)

    def _listen_again(self) -> None:
        self._pause = None
        try:
            self._listen()
        except OSError:
            # All watches of this user are taken (epoll_ctl(2))
            self.pause()

    def _listen_no_more(self) -> None:
        for listening in self._listeners:
            self._watching.unwatch(listening.descriptor)
