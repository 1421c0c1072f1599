"""A BlockingStream inside an HTTP/2 tunnel (RFC 9113 section 8.5), for threads."""

import contextlib
import socket
import threading
import time
from collections.abc import Callable

from protocol.http2 import Http2Tunnel
from relay.http2_errors import HALF_CLOSED_SECONDS, as_os_errors
from relay.pipe import CHUNK_BYTES, BlockingStream


class Http2Pipe:
    """A BlockingStream on an open Http2Tunnel, on any other BlockingStream, which it owns."""

    def __init__(self, below: BlockingStream, tunnel: Http2Tunnel) -> None:
        self._below = below
        self._tunnel = tunnel
        self._unread = b""
        self._deadline: float | None = None
        # Guards the tunnel; one thread at a time reads from below, and the other waits for what it brings
        self._changed = threading.Condition()
        self._is_reading = False
        self._writing = threading.Lock()
        self._news_at = 0.0
        self._waiting: threading.Thread | None = None
        self._is_closed = threading.Event()
        self._was_given_up = False

    def set_deadline(self, monotonic_seconds: float | None) -> None:
        self._deadline = monotonic_seconds
        self._below.set_deadline(monotonic_seconds)

    def read(self, limit_bytes: int = CHUNK_BYTES) -> bytes:
        if not self._unread:
            try:
                while (data := self._read_now(limit_bytes)) is None:
                    self._feed(lambda: self._tunnel.has_news)
            except OSError:
                if not self._was_given_up:
                    raise
                data = b""  # the end that we have made ourselves may look like a broken connection
            if self._was_given_up and not data:
                raise TimeoutError(f"nothing came for {HALF_CLOSED_SECONDS:g} s after our last word")
            self._flush()  # the window that reading gives back
            self._unread = data
        data, self._unread = self._unread[:limit_bytes], self._unread[limit_bytes:]
        return data

    def write(self, data: bytes) -> None:
        while data:
            with self._changed, as_os_errors():
                data = data[self._tunnel.write(data) :]
            self._flush()
            if data:
                self._feed(lambda: self._tunnel.has_room)

    def poll(self) -> bytes | None:
        data, self._unread = self._unread, b""
        while not data:
            if (news := self._read_now(CHUNK_BYTES)) is not None:
                return news
            came = self._below.poll()
            if came is None:
                return None
            with self._changed, as_os_errors():
                self._tunnel.receive_data(came)
        return data

    def half_close(self) -> None:
        with self._changed:
            self._tunnel.end()
        with contextlib.suppress(OSError):
            self._flush()
        if self._waiting is None and not self._is_closed.is_set():
            self._news_at = time.monotonic()
            # Whoever reads may be waiting without a limit by now, so another must end it
            self._waiting = threading.Thread(target=self._give_up, name="http2 half-closed", daemon=True)
            self._waiting.start()

    def unread(self, data: bytes) -> None:
        self._unread = data + self._unread

    def reset(self) -> None:
        self._forget()
        self._below.reset()

    def close(self) -> None:
        self._forget()
        self.half_close()
        self._below.close()

    def fileno_socket(self) -> socket.socket:
        return self._below.fileno_socket()

    def _give_up(self) -> None:
        """End the connection when nothing has come for long enough after our last word."""
        while (left := self._news_at + HALF_CLOSED_SECONDS - time.monotonic()) > 0:
            if self._is_closed.wait(left):
                return
        self._was_given_up = True
        with contextlib.suppress(OSError):
            self._below.fileno_socket().shutdown(socket.SHUT_RDWR)

    def _forget(self) -> None:
        self._is_closed.set()
        if self._waiting is not None:
            self._waiting.join()

    def _read_now(self, limit_bytes: int) -> bytes | None:
        with self._changed, as_os_errors():
            return self._tunnel.read(limit_bytes)

    def _feed(self, is_enough: Callable[[], bool]) -> None:
        """Read once from below, or wait until the other thread has.

        A writer without room reads as well: the window that it waits for comes the same way as the data.
        """
        with self._changed:
            if is_enough():
                return
            if self._is_reading:
                left = None if self._deadline is None else self._deadline - time.monotonic()
                if (left is not None and left <= 0) or not self._changed.wait(left):
                    raise TimeoutError
                return
            self._is_reading = True
        data = None
        try:
            data = self._below.read()
            self._news_at = time.monotonic()
        finally:
            # In one go, so that no other thread reads the bytes behind these before they are in
            with self._changed, as_os_errors():
                self._is_reading = False
                self._changed.notify_all()
                if data is not None:
                    self._tunnel.receive_data(data)
        self._flush()

    def _flush(self) -> None:
        with self._writing:
            with self._changed:
                data = self._tunnel.data_to_send()
            if data:
                self._below.write(data)
