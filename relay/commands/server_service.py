"""ServerService: the emulated server of one process, with its admin listener."""

import contextlib
import socket
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Self

from relay.emulator import EmulatedServer
from relay.journal import Record
from relay.route import Endpoint
from relay.server_answers import ServerNumbers

if TYPE_CHECKING:
    from relay.admin import Admin


class ServerService:
    """Args: admin: bound, ours to close. tell: called with each record. make: the server, of its on_end."""

    def __init__(
        self, admin: socket.socket | None, tell: Callable[[Record], None], make: Callable[..., EmulatedServer]
    ) -> None:
        self._stack = contextlib.AsyncExitStack()
        self._admin = admin
        self._tell = tell
        self._server = make(on_end=self._ended)
        self._numbers = ServerNumbers(self._server.journal)

    @property
    def endpoints(self) -> list[Endpoint]:
        """Where the server listens."""
        return self._server.endpoints

    async def __aenter__(self) -> Self:
        async with contextlib.AsyncExitStack() as stack:
            await stack.enter_async_context(self._server)
            if self._admin is not None:
                await stack.enter_async_context(contextlib.aclosing(await self._started(self._admin)))
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    async def _started(self, sock: socket.socket) -> "Admin":
        # Here, so that a server without it needs no HTTP library
        from relay.admin import Admin, Subject
        from relay.exposition import server_exposition

        admin = Admin(Subject(self._numbers.answer, server_exposition, "connections"), sock)
        await admin.start()
        return admin

    def _ended(self, record: Record) -> None:
        self._numbers.ended(record)
        self._tell(record)
