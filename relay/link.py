"""One tunnel on the fast path, as two halves that move bytes; when they do is up to `relay.splice`."""

import os
import socket
from collections.abc import Callable
from typing import final

from relay.pipes import Pipe, PipePool
from relay.pump_end import Counters, TunnelEnd

# What a plain read takes at most; one that fills it is a burst, and the half goes over to splice.
READ_BYTES = 16_384
# What a splice takes at most, although more may be there: larger pieces leave the CPU's cache before they are
# read, and keep small messages of other tunnels waiting.
PIECE_BYTES = 524_288
_SPLICE_FLAGS = 0x01 | 0x02  # SPLICE_F_MOVE | SPLICE_F_NONBLOCK (splice(2))


@final
class Half:
    """One direction of a tunnel: from `source` to `sink`, both descriptors.

    `pending` and `held` are bytes on their way: in user space, and in the pipe. `is_ending`: an event said
    that an end, or urgent data, may follow what can be read, so a short read is not the last one.
    `hears_of_room`: events tell when a full sink takes bytes again. `is_calm`: nothing is under way, either
    way, so that an event here is about one message, or the end; False says nothing: ask `is_calm_again`.
    `other`: the way back, set by the link.
    """

    other: "Half"

    __slots__ = (
        "burst_bytes", "count", "hears_of_room", "held", "is_bursting", "is_calm", "is_done", "is_ending",
        "is_queued", "link", "other", "pending", "pipe", "sink", "source", "source_ended",
    )  # fmt: skip

    def __init__(self, link: "Link", source: int, sink: int, pending: bytes) -> None:
        self.link = link
        self.source = source
        self.sink = sink
        self.pending = pending
        self.pipe: Pipe | None = None
        self.held = 0
        self.is_bursting = False
        self.burst_bytes = 0
        self.count = 0
        self.source_ended = False
        self.is_ending = False
        self.is_done = False
        self.is_queued = False
        self.hears_of_room = False
        # What is pending now is handed on before any event
        self.is_calm = True

    def is_calm_again(self) -> bool:
        """Find out, and remember."""
        other = self.other
        self.is_calm = not (
            self.pending or self.held or other.pending or other.held
            or self.is_bursting or self.is_queued or self.is_ending or self.is_done
        )  # fmt: skip
        return self.is_calm

    def read(self, pipes: PipePool) -> int | None:
        """Take bytes from the source; only when nothing is pending or held.

        Returns: how many, 0 at the end of the source; None when nothing more need be read before the next
                 event: `pending` may hold some bytes then.
        Raises:  OSError when the source was reset.
        """
        try:
            if self.is_bursting:
                return self._splice_in(pipes)
            data = os.read(self.source, READ_BYTES)
        except BlockingIOError:
            return None
        self.pending = data
        size = len(data)
        if size == 0:
            self.source_ended = True
        elif size == READ_BYTES:
            self.is_bursting = True
        elif not self.is_ending:
            # A short read has emptied the socket, and what comes later is a new edge (epoll(7)): the next
            # read, which would only say EAGAIN, is spared
            return None
        return size

    def _splice_in(self, pipes: PipePool) -> int | None:
        if self.pipe is None:
            self.pipe = pipes.take()
            if self.pipe is None:
                # No descriptor left for a pipe: plain reads carry the bytes as well
                return self._read_plain()
        try:
            size = os.splice(self.source, self.pipe[1], PIECE_BYTES, flags=_SPLICE_FLAGS)
        except BlockingIOError:
            # The pipe is empty, so it is the socket that is. Idle halves hold no pipe; after a large burst
            # the next bytes most likely begin another.
            self.release(pipes)
            self.is_bursting = self.burst_bytes > READ_BYTES
            self.burst_bytes = 0
            if not self.is_ending:
                return None
            size = 0
        if size == 0:
            # splice(2) goes no further than urgent data, and takes it for the end when a FIN has come, too;
            # read(2) steps over it, and knows
            self.release(pipes)
            self.is_bursting = False
            return self._read_plain()
        self.held = size
        self.burst_bytes += size
        return size

    def _read_plain(self) -> int:
        data = os.read(self.source, READ_BYTES)
        self.pending, self.source_ended = data, not data
        return len(data)

    def write(self) -> bool:
        """Hand on what waits; True when nothing waits any more. Raises: OSError when the sink was reset."""
        try:
            while self.pending:
                size = os.write(self.sink, self.pending)
                self.count += size
                self.pending = self.pending[size:] if size < len(self.pending) else b""
            while self.held:
                assert self.pipe is not None
                size = os.splice(self.pipe[0], self.sink, self.held, flags=_SPLICE_FLAGS)
                self.held -= size
                self.count += size
        except BlockingIOError:
            return False
        return True

    def release(self, pipes: PipePool) -> None:
        """Give the pipe back, if one is lent; what it still holds is lost."""
        if self.pipe is not None:
            pipes.give_back(self.pipe, is_empty=self.held == 0)
            self.pipe = None
        self.held = 0


class Link:
    """One tunnel on the fast path.

    Args: client: its socket, or only its descriptor: most tunnels end without needing more.
          on_end: called once, when both sockets are closed; that can be before SplicePlane.add returns.
          early: bytes of the client that were read already. greeting: the same of the target.
          needs_bytes: a target that ends before a byte has passed, either way, has failed.
          is_young: nothing is set yet that notices a target that vanishes: see relay.vanished.
    """

    path = "splice"
    __slots__ = (
        "_client", "_on_end", "broken", "down", "first_end", "is_over", "is_young", "needs_bytes",
        "target_socket", "up",
    )  # fmt: skip

    def __init__(
        self,
        client: socket.SocketType | int,
        target: socket.SocketType,
        on_end: Callable[[TunnelEnd], None],
        *,
        early: bytes = b"",
        greeting: bytes = b"",
        needs_bytes: bool = False,
        is_young: bool = False,
    ) -> None:
        self._client = client
        self.target_socket = target
        near, far = client if isinstance(client, int) else client.fileno(), target.fileno()
        self.up = up = Half(self, near, far, early)
        self.down = down = Half(self, far, near, greeting)
        up.other, down.other = down, up
        self._on_end = on_end
        self.needs_bytes = needs_bytes
        self.is_young = is_young
        self.first_end: TunnelEnd | None = None
        self.broken: Half | None = None
        self.is_over = False

    @property
    def client_socket(self) -> socket.SocketType:
        """The client's socket."""
        if isinstance(self._client, int):
            self._client = socket.SocketType(fileno=self._client)
        return self._client

    def close(self) -> None:
        """Close both sockets; what was handed on still goes out."""
        if isinstance(self._client, int):
            os.close(self._client)
        else:
            self._client.close()
        self.target_socket.close()

    def end(self, how: TunnelEnd) -> None:
        """Both sockets are closed: tell it, and leave no cycle to be collected; the counters stay."""
        up, down, on_end = self.up, self.down, self._on_end
        del up.link, up.other, down.link, down.other, self._on_end
        on_end(how)

    @property
    def counters(self) -> Counters:
        """Bytes that were handed on so far, both ways; live while the tunnel runs."""
        return Counters(self.up.count, self.down.count)
