"""TunnelLoop: an asyncio event loop whose one epoll holds the sockets of tunnels as well.

An epoll inside the epoll of a loop costs two more system calls and a callback for each event of a tunnel.
Here the selector of the loop serves tunnels itself, and returns to asyncio when that has something to do.
"""

import asyncio
import contextlib
import contextvars
import select
import selectors
import time
from collections.abc import Callable, Iterator, Mapping, Sized
from typing import Any, Protocol, TypeVar, TypeVarTuple

MAX_EVENTS = 512
# How many waits of a nested epoll follow each other before the event loop has its own turn.
TURNS = 8

_Args = TypeVarTuple("_Args")
_One = TypeVar("_One")
Wake = Callable[[_One, int, int], None]
CarryOn = Callable[[], None]


class Poller(Protocol):
    """Where a plane registers its descriptors. turn: how many waits there have been."""

    epoll: select.epoll
    turn: int

    def schedule(self) -> None:
        """There is something to carry on with, although no event may come."""

    def detach(self) -> None:
        """The plane ends; it has taken its descriptors out of `epoll`."""


def attach(
    loop: asyncio.AbstractEventLoop, table: Mapping[int, _One], wake: Wake[_One], queue: Sized,
    carry_on: CarryOn,
) -> Poller:  # fmt: skip
    """Give a plane its epoll: that of the loop itself, or one of its own.

    Args: table: who has which descriptor of the plane. wake: called with whom, descriptor and flags of each
          event. queue: what there is to carry on with. carry_on: called after the events of a wait, while
          there is any: takes one from the queue.
    """

    def carry_on_safely() -> None:
        try:
            carry_on()
        except Exception as error:  # noqa: BLE001 - told, not lost
            report(loop, error)

    if isinstance(loop, TunnelLoop) and loop.tunnels.attach(table, wake, queue, carry_on_safely):
        return loop.tunnels
    return _Nested(loop, table, wake, queue, carry_on_safely)


def report(loop: asyncio.AbstractEventLoop, error: Exception) -> None:
    """Tell what asyncio would tell of a callback: the events of all others are served none the less."""
    loop.call_exception_handler({"message": "Exception in the event of a tunnel", "exception": error})


class _Nested:
    """An epoll as one reader of any event loop."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, table: Mapping[int, _One], wake: Wake[_One], queue: Sized,
        carry_on: CarryOn,
    ) -> None:  # fmt: skip
        self.epoll = select.epoll()
        self.turn = 0
        self._loop, self._queue, self._carry_on = loop, queue, carry_on
        self._table: Mapping[int, Any] = table
        self._wake: Wake[Any] = wake
        self._is_due = False
        loop.add_reader(self.epoll.fileno(), self._turn)

    def schedule(self) -> None:
        if not self._is_due:
            self._is_due = True
            self._loop.call_soon(self._turn)

    def detach(self) -> None:
        self._loop.remove_reader(self.epoll.fileno())
        self.epoll.close()

    def _turn(self) -> None:
        self._is_due = False
        for _ in range(TURNS):
            if self.epoll.closed:
                return
            events = self.epoll.poll(0, MAX_EVENTS)
            self.turn += 1
            for descriptor, flags in events:
                one = self._table.get(descriptor)
                if one is not None:
                    try:
                        self._wake(one, descriptor, flags)
                    except Exception as error:  # noqa: BLE001 - told, not lost
                        report(self._loop, error)
            if self._queue:
                self._carry_on()
            if not self._queue:
                return
        self.schedule()


class TunnelSelector(selectors.BaseSelector):
    """A level-triggered selector (as selectors.EpollSelector), with room for one plane beside it.

    What the plane registers in `epoll` itself is not known here, and its events go to the plane.
    """

    def __init__(self) -> None:
        self.epoll = select.epoll()
        self._keys: dict[int, selectors.SelectorKey] = {}
        self.turn = 0
        self._table: Mapping[int, Any] = {}
        self._wake: Wake[Any] = _nothing
        self._queue: Sized = ()
        self._carry_on: CarryOn = _nothing
        self._has_plane = False
        # Whether asyncio has been given something to do since it last asked
        self.is_asked = False

    def attach(self, table: Mapping[int, _One], wake: Wake[_One], queue: Sized, carry_on: CarryOn) -> bool:
        """As `attach` above; False when there is a plane already."""
        if self._has_plane:
            return False
        self._has_plane = True
        self._table, self._wake, self._queue, self._carry_on = table, wake, queue, carry_on
        return True

    def schedule(self) -> None:
        """Nothing to do: `select` looks at the queue before it waits."""

    def detach(self) -> None:
        """The plane ends; it has taken its descriptors out of `epoll`."""
        self._has_plane = False
        self._table, self._wake, self._queue, self._carry_on = {}, _nothing, (), _nothing

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        descriptor = _descriptor(fileobj)
        if descriptor in self._keys:
            raise KeyError(f"{fileobj!r} is registered already")
        key = selectors.SelectorKey(fileobj, descriptor, events, data)
        self.epoll.register(descriptor, _flags(events))
        self._keys[descriptor] = key
        return key

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        key = self._keys.pop(_descriptor(fileobj))
        # One that is closed already has been forgotten (epoll(7))
        with contextlib.suppress(OSError):
            self.epoll.unregister(key.fd)
        return key

    def modify(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        descriptor = _descriptor(fileobj)
        old = self._keys[descriptor]
        if events != old.events:
            self.epoll.modify(descriptor, _flags(events))
        key = self._keys[descriptor] = selectors.SelectorKey(fileobj, descriptor, events, data)
        return key

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        end = 0.0 if timeout is None else time.monotonic() + timeout
        keys, queue, poll, ready = self._keys, self._queue, self.epoll.poll, []
        table, wake = self._table, self._wake
        # epoll.poll rounds up to milliseconds itself, so a timer is due when it returns; -1 is for ever
        wait_seconds = -1.0 if timeout is None else max(timeout, 0.0)
        self.is_asked = False
        if queue:
            self._carry_on()
            wait_seconds = 0.0
        while True:
            events = poll(wait_seconds, MAX_EVENTS)
            # Before they are served: a timer that comes between two waits has the number of the one before it
            self.turn += 1
            for descriptor, flags in events:
                one = table.get(descriptor)
                if one is not None:
                    try:
                        wake(one, descriptor, flags)
                    except Exception as error:  # noqa: BLE001 - told, not lost
                        report(asyncio.get_running_loop(), error)
                elif (key := keys.get(descriptor)) is not None:
                    ready.append((key, _events(flags) & key.events))
            if ready or self.is_asked or not self._has_plane:
                return ready
            wait_seconds = -1.0
            if timeout is not None and (wait_seconds := end - time.monotonic()) <= 0:
                return ready
            if queue:
                self._carry_on()
                wait_seconds = 0.0

    def close(self) -> None:
        self._keys.clear()
        self.epoll.close()

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        return _ByFile(self._keys)


class _ByFile(Mapping[Any, selectors.SelectorKey]):
    """Keys by file object as well as by descriptor, as asyncio asks for them."""

    def __init__(self, keys: Mapping[int, selectors.SelectorKey]) -> None:
        self._keys = keys

    def __getitem__(self, fileobj: Any) -> selectors.SelectorKey:
        return self._keys[_descriptor(fileobj)]

    def __iter__(self) -> Iterator[int]:
        return iter(self._keys)

    def __len__(self) -> int:
        return len(self._keys)


class TunnelLoop(asyncio.SelectorEventLoop):
    """The event loop of a process that carries tunnels."""

    def __init__(self) -> None:
        self.tunnels = TunnelSelector()
        super().__init__(self.tunnels)

    def call_soon(
        self, callback: Callable[[*_Args], object], *args: *_Args,
        context: contextvars.Context | None = None,
    ) -> asyncio.Handle:  # fmt: skip
        """As every loop's; the selector then returns, however busy its tunnels are."""
        self.tunnels.is_asked = True
        return super().call_soon(callback, *args, context=context)

    def call_at(
        self, when: float, callback: Callable[[*_Args], object], *args: *_Args,
        context: contextvars.Context | None = None,
    ) -> asyncio.TimerHandle:  # fmt: skip
        """As every loop's; the selector then returns, for it may have to wait less long."""
        self.tunnels.is_asked = True
        return super().call_at(when, callback, *args, context=context)


def _nothing(*about: object) -> None: ...


def _descriptor(fileobj: Any) -> int:
    return fileobj if isinstance(fileobj, int) else int(fileobj.fileno())


def _flags(events: int) -> int:
    readable = select.EPOLLIN if events & selectors.EVENT_READ else 0
    return readable | (select.EPOLLOUT if events & selectors.EVENT_WRITE else 0)


def _events(flags: int) -> int:
    # An error or a hang-up is for whoever waits, as in selectors.EpollSelector
    readable = selectors.EVENT_READ if flags & ~select.EPOLLOUT else 0
    return readable | (selectors.EVENT_WRITE if flags & ~select.EPOLLIN else 0)
