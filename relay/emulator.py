"""EmulatedServer: a stand-in for the vendor's Framework Server, and the far end that keeps a record."""

import asyncio
import socket
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self

from protocol.framing import MAX_FRAME_BYTES
from protocol.sealing import MAX_INFLATED_BYTES, Key
from relay.journal import Ended, Journal, Record
from relay.listening import bound_endpoint, listen_on
from relay.route import FRAMEWORK_PORT, Endpoint
from relay.serving import Conversation

IDLE_TIMEOUT_SECONDS = 300.0
MAX_CONNECTIONS = 1024


class EmulatedServer:
    """Listens, answers pings and the operations of docs/wire.md, and journals every connection.

    Args:
        listen: where to listen; port 0 takes a free one, see `.endpoints`.
        idle_timeout_seconds: a connection on which no whole packet came for so long is closed.
        max_connections: one more is accepted and closed at once, and counted.
        on_end: called with each connection's record when it has ended.
    """

    def __init__(
        self,
        listen: Sequence[Endpoint] = (Endpoint("127.0.0.1", FRAMEWORK_PORT),),
        *,
        key: Key | None = None,
        idle_timeout_seconds: float = IDLE_TIMEOUT_SECONDS,
        max_connections: int = MAX_CONNECTIONS,
        frame_limit_bytes: int = MAX_FRAME_BYTES,
        inflated_limit_bytes: int = MAX_INFLATED_BYTES,
        on_end: Callable[[Record], None] | None = None,
    ) -> None:
        self.key = key or Key.public()
        self.idle_timeout_seconds = idle_timeout_seconds
        self.frame_limit_bytes = frame_limit_bytes
        self.inflated_limit_bytes = inflated_limit_bytes
        self.journal = Journal()
        self.refused_connections = 0
        self.conversations: set[Conversation] = set()
        self._listen = tuple(listen)
        self._max_connections = max_connections
        self._on_end = on_end
        self._servers: list[asyncio.Server] = []
        self._next_id = 0

    @property
    def endpoints(self) -> list[Endpoint]:
        """Where it really listens."""
        return [bound_endpoint(sock) for server in self._servers for sock in server.sockets]

    @property
    def endpoint(self) -> Endpoint:
        """The first of `endpoints`."""
        return self.endpoints[0]

    async def start(self) -> None:
        """Bind and listen. Raises: OSError that names the address."""
        loop = asyncio.get_running_loop()
        for sock in listen_on(self._listen):
            self._servers.append(await loop.create_server(self._conversation, sock=sock))

    async def aclose(self) -> None:
        """Stop at once: listeners first, then every open connection is reset."""
        for server in self._servers:
            server.close()
        for conversation in list(self.conversations):
            conversation.stop()
        # connection_lost of each is called by the loop, not by us
        while self.conversations:
            await asyncio.sleep(0)
        self._servers.clear()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    def has_room(self) -> bool:
        """False at the connection limit."""
        return len(self.conversations) < self._max_connections

    def began(self, conversation: Conversation, sock: socket.socket) -> Record:
        """A connection was accepted: make its record."""
        self.conversations.add(conversation)
        self._next_id += 1
        return self.journal.open(self._next_id, sock)

    def ended(self, conversation: Conversation, record: Record, how: Ended) -> None:
        """A connection is gone: close its record."""
        self.conversations.discard(conversation)
        self.journal.close(record, how)
        if self._on_end is not None:
            self._on_end(record)

    def _conversation(self) -> Conversation:
        return Conversation(self)
