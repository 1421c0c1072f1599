"""One HTTP/2 connection of a client, and its streams: each asks for one thing, and may become a tunnel."""

import asyncio
import contextlib
import errno
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from dataclasses import replace
from socket import socket
from typing import Any

from protocol.http2_server import Http2Server, StreamLost
from relay.login import Conversation
from relay.refusal import malformed
from relay.refused import Refused
from relay.request_gate import RequestGate
from relay.stream import CHUNK_BYTES, SharedStream, Stream

# What a client does not take of our last words in this time it does not want.
CLOSE_SECONDS = 5.0


class Http2Session:
    """One connection: translates, and wakes whoever waits for one of its streams."""

    def __init__(self, stream: Stream, peer: str, certificate: str) -> None:
        self.stream = stream
        self.peer = peer
        self.certificate = certificate
        self.http = Http2Server()
        self._writing = asyncio.Lock()
        self._changed = asyncio.Event()
        self._head_began_seconds: float | None = None

    def head_seconds_left(self, limit_seconds: float) -> float | None:
        """For a head that has begun to come to its end; None while there is none."""
        if not self.http.is_in_head:
            self._head_began_seconds = None
            return None
        now = asyncio.get_running_loop().time()
        if self._head_began_seconds is None:
            self._head_began_seconds = now
        return max(0.0, self._head_began_seconds + limit_seconds - now)

    async def receive(self) -> list[tuple[int, bytes]]:
        """Read once; return the requests that came. Raises: OSError, HeadMalformed."""
        data = await self.stream.read()
        try:
            return self.http.receive_data(data)
        finally:
            self.wake()
            with contextlib.suppress(OSError):
                await self.flush()

    def lose(self) -> None:
        """The connection has ended."""
        self.http.lose()
        self.wake()

    def wake(self) -> None:
        """Something has changed for somebody."""
        self._changed.set()
        self._changed = asyncio.Event()

    async def until(self, is_enough: Callable[[], bool]) -> None:
        """Wait for what the client sends."""
        while not is_enough():
            await self._changed.wait()

    def until_changed(self) -> Coroutine[Any, Any, Any]:
        """Wait for the next change from now on, however late it is awaited."""
        return self._changed.wait()

    async def flush(self) -> None:
        """Send what is to be sent. Raises: OSError."""
        async with self._writing:
            if data := self.http.data_to_send():
                await self.stream.write(data)


class Http2Side(SharedStream):
    """A Stream: one of an HTTP/2 connection. What is written first is an HTTP/1.1 reply head."""

    def __init__(self, session: Http2Session, number: int) -> None:
        self._session = session
        self._http = session.http
        self._number = number
        self._unread = b""
        self._tasks: set[asyncio.Task[None]] = set()

    async def read(self, limit_bytes: int = CHUNK_BYTES) -> bytes:
        while (data := self.poll()) is None:
            await self._session.until(lambda: self._http.has_news(self._number))
        self._unread = data[limit_bytes:]
        # The window that reading gives back
        await self._session.flush()
        return data[:limit_bytes]

    async def write(self, data: bytes) -> None:
        with _as_os_errors():
            self._http.write(self._number, data)
        await self._session.flush()
        with _as_os_errors():
            await self._session.until(lambda: not self._http.is_unsent(self._number))
        await self._session.flush()

    def poll(self) -> bytes | None:
        data, self._unread = self._unread, b""
        if data:
            return data
        with _as_os_errors():
            return self._http.read(self._number, CHUNK_BYTES)

    async def half_close(self) -> None:
        self._http.end(self._number)
        with contextlib.suppress(OSError):
            await self._session.flush()

    def unread(self, data: bytes) -> None:
        self._unread = data + self._unread

    def reset(self) -> None:
        self._http.reset(self._number)
        self._http.forget(self._number)
        self._session.wake()
        # Not awaited: a reset never waits
        task = asyncio.get_running_loop().create_task(self._flush_quietly())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def aclose(self) -> None:
        self._http.end(self._number)
        self._http.forget(self._number)
        self._session.wake()
        await self._flush_quietly()

    def fileno_socket(self) -> socket:
        return self._session.stream.fileno_socket()

    async def _flush_quietly(self) -> None:
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(CLOSE_SECONDS):
                await self._session.flush()


class Http2Request:
    """The client's side of one request, as relay.client_request has it; there is no next one."""

    def __init__(self, session: Http2Session, number: int, gate: RequestGate) -> None:
        self.peer = session.peer
        self.certificate = session.certificate
        self.in_tls = True
        self.conversation = Conversation()
        self.gate = gate
        self.has_answered = False
        self.is_taken = False
        self._may_have_body = False
        self.on_lost: Callable[[], None] | None = None
        self._session = session
        self._number = number
        self.side = Http2Side(session, number)

    @property
    def is_lost(self) -> bool:
        """Whether the client has taken the request back."""
        return self._session.http.is_lost(self._number)

    async def write(self, data: bytes, *, is_interim: bool) -> None:
        """Raises: ConnectionError."""
        self.has_answered = self.has_answered or not is_interim
        await self.side.write(data)

    async def take_over(self) -> Stream:
        """Raises: ConnectionResetError."""
        if self.is_lost:
            raise ConnectionResetError("the client has gone")
        self.is_taken = True
        return self.side

    def abort(self) -> None:
        """End with RST_STREAM."""
        self.side.reset()

    def receive(self, head: bytes) -> None:
        """Read the head. Raises: Refused."""
        self.gate.receive(head)
        found = self.gate.head
        if found is None:
            return
        body_bytes = found.body_bytes
        has_body = self._session.http.has_body(self._number)
        if found.line.method == "TRACE" and has_body:
            raise Refused(malformed("TRACE has no content"))
        if found.line.method != "CONNECT":
            self._may_have_body = True
            if not found.values(b"content-length") and has_body:
                # HTTP/2 has no need to tell a length
                body_bytes = None
        # It was read as one of HTTP/1.1; Via and the log name what was really received
        self.gate.line = replace(found.line, version=(2, 0))
        self.gate.head = replace(found, line=self.gate.line, body_bytes=body_bytes)

    async def tell_when_lost(self) -> None:
        """Wait for the client to take the request back, and tell who has asked for it."""
        await self._session.until(lambda: self.is_lost)
        if self.on_lost is not None:
            self.on_lost()

    def is_eof(self) -> bool:
        return not self._may_have_body or self._session.http.has_ended(self._number)

    async def iter_any(self) -> AsyncIterator[bytes]:
        while self._may_have_body and (data := await self.side.read()):
            yield data


@contextlib.contextmanager
def _as_os_errors() -> Iterator[None]:
    """Raises: ConnectionResetError for a stream that is no more."""
    try:
        yield
    except StreamLost as error:
        raise ConnectionResetError(errno.ECONNRESET, str(error)) from error

