"""aiohttp's side of the proxy: requests come in, sockets go out. Only this file touches its private names.

aiohttp is held below its next minor version for that reason: these names are not its public interface.
"""

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web
from aiohttp.streams import EMPTY_PAYLOAD
from aiohttp.web_protocol import RequestHandler, _ErrInfo

from relay.answered import Answered
from relay.client_request import ClientRequest
from relay.dial import reset_socket, reset_when_closed
from relay.fault import HOLD_SECONDS
from relay.login import Conversation
from relay.refusal import Refusal, malformed
from relay.refused import Refused
from relay.request_gate import RequestGate
from relay.route import Endpoint
from relay.stream import SocketStream, Stream
from relay.stream_transport import StreamTransport
from relay.turned_away import Doorway

# What answers a request returns whether the connection is kept for the next one.
OnRequest = Callable[[ClientRequest], Awaitable[bool]]
OnRefusal = Callable[[ClientRequest, Refusal], Awaitable[None]]

# asyncio's loop has accepted a connection so many turns before its protocol hears of it, at most.
_ACCEPT_TURNS = 4


class _RequestHandler(RequestHandler):
    """Reads through a RequestGate, stays open after FIN, and answers what is malformed in our own words."""

    __slots__ = (
        "_server", "certificate", "conversation", "first", "gate", "has_answered", "in_tls", "on_lost",
        "payload", "peer", "refusal", "saw_eof",
    )  # fmt: skip

    def __init__(self, server: "RawServer", *, loop: asyncio.AbstractEventLoop, **options: Any) -> None:
        super().__init__(server, loop=loop, **options)
        self._server = server
        self.gate = server.new_gate()
        self.first = b""
        self.conversation = Conversation()
        self.payload = EMPTY_PAYLOAD
        self.peer = "unknown"
        self.certificate, self.in_tls = "", False
        self.refusal: Refused | None = None
        self.saw_eof = False
        self.has_answered = False
        self.on_lost: Callable[[], None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        peer = transport.get_extra_info("peername")
        if peer and self.peer == "unknown":
            self.peer = str(Endpoint(*peer[:2]))
        if not self._server.door.enter(self.peer, transport):
            return
        # A write is over when the kernel has it: nothing is lost when the socket is taken away
        transport.set_write_buffer_limits(0)  # type: ignore[attr-defined]
        super().connection_made(transport)
        if self._server.is_stopping:
            self.abort()
        elif self.first:
            self.data_received(self.first)
            self.first = b""

    def connection_lost(self, exc: BaseException | None) -> None:
        super().connection_lost(exc)
        self._server.door.leave(self.peer)
        if self.on_lost is not None:
            self.on_lost()

    def data_received(self, data: bytes) -> None:
        if not data:
            # aiohttp's own call: its parser is to go on with what it has
            super().data_received(data)
        elif self.refusal is None:
            self._admit(data)

    def eof_received(self) -> bool:  # type: ignore[override]
        # A client may send its request and FIN in one breath (`printf ... | nc -N`), and wants an answer
        self.saw_eof = True
        if self.gate.is_idle:
            return False
        if self.refusal is None and (self.gate.is_in_body or self.gate.head is None):
            self._refuse(Refused(malformed("the client ended in the middle of its request")))
        return True

    def next_request(self) -> bool:
        """Begin with what the client sent ahead; False when nothing can come any more."""
        self.gate.next_request()
        self.has_answered = False
        if not self.saw_eof:
            self._resume_transport_reading()
        self._admit(b"")
        if self.saw_eof and self.gate.head is None and self.refusal is None:
            if self.gate.is_idle:
                return False
            self._refuse(Refused(malformed("the client ended in the middle of its request")))
        return True

    @property
    def is_lost(self) -> bool:
        """Whether the client has gone, or is being cut off."""
        return self.transport is None or self.transport.is_closing()

    async def write(self, data: bytes, *, is_interim: bool) -> None:
        """Raises: ConnectionError."""
        if self.transport is None or self.transport.is_closing():
            raise ConnectionResetError("the client has gone")
        self.has_answered = self.has_answered or not is_interim
        self.transport.write(data)
        await self._drain_helper()

    async def take_over(self) -> Stream:
        """Raises: ConnectionResetError."""
        transport = self.transport
        if transport is None or transport.is_closing():
            raise ConnectionResetError("the client has gone")
        transport.pause_reading()
        if isinstance(transport, StreamTransport):
            stream = await transport.release()
            stream.unread(self.gate.take_early())
            return stream
        try:
            sock = _own_socket(transport)
        except OSError:
            self.abort()
            raise ConnectionResetError("there is no descriptor to take the client's socket with") from None
        early = self.gate.take_early()
        # Closes aiohttp's descriptor only; the loop calls connection_lost in its next turn
        transport.abort()
        try:
            await asyncio.sleep(0)
        except BaseException:  # cancelled: the socket is ours by now, and nobody else would close it
            reset_socket(sock)
            raise
        return SocketStream(sock, early)

    def abort(self) -> None:
        """End with RST."""
        if (transport := self.transport) is not None:
            if not isinstance(transport, StreamTransport):
                reset_when_closed(transport.get_extra_info("socket"))
            transport.abort()

    def handle_error(
        self, request: web.BaseRequest, status: int = 500, exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:  # fmt: skip
        if isinstance(exc, Refused):
            refusal = exc.refusal
        elif status < 500:
            refusal = malformed("this is no well-formed HTTP/1 request head")
        else:
            self.log_exception("Error handling request", exc_info=exc)
            refusal = Refusal(500, "proxy_internal_error", "the proxy failed; its log has the reason")
        return Answered(lambda: self._server.on_refusal(ClientRequest(self, request.content), refusal))

    def _admit(self, data: bytes) -> None:
        had_head = self.gate.head is not None
        try:
            admitted = self.gate.receive(data)
        except Refused as error:
            self._refuse(error, is_in_body=had_head)
            return
        if admitted:
            super().data_received(admitted)
            if not had_head and self._messages:
                self.payload = self._messages[-1][1]
        if self.gate.is_full:
            self._pause_transport_reading()

    def _refuse(self, error: Refused, *, is_in_body: bool | None = None) -> None:
        """Refuse what came: through the body of the request at hand, or as an answer in its turn."""
        self.refusal = error
        self._pause_transport_reading()
        if self.gate.is_in_body if is_in_body is None else is_in_body:
            self.payload.set_exception(error)
            return
        self._messages.append((_ErrInfo(status=400, exc=error, message=""), EMPTY_PAYLOAD))
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _process_keepalive(self) -> None:
        if self._loop.time() < (end := self._next_keepalive_close_time):
            # Not for aiohttp to judge: by its own look at the clock it may be over, and it says no word then
            self._keepalive_handle = self._loop.call_at(end, self._process_keepalive)
            return None
        is_waiting = self._waiter is not None and not self._waiter.done()
        if is_waiting and self.refusal is None:
            if self.gate.stays_silent:
                self._next_keepalive_close_time = self._loop.time() + HOLD_SECONDS
            elif refusal := self.gate.at_silence():
                self._keepalive_handle = None
                return self._refuse(Refused(refusal), is_in_body=False)
            else:
                self._server.door.was_silent()
        return super()._process_keepalive()


def _ours(handler: RequestHandler) -> _RequestHandler:
    """The server makes no other kind."""
    assert isinstance(handler, _RequestHandler)
    return handler


def _own_socket(transport: asyncio.BaseTransport) -> socket.socket:
    """A descriptor of our own for the client's socket; the caller closes it."""
    own: socket.socket = transport.get_extra_info("socket").dup()
    own.setblocking(False)
    return own


class RawServer(web.Server):
    """aiohttp's low-level server with our request handler; it is the protocol factory of a listener.

    Args:
        on_request: answers one request, writing everything itself.
        on_refusal: says no to what is no request, or to one whose answer failed.
        head_timeout_seconds: for a whole head, and for silence between requests.
        door: lets connections in, or turns them away.
    """

    new_gate: Callable[[], RequestGate] = RequestGate

    def __init__(
        self, on_request: OnRequest, on_refusal: OnRefusal, head_timeout_seconds: float, door: Doorway
    ) -> None:
        super().__init__(
            self._handle, handler_cancellation=False, keepalive_timeout=head_timeout_seconds,
            auto_decompress=False, access_log=None,
        )  # fmt: skip
        self.is_stopping = False
        self._arriving: set[asyncio.Task[None]] = set()
        self.door = door
        self._on_request = on_request
        self.on_refusal = on_refusal

    def __call__(self) -> RequestHandler:
        return _RequestHandler(self, loop=self._loop, **self._kwargs)

    def take(self, sock: socket.socket, data: bytes, peer: str = "unknown") -> None:
        """Go on with a connection that somebody else has accepted, and has read `data` from.

        Args: peer: whose it is, when that is not what the socket says.
        """
        task = asyncio.get_running_loop().create_task(self._take(sock, data, peer))
        self._arriving.add(task)
        task.add_done_callback(self._arriving.discard)

    def end_idle(self) -> None:
        """Close the connections on which no request is being sent or answered."""
        for connection in map(_ours, self.connections):
            if connection.gate.is_idle and connection.transport is not None:
                connection.transport.close()

    def take_stream(self, stream: Stream, peer: str, certificate: str = "") -> None:
        """Go on with a connection that is no plain socket.

        Args: certificate: the subject of the one that the client has shown.
        """
        handler = _ours(self())
        handler.peer, handler.certificate, handler.in_tls = peer, certificate, True
        StreamTransport(stream, handler)

    async def _take(self, sock: socket.socket, data: bytes, peer: str) -> None:
        handler = _ours(self())
        handler.peer, handler.first = peer, data
        with contextlib.suppress(OSError):
            await asyncio.get_running_loop().connect_accepted_socket(lambda: handler, sock)

    async def stop(self) -> None:
        """Reset every connection and cancel what answers it, after `accept_no_more`; close listeners then."""
        self.is_stopping = True
        for _ in range(_ACCEPT_TURNS):
            # What the loop has accepted already becomes a connection, and is reset at once
            await asyncio.sleep(0)
        await asyncio.gather(*self._arriving)
        connections = [_ours(connection) for connection in self.connections]
        tasks = [task for connection in connections if (task := connection._task_handler) is not None]
        for connection in connections:
            connection.abort()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self.shutdown(0)

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        handler, keep_alive = _ours(request.protocol), False
        with contextlib.suppress(ConnectionError):  # it has gone, or there is no descriptor for its socket
            keep_alive = await self._on_request(ClientRequest(handler, request.content))
        return Answered(go_on=handler.next_request if keep_alive else None)
