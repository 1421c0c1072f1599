"""An event loop whose clock jumps to the next timer: times are exact, and nothing waits."""

import asyncio
from collections.abc import Coroutine
from typing import Any


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """For code that uses timers and no sockets."""

    def __init__(self) -> None:
        self._virtual_seconds = 0.0
        super().__init__()

    def time(self) -> float:
        return self._virtual_seconds

    def _run_once(self) -> None:
        if not self._ready and self._scheduled:
            self._virtual_seconds = max(self._virtual_seconds, self._scheduled[0].when())
        super()._run_once()


def in_virtual_time(work: Coroutine[Any, Any, Any]) -> Any:
    """Run `work` to its end, in no time."""
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(work)
