"""ClientRequest: one request as the rest of the proxy sees it, free of aiohttp."""

from collections.abc import AsyncIterator, Callable
from typing import Protocol

from relay.login import Conversation
from relay.refusal import Refusal
from relay.request_gate import RequestGate
from relay.request_head import RequestHead, RequestLine
from relay.stream import Stream


class Connection(Protocol):
    """The client's connection."""

    peer: str
    certificate: str
    in_tls: bool
    conversation: Conversation
    gate: RequestGate
    has_answered: bool
    on_lost: Callable[[], None] | None

    @property
    def is_lost(self) -> bool: ...

    async def write(self, data: bytes, *, is_interim: bool) -> None: ...

    async def take_over(self) -> Stream: ...

    def abort(self) -> None: ...


class Body(Protocol):
    """The bytes of a body as they come."""

    def iter_any(self) -> AsyncIterator[bytes]: ...

    def is_eof(self) -> bool: ...


class ClientRequest:
    """The head, the body, and the way back to the client."""

    def __init__(self, connection: Connection, body: Body) -> None:
        self.peer = connection.peer
        self.certificate = connection.certificate
        self.in_tls = connection.in_tls
        self._connection = connection
        self._body = body

    @property
    def conversation(self) -> Conversation:
        """What logins have found out about this connection."""
        return self._connection.conversation

    @property
    def head(self) -> RequestHead:
        """The head; only a request that was refused may have none."""
        head = self._connection.gate.head
        assert head is not None
        return head

    @property
    def has_head(self) -> bool:
        """Whether the whole head has come, and could be read."""
        return self._connection.gate.head is not None

    @property
    def line(self) -> RequestLine | None:
        """The request line, None when not even that could be read."""
        return self._connection.gate.line

    @property
    def host_field(self) -> str:
        """The value of Host, also of a head that was refused behind its fields; "" without one."""
        return self._connection.gate.host_field

    @property
    def verdict(self) -> Refusal | None:
        """Why the head is refused, although it could be read."""
        return self._connection.gate.verdict

    @property
    def is_lost(self) -> bool:
        """Whether the client has gone, or is being cut off."""
        return self._connection.is_lost

    @property
    def has_answered(self) -> bool:
        """Whether bytes of a final reply have been written."""
        return self._connection.has_answered

    @property
    def body_is_whole(self) -> bool:
        """Whether the client has sent all of the body, read by us or not."""
        return self._body.is_eof()

    @property
    def has_early(self) -> bool:
        """Whether the client has sent bytes behind this request."""
        return self._connection.gate.has_waiting

    def on_lost(self, call: Callable[[], None] | None) -> None:
        """Have `call` called when the client resets the connection, or has done so; None takes it back."""
        self._connection.on_lost = call
        if call is not None and self.is_lost:
            call()

    async def body(self) -> AsyncIterator[bytes]:
        """The body as it comes.

        Raises: Refused when it is malformed, ConnectionError when the client has gone.
        """
        try:
            async for data in self._body.iter_any():
                yield data
        except RuntimeError:
            # aiohttp's word for it, when the client went while nobody was reading
            raise ConnectionResetError("the client has gone") from None

    async def write(self, data: bytes, *, is_interim: bool = False) -> None:
        """Hand all of `data` to the kernel; waits while the client does not read.

        Args:    is_interim: these are whole 1xx replies; a final one, even a refusal, can still follow.
        Raises:  ConnectionError.
        """
        await self._connection.write(data, is_interim=is_interim)

    async def take_over(self) -> Stream:
        """Return the client's connection, ours to close; the bytes it sent behind the request are read first.

        The HTTP server lets go of the connection: nothing of it stays behind.

        Raises: ConnectionResetError when the client has gone.
        """
        return await self._connection.take_over()

    def abort(self) -> None:
        """Cut the client off with RST, so that it cannot take a broken reply for a whole one."""
        self._connection.abort()
