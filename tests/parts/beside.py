"""Run what asyncio serves in a thread beside the test, for clients that block."""

import asyncio
import contextlib
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager
from typing import TypeVar

T = TypeVar("T")


@contextlib.contextmanager
def beside(make: Callable[[], AbstractAsyncContextManager[T]]) -> Iterator[T]:
    """Enter what `make` gives in an event loop of its own; leave it when the block ends.

    Nothing may reach that loop's exception handler.
    """
    ready: threading.Event = threading.Event()
    served: list[T] = []
    unheard: list[dict[str, object]] = []
    loop = asyncio.new_event_loop()
    loop.set_exception_handler(lambda _, context: unheard.append(context))
    stop = asyncio.Event()

    async def serve() -> None:
        async with make() as made:
            served.append(made)
            ready.set()
            await stop.wait()

    def run() -> None:
        try:
            loop.run_until_complete(serve())
        finally:
            ready.set()
            loop.close()

    thread = threading.Thread(target=run, name="beside")
    thread.start()
    ready.wait()
    try:
        yield served[0]
    finally:
        if thread.is_alive():
            loop.call_soon_threadsafe(stop.set)
        thread.join()
    assert [] == unheard
