"""EmulatedServer: a stand-in for the vendor's Framework Server, and the far end that keeps a record."""

import asyncio
import os
import socket
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self

from protocol.connection import PacketConnection
from protocol.framing import MAX_FRAME_BYTES
from protocol.sealing import MAX_INFLATED_BYTES, Direction, Key
from relay.dial import reset_socket
from relay.journal import Ended, Journal, Record
from relay.listening import accept_each, bound_endpoint, listen_on
from relay.route import FRAMEWORK_PORT, Endpoint
from relay.serving import Conversation

IDLE_TIMEOUT_SECONDS = 300.0
MAX_CONNECTIONS = 1024
# All connections together: a dozen of the largest frames that arrive while a dozen of the largest replies
# wait, and not the 32 GiB that 1024 connections could hold one by one.
HELD_LIMIT_BYTES = 256 * 2**20


class EmulatedServer:
    """Listens, answers pings and the operations of docs/wire.md, and journals every connection.

    Args:
        listen: where to listen; port 0 takes a free one, see `.endpoints`.
        idle_timeout_seconds: a connection on which no whole packet came for so long is closed; so is one
            whose client has not taken a reply for so long.
        max_connections: one more is accepted and reset at once, and journaled.
        held_limit_bytes: bytes of all connections that wait in this process: of packets not yet whole, and of
            replies not yet taken. Above it the connection that holds most is reset. The process takes up to
            about twice as much memory.
        on_end: called with each connection's record when it has ended; must not raise.
    """

    def __init__(
        self,
        listen: Sequence[Endpoint] = (Endpoint("127.0.0.1", FRAMEWORK_PORT),),
        *,
        key: Key | None = None,
        idle_timeout_seconds: float = IDLE_TIMEOUT_SECONDS,
        max_connections: int = MAX_CONNECTIONS,
        held_limit_bytes: int = HELD_LIMIT_BYTES,
        frame_limit_bytes: int = MAX_FRAME_BYTES,
        inflated_limit_bytes: int = MAX_INFLATED_BYTES,
        on_end: Callable[[Record], None] | None = None,
    ) -> None:
        self.key = key or Key.public()
        self.idle_timeout_seconds = idle_timeout_seconds
        self._frame_limit_bytes = frame_limit_bytes
        self._inflated_limit_bytes = inflated_limit_bytes
        self.journal = Journal()
        self.refused_connections = 0
        self.conversations: set[Conversation] = set()
        self._listen = tuple(listen)
        self._max_connections = max_connections
        self._held_limit_bytes = held_limit_bytes
        self._held_bytes = 0
        self._on_end = on_end
        self._listeners: list[socket.socket] = []
        self._accepting: list[asyncio.Task[None]] = []
        self._arriving: set[asyncio.Task[None]] = set()
        self._all_ended = asyncio.Event()
        self.large_packets = asyncio.Semaphore(os.cpu_count() or 1)

    @property
    def endpoints(self) -> list[Endpoint]:
        """Where it really listens."""
        return [bound_endpoint(sock) for sock in self._listeners]

    @property
    def endpoint(self) -> Endpoint:
        """The first of `endpoints`."""
        return self.endpoints[0]

    async def start(self) -> None:
        """Bind and listen. Raises: OSError that names the address."""
        self._listeners = listen_on(self._listen)
        self._accepting = [asyncio.create_task(accept_each(sock, self._greet)) for sock in self._listeners]

    async def aclose(self) -> None:
        """Stop at once: listeners first, then every open connection is closed."""
        for task in self._accepting:
            task.cancel()
        await asyncio.gather(*self._accepting, return_exceptions=True)
        self._accepting.clear()
        await asyncio.gather(*self._arriving)
        for sock in self._listeners:
            sock.close()
        self._listeners.clear()
        for conversation in list(self.conversations):
            conversation.stop()
        if self.conversations:
            # connection_lost of each is called by the loop, not by us
            self._all_ended.clear()
            await self._all_ended.wait()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    def new_connection(self) -> PacketConnection:
        """The packets of one connection."""
        return PacketConnection(
            Direction.SERVER, self.key, self._frame_limit_bytes, self._inflated_limit_bytes
        )

    def weighed(self, more_bytes: int) -> None:
        """A conversation holds so much more, or less, than when it was last weighed."""
        self._held_bytes += more_bytes
        if more_bytes <= 0 or self._held_bytes <= self._held_limit_bytes:
            return
        # What goes out is not weighed all the time: look again before somebody is cut off
        for conversation in self.conversations:
            self._held_bytes += conversation.weigh()
        while self._held_bytes > self._held_limit_bytes:
            greatest = max(self.conversations, key=lambda conversation: conversation.held_bytes)
            self._held_bytes -= greatest.held_bytes
            greatest.give_up(self._held_limit_bytes)

    def ended(self, conversation: Conversation, record: Record, how: Ended) -> None:
        """A connection is gone: close its record."""
        self.conversations.discard(conversation)
        self._close_record(record, how)
        if not self.conversations:
            self._all_ended.set()

    async def _greet(self, sock: socket.socket) -> None:
        record = self.journal.open(sock)
        if len(self.conversations) >= self._max_connections:
            self.refused_connections += 1
            reset_socket(sock)
            record.detail = f"{self._max_connections} connections are open, which is the limit"
            self._close_record(record, Ended.TOO_MANY)
            return
        conversation = Conversation(self, record)
        self.conversations.add(conversation)
        # A task of its own, which nobody cancels: uvloop would never tell the conversation of its end
        task = asyncio.create_task(self._connect(conversation, record, sock))
        self._arriving.add(task)
        task.add_done_callback(self._arriving.discard)

    async def _connect(self, conversation: Conversation, record: Record, sock: socket.socket) -> None:
        try:
            await asyncio.get_running_loop().connect_accepted_socket(lambda: conversation, sock)
        except OSError as error:
            record.detail = str(error)
            sock.close()
            self.ended(conversation, record, Ended.CLIENT_RESET)

    def _close_record(self, record: Record, how: Ended) -> None:
        self.journal.close(record, how)
        if self._on_end is not None:
            self._on_end(record)
