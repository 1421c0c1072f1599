"""Name lookup for event loops, each in a thread of its own.

The pool of an event loop would be full after a few names of a dead resolver, and hold up all others.
"""

import asyncio
import contextlib
import time
from weakref import WeakKeyDictionary

from relay.dial import Address
from relay.lookup import Answer, begin_lookup

# Lookups of one event loop that wait for a resolver at the same time.
MAX_LOOKUPS = 256
# How long a proxy takes an answer for true: getaddrinfo(3) does not tell how long it holds.
KEEP_SECONDS = 5.0
MAX_KEPT = 4096


async def look_up_async(host: str, port: int) -> list[Address]:
    """As `look_up`, without holding up the event loop. Raises: OSError."""
    loop = asyncio.get_running_loop()
    slots = _slots.setdefault(loop, asyncio.Semaphore(MAX_LOOKUPS))
    await slots.acquire()
    answered: asyncio.Future[list[Address]] = loop.create_future()

    def take(answer: Answer) -> None:
        slots.release()
        if answered.done():
            return
        if isinstance(answer, OSError):
            answered.set_exception(answer)
        else:
            answered.set_result(answer)

    def tell(answer: Answer) -> None:
        # The loop may have been closed meanwhile
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(take, answer)

    try:
        begin_lookup(host, port, tell)
    except OSError:
        slots.release()
        raise
    return await answered


_slots: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Semaphore] = WeakKeyDictionary()


class Lookups:
    """Lookups of one event loop: what is asked twice at once is looked up once, and kept for a moment.

    Only what was found is kept: a name that was not found may be there the next time.
    """

    def __init__(self, keep_seconds: float = KEEP_SECONDS) -> None:
        self._keep_seconds = keep_seconds
        self._kept: dict[tuple[str, int], tuple[float, list[Address]]] = {}
        self._asked: dict[tuple[str, int], asyncio.Task[list[Address]]] = {}

    async def look_up(self, host: str, port: int) -> list[Address]:
        """Every address of a name. Raises: OSError."""
        asked = (host.lower(), port)
        until, found = self._kept.get(asked, (0.0, []))
        if time.monotonic() < until:
            return found
        task = self._asked.get(asked)
        if task is None:
            task = self._asked[asked] = asyncio.create_task(look_up_async(*asked))
            task.add_done_callback(lambda done: self._keep(asked, done))
        # Whoever gives up must not end the lookup for the others
        return await asyncio.shield(task)

    async def aclose(self) -> None:
        """Wait for nothing any more."""
        tasks = list(self._asked.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _keep(self, asked: tuple[str, int], done: asyncio.Task[list[Address]]) -> None:
        self._asked.pop(asked, None)
        if done.cancelled() or done.exception() is not None:
            return
        while len(self._kept) >= MAX_KEPT:
            del self._kept[next(iter(self._kept))]
        self._kept.pop(asked, None)
        self._kept[asked] = (time.monotonic() + self._keep_seconds, done.result())
