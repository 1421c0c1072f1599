"""Work that may wait, for event loops: in a thread of its own, not in the pool that others wait for."""

import asyncio
import contextlib
from typing import Any

from relay.aside import Done, Work, begin


async def run_aside(work: Work) -> Any:
    """Return what `work` returns, without holding up the event loop. Raises: what it raises."""
    loop = asyncio.get_running_loop()
    answered: asyncio.Future[Any] = loop.create_future()

    def take(done: Done) -> None:
        if answered.done():  # whoever waited has given up
            return
        value, error = done
        if error is not None:
            answered.set_exception(error)
        else:
            answered.set_result(value)

    def tell(done: Done) -> None:
        # The loop may have been closed meanwhile
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(take, done)

    begin(work, tell)
    return await answered
