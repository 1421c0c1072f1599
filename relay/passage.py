"""Who is on the express lane: clients that have said nothing yet, and tunnels whose target is dialled."""

import select
import socket
from typing import Protocol

from relay.admission import Admitted
from relay.connect_tunnel import Tunnel
from relay.fault_answer import ESTABLISHED
from relay.link import Link
from relay.pump_end import TunnelEnd
from relay.refusal import Refusal
from relay.splice import SplicePlane
from relay.watching import IS_AVAILABLE

_BROKEN = select.EPOLLERR | select.EPOLLHUP if IS_AVAILABLE else 0


class Lane(Protocol):
    """Where they are told of."""

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


class Passage(Tunnel):
    """A tunnel on its way. It has its link when it has a status.

    name: of the target. descriptor: the client's. early: what came behind its head. flags: of its events that
    were not acted upon; None while it is not watched. turn: of the plane, in which the target was watched
    first.
    """

    __slots__ = ("descriptor", "early", "flags", "lane", "link", "name", "turn", "way_out")

    def __init__(  # in place of the one of Tunnel: a call less
        self, lane: Lane, descriptor: int, peer: tuple[str, int], to: Admitted, began_seconds: float,
        early: bytes, flags: int | None,
    ) -> None:  # fmt: skip
        host = peer[0]
        self.client = f"[{host}]:{peer[1]}" if ":" in host else f"{host}:{peer[1]}"
        self.target = to.target
        self.began_seconds = began_seconds
        self.carriage = None
        self.own_end = None
        self.status = 0
        self.ended = _STOPPED
        self.refusal = None
        self.established = ESTABLISHED
        self.reply = Refusal.reply
        self.lane = lane
        self.descriptor = descriptor
        self.name = to.name
        self.early = early
        self.flags = flags
        self.turn = -1
        self.way_out: socket.SocketType | None = None

    def woke(self, descriptor: int, flags: int) -> None:
        """An event (epoll(7)) of either side."""
        if descriptor != self.descriptor:
            self.lane.dialled(self, flags)
        else:
            self.flags = (self.flags or 0) | flags
            if flags & _BROKEN:
                self.lane.stirred(self)

    def adopt(self, plane: SplicePlane, flags: int | None) -> None:
        """The client has been told 200: have `plane` carry the bytes.

        Args: flags: of the target's socket, reported and not acted upon; None when it is not watched.
        """
        assert self.way_out is not None
        self.status = 200
        link = Link(self.descriptor, self.way_out, self.carried, early=self.early, is_young=True)
        self.carriage = self.link = link
        plane.add(link, (self.flags, flags))


_STOPPED = str(TunnelEnd.STOPPED)
