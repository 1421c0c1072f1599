"""Answered: what a handler of aiohttp returns that has written everything itself."""

from collections.abc import Awaitable, Callable

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter


class Answered(web.StreamResponse):
    """aiohttp has nothing left to do.

    Args:
        answer: awaited where aiohttp would have written the head.
        go_on: called then; whether another request may come over the connection. Without it none may.
    """

    def __init__(
        self, answer: Callable[[], Awaitable[None]] | None = None, go_on: Callable[[], bool] | None = None
    ) -> None:
        super().__init__()
        self._answer = answer
        self._go_on = go_on
        self._keep_alive = go_on is not None
        self._eof_sent = True

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        if self._answer is not None:
            await self._answer()
        if self._go_on is not None:
            self._keep_alive = self._go_on()
        return None

    async def write_eof(self, data: bytes = b"") -> None:
        return None
