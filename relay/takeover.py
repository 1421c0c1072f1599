"""Take a connection away from aiohttp, early bytes included. The only file that touches its private names.

aiohttp is held below its next minor version for that reason: these names are not its public interface.
"""

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http_parser import HttpRequestParser
from aiohttp.web_protocol import RequestHandler

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]
OnError = Callable[[web.BaseRequest, int, str], web.StreamResponse]


class ParserMissing(RuntimeError):
    """aiohttp runs without its C parser."""


def require_c_parser() -> None:
    """aiohttp's Python parser keeps part of an early burst inside itself, where nobody can fetch it.

    Raises: ParserMissing
    """
    if HttpRequestParser.__module__ != "aiohttp._http_parser":
        raise ParserMissing(
            "aiohttp runs without its C parser (no binary wheel, or AIOHTTP_NO_EXTENSIONS is set): "
            "it would lose bytes that follow a CONNECT head; install aiohttp from a binary wheel"
        )


class _RequestHandler(RequestHandler):
    """Keeps a connection open after FIN, and answers malformed heads in our own words."""

    __slots__ = ("_on_error", "saw_eof")

    def __init__(self, manager: "RawServer", *, loop: asyncio.AbstractEventLoop, **options: Any) -> None:
        super().__init__(manager, loop=loop, **options)
        self._on_error = manager.on_error
        self.saw_eof = False

    def eof_received(self) -> bool:  # type: ignore[override]
        # A client may send its request and FIN in one breath (`printf ... | nc -N`): by default the
        # connection is closed before the handler has run. A body cut short is an end, though.
        self.saw_eof = True
        if self._messages or self._upgraded:
            return True
        return self._current_request is not None and self._current_request.content.is_eof()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        if status >= 500 and exc is not None:
            self.log_exception("Error handling request", exc_info=exc)
        return self._on_error(request, status, type(exc).__name__ if exc is not None else "")


class RawServer(web.Server):  # type: ignore[misc]
    """aiohttp's low-level server with our request handler; it is the protocol factory of a listener."""

    def __init__(self, handler: Handler, on_error: OnError, **options: Any) -> None:
        super().__init__(handler, handler_cancellation=False, **options)
        self.on_error = on_error

    def __call__(self) -> RequestHandler:
        return _RequestHandler(self, loop=self._loop, **self._kwargs)


class Taken(web.StreamResponse):
    """What a handler returns when it writes everything itself: aiohttp has nothing left to do.

    `answer`, if given, is awaited where aiohttp would have written the head.
    """

    def __init__(
        self,
        answer: Callable[[web.BaseRequest], Awaitable[None]] | None = None,
        *,
        keep_alive: bool = False,
    ) -> None:
        super().__init__()
        self._answer = answer
        self._keep_alive = keep_alive
        self._eof_sent = True

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        if self._answer is not None:
            await self._answer(request)
        protocol = request.protocol
        if getattr(protocol, "saw_eof", False) and not protocol._messages:
            # Nothing more can come: do not wait for the keep-alive timer
            self._keep_alive = False
        return None

    async def write_eof(self, data: bytes = b"") -> None:
        return None


def early_bytes(request: web.BaseRequest) -> bytes:
    """Take the bytes that came behind the head of a CONNECT; pauses reading, so that no more come."""
    protocol = request.protocol
    if protocol.transport is not None:
        protocol.transport.pause_reading()
    tail, protocol._message_tail = protocol._message_tail, b""
    return bytes(tail)


async def take_over(request: web.BaseRequest) -> tuple[socket.socket, bytes]:
    """Return the client's socket (non-blocking, ours to close) and the bytes it sent behind the head.

    aiohttp's transport is aborted, which closes only its own descriptor: the connection lives on in our
    duplicate, and aiohttp hears connection_lost, so nothing of it stays behind.

    Raises: ConnectionResetError when the client has gone.
    """
    transport = request.transport
    if transport is None or transport.is_closing():
        raise ConnectionResetError("the client has gone")
    early = early_bytes(request)
    sock = socket.socket(fileno=os.dup(transport.get_extra_info("socket").fileno()))
    sock.setblocking(False)
    transport.abort()
    # connection_lost is called by the loop in its next turn
    await asyncio.sleep(0)
    return sock, early


async def write_raw(request: web.BaseRequest, data: bytes) -> None:
    """Write bytes of a reply as they are, with back-pressure. Raises: ConnectionResetError."""
    transport = request.transport
    if transport is None or transport.is_closing():
        raise ConnectionResetError("the client has gone")
    transport.write(data)
    await request.protocol._drain_helper()


def abort(request: web.BaseRequest) -> None:
    """Cut the client off, so that it cannot take a broken reply for a whole one."""
    if request.transport is not None:
        request.transport.abort()
