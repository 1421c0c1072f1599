"""OwnLoop: an event loop in a thread of its own, for callers that block, or that run a loop themselves."""

import asyncio
import contextlib
import threading
from collections.abc import Coroutine
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Any, Self, TypeVar

T = TypeVar("T")

PATIENCE_SECONDS = 30.0
"""For what takes milliseconds unless it hangs: a bind, a close."""


class OwnLoop:
    """Use it as a context manager: what has been entered is left at the end, the last one first."""

    def __init__(self) -> None:
        self._stack = contextlib.AsyncExitStack()
        self._is_ready = threading.Event()
        self._thread = threading.Thread(target=self._work, name="relay-own-loop", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self._is_ready.wait()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.run(self._stack.aclose())
        finally:
            self._loop.call_soon_threadsafe(self._end.set)
            self._thread.join(PATIENCE_SECONDS)

    def enter(self, made: AbstractAsyncContextManager[T]) -> T:
        """Enter a service on this loop. Raises: what it raises."""
        return self.run(self._stack.enter_async_context(made))

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine on this loop and wait for it. Raises: what it raises; TimeoutError."""
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result(PATIENCE_SECONDS)
        finally:
            future.cancel()

    def _work(self) -> None:
        with asyncio.Runner() as runner:
            runner.run(self._stay())

    async def _stay(self) -> None:
        self._loop, self._end = asyncio.get_running_loop(), asyncio.Event()
        self._is_ready.set()
        await self._end.wait()
