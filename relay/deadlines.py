"""Deadlines of many that have the same time each: one timer for all."""

import asyncio
from collections.abc import Callable
from typing import Generic, TypeVar

_Waiting = TypeVar("_Waiting")


class Deadlines(Generic[_Waiting]):
    """Deadlines come in the order of arrival, so only the first needs a timer of the running loop.

    Args: seconds: from `add` to `is_over`, which is called once with it unless `remove` was called before.
    """

    def __init__(self, seconds: float, is_over: Callable[[_Waiting], None]) -> None:
        self.waiting: dict[_Waiting, float] = {}
        self._seconds = seconds
        self._is_over = is_over
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None

    def add(self, one: _Waiting, now: float | None = None) -> None:
        """Its time begins. Args: now: time.monotonic(), for who has asked already."""
        self.waiting[one] = end = (self._loop.time() if now is None else now) + self._seconds
        if self._timer is None:
            self._timer = self._loop.call_at(end, self._look)

    def remove(self, one: _Waiting) -> None:
        """It waits no more, if it did."""
        self.waiting.pop(one, None)

    def close(self) -> None:
        """Nobody waits any more."""
        self.waiting.clear()
        if self._timer is not None:
            self._timer.cancel()

    def change(self, seconds: float) -> None:
        """Those that wait already have this long as well, from when they began."""
        more = seconds - self._seconds
        self._seconds = seconds
        for one in self.waiting:
            self.waiting[one] += more
        if self._timer is not None:
            self._timer.cancel()
            self._look()

    def _look(self) -> None:
        self._timer = None
        now, over = self._loop.time(), []
        for one, end in self.waiting.items():
            if end > now:
                self._timer = self._loop.call_at(end, self._look)
                break
            over.append(one)
        for one in over:
            # The end of another may have been its end too
            if self.waiting.pop(one, None) is not None:
                self._is_over(one)
