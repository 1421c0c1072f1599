"""Who is on the express lane: clients that have said nothing yet, and tunnels whose target is dialled."""

import contextlib
import select
import socket
from collections.abc import Callable
from typing import Protocol

from relay.admission import Admission, Admitted
from relay.connect_tunnel import Tunnel, named
from relay.failure import RelayError
from relay.fault_answer import ESTABLISHED
from relay.link import Half, Link
from relay.pump_end import Counters, TunnelEnd
from relay.refusal import Refusal
from relay.refused import linger_close
from relay.route import Endpoint
from relay.stream import Stream
from relay.watching import IS_AVAILABLE

_BROKEN = select.EPOLLERR | select.EPOLLHUP if IS_AVAILABLE else 0


class Lane(Protocol):
    """Where they are told of. ended: called with each passage, once."""

    ended: "Callable[[Passage], None]"

    def spoke(self, silent: "Silent", flags: int) -> None:
        """It has sent something, or has ended."""

    def dialled(self, passage: "Passage", flags: int) -> None:
        """Its target has something to say."""

    def stirred(self, passage: "Passage") -> None:
        """Its client may have gone."""


class Silent:
    """A client that has sent nothing yet."""

    __slots__ = ("client", "lane", "peer")

    def __init__(self, lane: Lane, client: int, peer: tuple[str, int]) -> None:
        self.lane = lane
        self.client = client
        self.peer = peer

    def woke(self, descriptor: int, flags: int) -> None:
        """An event (epoll(7)) of its only descriptor."""
        self.lane.spoke(self, flags)


class Passage(Link):
    """A tunnel on its way, and the link that it becomes: one object, for there are many.

    peer: the client's address. to: where it leads. descriptor: the client's. early: what came behind its
    head. flags: of its events that were not acted upon; None while it is not watched. turn: of the plane, in
    which the target was watched first. status: 0 until the link stands.
    """

    turn: int
    # The same for all of them
    needs_bytes = False
    established = ESTABLISHED
    __slots__ = (
        "began_seconds", "descriptor", "early", "ended", "flags", "lane", "own_end", "peer", "refusal",
        "status", "to", "turn", "way_out",
    )  # fmt: skip

    def __init__(
        self, lane: Lane, descriptor: int, peer: tuple[str, int], to: Admitted, began_seconds: float,
        early: bytes, flags: int | None,
    ) -> None:  # fmt: skip
        # That of Link only when there is a socket to the target: `stand`
        self.peer = peer
        self.to = to
        self.began_seconds = began_seconds
        self.own_end: tuple[str, int] | None = None
        self.status = 0
        self.ended = _STOPPED
        self.refusal: Refusal | None = None
        self.lane = lane
        self.descriptor = descriptor
        self.early = early
        self.flags = flags
        self.way_out: socket.SocketType | None = None

    def stand(self, target: socket.SocketType) -> None:
        """Become a link: the client has been told 200."""
        self.status = 200
        self._client = near = self.descriptor
        self.target_socket = target
        far = target.fileno()
        self.up = up = Half(self, near, far, self.early)
        self.early = b""
        self.down = down = Half(self, far, near, b"")
        up.other, down.other = down, up
        self.is_young = True
        self.first_end = self.broken = None
        self.is_over = False

    def end(self, how: TunnelEnd) -> None:
        """As every link's."""
        up, down = self.up, self.down
        del up.link, up.other, down.link, down.other
        self.ended = how
        self.lane.ended(self)

    async def refuse(self, client: Stream, refusal: Refusal) -> None:
        """As Tunnel's."""
        self.refusal, self.status, self.ended = refusal, int(refusal.status), "refused"
        try:
            await linger_close(client, refusal.reply())
        finally:
            self.lane.ended(self)

    @property
    def client(self) -> str:
        """The client's address as a log has it."""
        return named(self.peer)

    @property
    def target(self) -> Endpoint:
        """Where it leads."""
        return self.to.target

    @property
    def outgoing(self) -> str:
        """As Tunnel's."""
        if self.own_end is None and self.way_out is not None:
            with contextlib.suppress(OSError):
                self.own_end = self.way_out.getsockname()
        return "" if self.own_end is None else named(self.own_end)

    @property
    def carriage(self) -> Link | None:
        """As Tunnel's."""
        return self if self.status == _OPEN else None

    @property
    def counters(self) -> Counters:
        """As Tunnel's."""
        return Counters(self.up.count, self.down.count) if self.status == _OPEN else Counters()

    @property
    def way(self) -> dict[str, str]:
        """As Tunnel's."""
        return {"outgoing": self.outgoing, "path": self.path} if self.status == _OPEN else {}

    def woke(self, descriptor: int, flags: int) -> None:
        """An event (epoll(7)) of either side."""
        if descriptor != self.descriptor:
            self.lane.dialled(self, flags)
        else:
            self.flags = (self.flags or 0) | flags
            if flags & _BROKEN:
                self.lane.stirred(self)


class Desk(Protocol):
    """Who decides and writes down: the proxy.

    times_dials: whether it wants to be told by `opened`. names_ends: whether it asks an ended passage for
    `outgoing`.
    """

    times_dials: bool
    names_ends: bool

    def admission(self) -> Admission | None:
        """Which targets may be reached; None: somebody else must look closer."""

    def was_silent(self) -> None: ...

    def opening(self, passage: Passage) -> None:
        """A tunnel is being dialled."""

    def ended(self, passage: Passage) -> None:
        """One that was opening is over."""

    def opened(self, passage: Passage) -> None: ...

    def could_not_open(self, passage: Passage, sock: socket.socket, error: RelayError) -> None:
        """Tell the client, whose socket it now is to close."""

    def hand_over(self, sock: socket.socket, data: bytes) -> None:
        """Take a connection that sent `data`, and answer it."""


AnyTunnel = Tunnel | Passage

_OPEN = 200
_STOPPED = str(TunnelEnd.STOPPED)
