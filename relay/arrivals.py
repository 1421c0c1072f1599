"""Arrivals: the connections that come to a listener of the express lane, without a socket object for each."""

import contextlib
import socket
from typing import Protocol

from relay.vanished import is_dead

# More of them in one go would let those that are in wait.
_ACCEPT_AT_ONCE = 16
_LOOK_EVERY = 8


class Lane(Protocol):
    """Where they go."""

    def let_in(self, client: int, peer: tuple[str, int]) -> None:
        """Take a connection that was accepted."""

    def pause(self) -> None:
        """There is no descriptor left for it."""


class Arrivals:
    """One listener of an express lane."""

    def __init__(self, lane: Lane, listener: socket.socket) -> None:
        self.descriptor = listener.fileno()
        # socket.accept makes a socket object each time, which takes longer than all that a lane does with it
        self._accept = listener._accept  # type: ignore[attr-defined]  # noqa: SLF001
        self._lane = lane
        self._calls = 0
        self._is_crowded = False

    def woke(self, descriptor: int, flags: int) -> None:
        """Somebody has come, and perhaps others too."""
        lane, accept = self._lane, self._accept
        self._calls += 1
        # Where the last one came alone, only now and then a call is spent on looking for a second
        for number in range(_ACCEPT_AT_ONCE if self._is_crowded or not self._calls % _LOOK_EVERY else 1):
            try:
                client, peer = accept()
            except BlockingIOError:
                self._is_crowded = number > 1
                return
            except ConnectionError:
                continue
            except OSError:
                lane.pause()
                return
            self._is_crowded = number > 0
            lane.let_in(client, peer)

    def let_in_the_rest(self, at_most: int) -> None:
        """Take all that wait in the queue, as far as there are descriptors."""
        with contextlib.suppress(OSError):
            for _ in range(at_most):
                self._lane.let_in(*self._accept())


def peer_of(sock: socket.SocketType) -> tuple[str, int] | None:
    """The other end; None when there is none any more."""
    with contextlib.suppress(OSError):
        peer: tuple[str, int] = sock.getpeername()
        return peer
    return None


def has_gone(client: int) -> bool:
    """Whether the client with this descriptor is dead (relay.vanished)."""
    sock = socket.SocketType(fileno=client)
    try:
        return is_dead(sock)
    finally:
        sock.detach()
