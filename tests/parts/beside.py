"""Run what asyncio serves in a thread beside the test, for clients that block."""

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager
from typing import TypeVar

from relay.own_loop import OwnLoop

T = TypeVar("T")


@contextlib.contextmanager
def beside(make: Callable[[], AbstractAsyncContextManager[T]]) -> Iterator[T]:
    """Enter what `make` gives in an event loop of its own; leave it when the block ends.

    Nothing may reach that loop's exception handler.
    """
    unheard: list[dict[str, object]] = []

    async def made() -> AbstractAsyncContextManager[T]:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: unheard.append(context))
        return make()

    with OwnLoop() as loop:
        yield loop.enter(loop.run(made()))
    assert [] == unheard
