"""BlockingStream: an open byte pipe for plain threads, plain or TLS."""

import contextlib
import socket
import ssl
import threading
import time
from typing import Protocol

from relay.dial import reset_socket
from relay.tls import TlsCore

CHUNK_BYTES = 65_536


class BlockingStream(Protocol):
    """An open byte pipe; one thread may read while another writes."""

    def set_deadline(self, monotonic_seconds: float | None) -> None:
        """Until when reads and writes may wait (time.monotonic()); None is without a limit."""

    def read(self, limit_bytes: int = CHUNK_BYTES) -> bytes:
        """Up to `limit_bytes`; b"" when the peer has said its last word. Raises: OSError, TimeoutError."""

    def write(self, data: bytes) -> None:
        """Hand all of `data` to the kernel. Raises: OSError, TimeoutError."""

    def poll(self) -> bytes | None:
        """What has come already, without waiting; None when nothing has. Raises: OSError."""

    def half_close(self) -> None:
        """Say our last word (FIN); reading goes on."""

    def unread(self, data: bytes) -> None:
        """Put bytes back in front of the next read."""

    def reset(self) -> None:
        """End with RST: the peer must not take this for a clean end."""

    def close(self) -> None:
        """End cleanly."""

    def fileno_socket(self) -> socket.socket:
        """The socket underneath, for what only the kernel knows."""


class SocketPipe:
    """A BlockingStream on a connected TCP socket, which it owns."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._unread = b""
        self._deadline: float | None = None

    def set_deadline(self, monotonic_seconds: float | None) -> None:
        self._deadline = monotonic_seconds
        if monotonic_seconds is None:
            self._sock.settimeout(None)

    def read(self, limit_bytes: int = CHUNK_BYTES) -> bytes:
        if self._unread:
            data, self._unread = self._unread[:limit_bytes], self._unread[limit_bytes:]
            return data
        self._arm()
        return self._sock.recv(limit_bytes)

    def write(self, data: bytes) -> None:
        self._arm()
        self._sock.sendall(data)

    def poll(self) -> bytes | None:
        data, self._unread = self._unread, b""
        self._sock.settimeout(0.0)
        try:
            return data or self._sock.recv(CHUNK_BYTES)
        except BlockingIOError:
            return None
        finally:
            self.set_deadline(self._deadline)

    def half_close(self) -> None:
        # ENOTCONN: the peer has reset meanwhile; the reader will see that
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_WR)

    def unread(self, data: bytes) -> None:
        self._unread = data + self._unread

    def reset(self) -> None:
        reset_socket(self._sock)

    def close(self) -> None:
        self._sock.close()

    def fileno_socket(self) -> socket.socket:
        return self._sock

    def _arm(self) -> None:
        if self._deadline is not None:
            left = self._deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError
            self._sock.settimeout(left)


class TlsPipe:
    """A BlockingStream inside TLS on any other BlockingStream."""

    def __init__(self, below: BlockingStream, context: ssl.SSLContext, server_hostname: str) -> None:
        self._below = below
        self._core = TlsCore(context, server_hostname)
        self._unread = b""
        self._writing = threading.Lock()

    def handshake(self) -> None:
        """Raises: ssl.SSLError, OSError, TimeoutError."""
        done = False
        while not done:
            try:
                done = self._core.handshake()
            finally:
                # An alert that says why we refuse must still go out
                with contextlib.suppress(OSError):
                    self._flush()
            if not done:
                self._core.receive_data(self._below.read())

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

    def set_deadline(self, monotonic_seconds: float | None) -> None:
        self._below.set_deadline(monotonic_seconds)

    def read(self, limit_bytes: int = CHUNK_BYTES) -> bytes:
        if not self._unread:
            while (data := self._core.decrypt()) is None:
                self._flush()
                self._core.receive_data(self._below.read())
            self._unread = data
        data, self._unread = self._unread[:limit_bytes], self._unread[limit_bytes:]
        return data

    def write(self, data: bytes) -> None:
        self._core.encrypt(data)
        self._flush()

    def poll(self) -> bytes | None:
        data, self._unread = self._unread, b""
        return data or self._core.poll(self._below.poll)

    def half_close(self) -> None:
        self._core.close_notify()
        with contextlib.suppress(OSError):
            self._flush()
        self._below.half_close()

    def unread(self, data: bytes) -> None:
        self._unread = data + self._unread

    def reset(self) -> None:
        self._below.reset()

    def close(self) -> None:
        self._core.close_notify()
        with contextlib.suppress(OSError):
            self._flush()
        self._below.close()

    def fileno_socket(self) -> socket.socket:
        return self._below.fileno_socket()

    def _flush(self) -> None:
        with self._writing:
            if data := self._core.data_to_send():
                self._below.write(data)
