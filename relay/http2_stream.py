"""A Stream inside an HTTP/2 tunnel (RFC 9113 section 8.5), for asyncio."""

import asyncio
import contextlib
from collections.abc import Callable
from socket import SHUT_WR, socket

from protocol.http2 import Http2Tunnel
from relay.http2_errors import HALF_CLOSED_SECONDS, as_os_errors
from relay.stream import CHUNK_BYTES, Stream

CLOSE_SECONDS = 1.0


class Http2Stream:
    """A Stream on an open Http2Tunnel, on any other Stream, which it owns."""

    def __init__(self, below: Stream, tunnel: Http2Tunnel) -> None:
        self._below = below
        self._tunnel = tunnel
        self._unread = b""
        self._reading = asyncio.Lock()
        self._writing = asyncio.Lock()
        self._giving_up: asyncio.TimerHandle | None = None

    async def read(self, limit_bytes: int = CHUNK_BYTES) -> bytes:
        if not self._unread:
            while (data := self._read_now(limit_bytes)) is None:
                await self._feed(lambda: self._tunnel.has_news)
            await self._flush()  # the window that reading gives back
            self._unread = data
        data, self._unread = self._unread[:limit_bytes], self._unread[limit_bytes:]
        return data

    async def write(self, data: bytes) -> None:
        while data:
            with as_os_errors():
                data = data[self._tunnel.write(data) :]
            await self._flush()
            if data:
                await self._feed(lambda: self._tunnel.has_room)

    def poll(self) -> bytes | None:
        data, self._unread = self._unread, b""
        while not data:
            if (news := self._read_now(CHUNK_BYTES)) is not None:
                return news
            came = self._below.poll()
            if came is None:
                return None
            with as_os_errors():
                self._tunnel.receive_data(came)
        return data

    async def half_close(self) -> None:
        self._tunnel.end()
        with contextlib.suppress(OSError):
            await self._flush()
        self._wait_for_end()

    def unread(self, data: bytes) -> None:
        self._unread = data + self._unread

    def reset(self) -> None:
        self._forget()
        self._below.reset()

    async def aclose(self) -> None:
        self._forget()
        self._tunnel.end()
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(CLOSE_SECONDS):
                await self._flush()
        await self._below.aclose()

    def fileno_socket(self) -> socket:
        return self._below.fileno_socket()

    def _wait_for_end(self) -> None:
        """Begin to wait for the other end anew; the connection is half-closed when the wait is over."""
        self._forget()
        self._giving_up = asyncio.get_running_loop().call_later(HALF_CLOSED_SECONDS, self._end_below)

    def _end_below(self) -> None:
        with contextlib.suppress(OSError):
            self._below.fileno_socket().shutdown(SHUT_WR)

    def _forget(self) -> None:
        if self._giving_up is not None:
            self._giving_up.cancel()
            self._giving_up = None

    def _read_now(self, limit_bytes: int) -> bytes | None:
        with as_os_errors():
            return self._tunnel.read(limit_bytes)

    async def _feed(self, is_enough: Callable[[], bool]) -> None:
        """Read once from below, unless somebody else's reading was enough meanwhile.

        A writer without room reads as well: the window that it waits for comes the same way as the data.
        """
        async with self._reading:
            if is_enough():
                return
            data = await self._below.read()
            if data and self._giving_up is not None:
                self._wait_for_end()
            with as_os_errors():
                self._tunnel.receive_data(data)
        await self._flush()

    async def _flush(self) -> None:
        async with self._writing:
            if data := self._tunnel.data_to_send():
                await self._below.write(data)
