"""Who hears of which descriptor in the epoll of a plane."""

import os
import select
from typing import Protocol

from relay.link import Half

IS_AVAILABLE = hasattr(os, "splice") and hasattr(select, "epoll")

if IS_AVAILABLE:
    EVENTS = select.EPOLLIN | select.EPOLLPRI | select.EPOLLRDHUP | select.EPOLLET
    # Only for a socket that has been full: others would be told of room that nobody waits for
    EVENTS_AND_ROOM = EVENTS | select.EPOLLOUT
    READABLE = select.EPOLLIN | select.EPOLLRDHUP | select.EPOLLHUP | select.EPOLLERR
    # More may follow what a short read takes: an end, or what is behind urgent data (tcp(7))
    ENDING = select.EPOLLRDHUP | select.EPOLLHUP | select.EPOLLERR | select.EPOLLPRI
    WRITABLE = select.EPOLLOUT | select.EPOLLHUP | select.EPOLLERR


class Watcher(Protocol):
    """Who has descriptors in the epoll that are no tunnel's."""

    def woke(self, descriptor: int, flags: int) -> None:
        """Hear of an event (epoll(7))."""


class Watching:
    """Args: epoll: has the descriptors of `table`, and perhaps others."""

    def __init__(self, epoll: "select.epoll", table: dict[int, Half | Watcher]) -> None:
        self.table = table
        self._epoll = epoll

    def watch(self, descriptor: int, watcher: Watcher, events: int) -> None:
        """Tell `watcher` of each event, until `unwatch`, or until the table says somebody else.

        In the turn in which it is called an event may be meant for an earlier socket of this number.
        Raises: OSError when the system gives no more watches (epoll_ctl(2)).
        """
        self._epoll.register(descriptor, events)
        self.table[descriptor] = watcher

    def unwatch(self, descriptor: int) -> None:
        """Undo `watch`, if it was called; before the descriptor is closed."""
        if self.table.pop(descriptor, None) is not None:
            self._epoll.unregister(descriptor)

    def close(self) -> None:
        """Nobody hears of anything any more."""
        for descriptor in list(self.table):
            self.unwatch(descriptor)
