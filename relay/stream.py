"""Stream: an open byte pipe on a raw non-blocking socket, plain or TLS, driven by asyncio.

Raw sockets instead of asyncio transports, because a transport that fails to write throws away what it
could still read, and a tunnel owes those bytes to the other side.
"""

import asyncio
import contextlib
import ssl
from socket import SHUT_WR, socket
from typing import Protocol

from relay.dial import reset_socket
from relay.tls import TlsCore

CHUNK_BYTES = 65_536


class Stream(Protocol):
    """Read, write, half-close, reset. One task may read while another writes."""

    async def read(self, limit_bytes: int = CHUNK_BYTES) -> bytes:
        """Up to `limit_bytes`; b"" when the peer has said its last word. Raises: OSError."""

    async def write(self, data: bytes) -> None:
        """Hand all of `data` to the kernel; waits while the peer does not read. Raises: OSError."""

    def poll(self) -> bytes | None:
        """What has come already, without waiting; None when nothing has. No task may read meanwhile.

        Raises: OSError
        """

    async def half_close(self) -> None:
        """Say our last word (FIN); reading goes on."""

    def unread(self, data: bytes) -> None:
        """Put bytes back in front of the next read."""

    def reset(self) -> None:
        """End with RST: the peer must not take this for a clean end."""

    async def aclose(self) -> None:
        """End cleanly. Cancel a task that still reads or writes first."""

    def fileno_socket(self) -> socket:
        """The socket underneath, for what only the kernel knows (getpeername, TCP_INFO, SIOCOUTQ)."""


class SharedStream:
    """Marks a Stream that is one of several on a connection: a reset of the socket would end the others."""


class SocketStream:
    """A Stream on a connected, non-blocking TCP socket, which it owns."""

    def __init__(self, sock: socket, leftover: bytes = b"") -> None:
        self._sock = sock
        self._unread = leftover
        self._loop = asyncio.get_running_loop()

    async def read(self, limit_bytes: int = CHUNK_BYTES) -> bytes:
        if self._unread:
            data, self._unread = self._unread[:limit_bytes], self._unread[limit_bytes:]
            return data
        return await self._loop.sock_recv(self._sock, limit_bytes)

    async def write(self, data: bytes) -> None:
        await self._loop.sock_sendall(self._sock, data)

    def poll(self) -> bytes | None:
        data, self._unread = self._unread, b""
        try:
            return data or self._sock.recv(CHUNK_BYTES)
        except BlockingIOError:
            return None

    async def half_close(self) -> None:
        # ENOTCONN: the peer has reset meanwhile; the reader will see that
        with contextlib.suppress(OSError):
            self._sock.shutdown(SHUT_WR)

    def unread(self, data: bytes) -> None:
        self._unread = data + self._unread

    def reset(self) -> None:
        reset_socket(self._sock)

    async def aclose(self) -> None:
        self._sock.close()

    def fileno_socket(self) -> socket:
        return self._sock

    def detach(self) -> tuple[socket, bytes]:
        """Give the socket away, with the bytes that were put back and not read yet."""
        unread, self._unread = self._unread, b""
        return self._sock, unread


class TlsStream:
    """A Stream inside TLS on any other Stream. Args: server_hostname: None: we are the server."""

    def __init__(self, below: Stream, context: ssl.SSLContext, server_hostname: str | None) -> None:
        self._below = below
        self._core = TlsCore(context, server_hostname)
        self._unread = b""
        self._writing = asyncio.Lock()

    async def handshake(self) -> None:
        """Raises: ssl.SSLError, OSError."""
        done = False
        while not done:
            try:
                done = self._core.handshake()
            finally:
                # An alert that says why we refuse must still go out
                with contextlib.suppress(OSError):
                    await self._flush()
            if not done:
                self._core.receive_data(await self._below.read())

    @property
    def alpn(self) -> str | None:
        """What ALPN has settled on, after the handshake."""
        return self._core.alpn

    @property
    def certificate(self) -> bytes | None:
        """The peer's certificate (DER), after the handshake."""
        return self._core.certificate

    @property
    def ended_without_close_notify(self) -> bool:
        """Whether the peer's last word was none of TLS (RFC 8446 section 6.1): perhaps it was cut off."""
        return self._core.ended_without_close_notify

    async def read(self, limit_bytes: int = CHUNK_BYTES) -> bytes:
        if not self._unread:
            while (data := self._core.decrypt()) is None:
                # Reading can make TLS answer (key update), so flush before waiting
                await self._flush()
                self._core.receive_data(await self._below.read())
            self._unread = data
        data, self._unread = self._unread[:limit_bytes], self._unread[limit_bytes:]
        return data

    async def write(self, data: bytes) -> None:
        self._core.encrypt(data)
        await self._flush()

    def poll(self) -> bytes | None:
        data, self._unread = self._unread, b""
        return data or self._core.poll(self._below.poll)

    async def half_close(self) -> None:
        self._core.close_notify()
        with contextlib.suppress(OSError):
            await self._flush()
        await self._below.half_close()

    def unread(self, data: bytes) -> None:
        self._unread = data + self._unread

    def reset(self) -> None:
        self._below.reset()

    async def aclose(self) -> None:
        self._core.close_notify()
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(1.0):
                await self._flush()
        await self._below.aclose()

    def fileno_socket(self) -> socket:
        return self._below.fileno_socket()

    async def _flush(self) -> None:
        async with self._writing:
            if data := self._core.data_to_send():
                await self._below.write(data)
