"""LineLog: lines to a descriptor whose reader may be slow, or gone: what serves must never wait for it."""

import asyncio
import contextlib
import os
import select
import stat
import time
from collections.abc import Callable

# Of lines that wait for a slow reader.
LIMIT_BYTES = 4 * 2**20
# A pipe that poll(2) calls writable takes so much at once, and no line of another writer between (pipe(7)).
_PIECE_BYTES = 4096
_LAST_WORDS_SECONDS = 1.0


class LineLog:
    """Writes whole lines without ever making the event loop wait.

    A full pipe blocks its writer (pipe(7)), and O_NONBLOCK would be set for everybody who shares it. So
    poll(2) is asked first, and what does not fit waits here, up to `limit_bytes`; lines beyond that are lost,
    and told by the line that `lost` makes of their count. What is called outside an event loop does wait.

    Args: on_failure: called when a write has failed (full disk, reader gone), once until one succeeds again.
    """

    def __init__(
        self,
        fd: int,
        on_failure: Callable[[OSError], None],
        lost: Callable[[int], str],
        limit_bytes: int = LIMIT_BYTES,
    ) -> None:
        self._fd = fd
        self._on_failure = on_failure
        self._lost_words = lost
        self._limit_bytes = limit_bytes
        self._waiting = bytearray()
        self._lost = 0
        self._has_failed = False
        self._loop: asyncio.AbstractEventLoop | None = None
        # A disk is always writable for poll(2), and epoll(7) refuses it
        self._may_block = not stat.S_ISREG(os.fstat(fd).st_mode)

    def write(self, line: str) -> None:
        """Write one line; its end is added here."""
        data = line.encode("utf-8", "backslashreplace") + b"\n"
        if not (self._may_block or self._waiting or self._lost or self._has_failed):
            # A file takes it at once; what fails is tried again, and told, below
            with contextlib.suppress(OSError):
                data = data[os.write(self._fd, data) :]
            if not data:
                return
        if self._lost or len(self._waiting) + len(data) > self._limit_bytes:
            self._lost += 1
            return
        self._waiting += data
        if self._loop is None:
            self._go_on()

    def close(self, wait_seconds: float = _LAST_WORDS_SECONDS) -> None:
        """Give a slow reader this long to take what waits; then it is lost. The descriptor stays open."""
        self._ignore_the_reader()
        deadline = time.monotonic() + wait_seconds
        while self._waiting or self._lost:
            left = deadline - time.monotonic()
            if left <= 0 or not self._is_writable(left):
                break
            self._write_piece()

    def _go_on(self) -> None:
        """Write until nothing waits or the reader is slow; then go on when it has taken something."""
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            loop = None
        while self._waiting or self._lost:
            if loop is not None and not self._is_writable(0):
                if self._loop is None:
                    self._loop = loop
                    loop.add_writer(self._fd, self._go_on)
                return
            self._write_piece()
        self._ignore_the_reader()

    def _is_writable(self, wait_seconds: float) -> bool:
        if not self._may_block:
            return True
        poll = select.poll()
        poll.register(self._fd, select.POLLOUT)
        return bool(poll.poll(wait_seconds * 1000))

    def _write_piece(self) -> None:
        if self._lost and not self._waiting:
            self._waiting += f"{self._lost_words(self._lost)}\n".encode()
            self._lost = 0
        try:
            written = os.write(self._fd, self._piece())
        except BlockingIOError:
            # Somebody else has made it non-blocking, and somebody has filled it since we asked
            return
        except OSError as error:
            self._waiting.clear()
            self._lost = 0
            if not self._has_failed:
                self._has_failed = True
                self._on_failure(error)
            return
        self._has_failed = False
        del self._waiting[:written]

    def _piece(self) -> bytes:
        if not self._may_block:
            return bytes(self._waiting)
        end = self._waiting.rfind(b"\n", 0, _PIECE_BYTES)
        return bytes(self._waiting[: end + 1 or _PIECE_BYTES])

    def _ignore_the_reader(self) -> None:
        if self._loop is not None and not self._loop.is_closed():
            self._loop.remove_writer(self._fd)
        self._loop = None
