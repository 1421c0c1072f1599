"""The body of a refusal: where it ends, and whether another request may follow it (RFC 9112 section 6.3).

h11 is not used here: over white space in a chunk's first line it takes quadratic time (2 s for 32 kB, half
an hour for the most that we would read), and which lines are too long for it depends on the splits.
"""

import re
from collections.abc import Iterable
from typing import Final

from protocol.reply import Reply

MAX_LINE_BYTES: Final = 4_096
"""Of a chunk's first line, extensions included, and of a line of the trailer; a normal one has under 10."""

_CHUNK_SIZE: Final = re.compile(rb"([0-9A-Fa-f]{1,16})[ \t]*(?:;.*)?", re.DOTALL)


class BodyReader:
    """Take one body off the stream. After `is_complete` or `is_broken` it takes nothing more.

    Attributes:
        is_complete: the body's last byte has come.
        is_broken: the chunks have no proper form.
        unread: bytes that came behind the body.
    """

    __slots__ = ("_is_chunked", "_left", "_line_is", "_searched", "is_broken", "is_complete", "unread")

    def __init__(self, reply: Reply) -> None:
        length = reply.header("Content-Length")
        self._is_chunked = reply.header("Transfer-Encoding") is not None
        self._left: int | None = None  # bytes to come of the body, or of the chunk; None: all until the end
        if self._is_chunked or reply.status == 304:
            self._left = 0
        elif length is not None:
            self._left = int(length)
        self._line_is = "size"  # what the next line of a chunked body has to be: "size", "end" or "trailer"
        self._searched = 0
        self.is_broken = False
        self.is_complete = self._left == 0 and not self._is_chunked
        self.unread = bytearray()

    def receive_data(self, data: bytes) -> bytes:
        """Take the next bytes, split anywhere, and return those of the content."""
        self.unread += data
        if not self._is_chunked:
            content = b"" if self.is_complete else self._take()
            self.is_complete = self._left == 0
            return content
        pieces = []
        while not (self.is_complete or self.is_broken):
            if self._left:
                if not self.unread:
                    break
                pieces.append(self._take())
            elif (line := self._next_line()) is not None:
                self._read_line(line)
            else:
                break
        return b"".join(pieces)

    def receive_eof(self) -> None:
        """Take the end of the stream: it completes a body that has no length of its own."""
        self.is_complete = self.is_complete or self._left is None

    def _take(self) -> bytes:
        piece = bytes(self.unread[: self._left])
        del self.unread[: len(piece)]
        if self._left is not None:
            self._left -= len(piece)
        return piece

    def _next_line(self) -> bytes | None:
        end = self.unread.find(b"\n", self._searched)
        if max(end, len(self.unread) - 1 if end < 0 else 0) > MAX_LINE_BYTES:
            self.is_broken = True
            return None
        if end < 0:
            self._searched = len(self.unread)
            return None
        line = bytes(self.unread[:end])
        del self.unread[: end + 1]
        self._searched = 0
        return line.removesuffix(b"\r")

    def _read_line(self, line: bytes) -> None:
        if self._line_is == "size":
            size = _CHUNK_SIZE.fullmatch(line)
            self.is_broken = size is None
            self._left = int(size[1], 16) if size else 0
            self._line_is = "end" if self._left else "trailer"
        elif self._line_is == "end":
            self.is_broken = line != b""
            self._line_is = "size"
        else:
            self.is_complete = line == b""


def keeps_connection(reply: Reply) -> bool:
    """Whether another request may follow on the same connection, once the body is read.

    Source: RFC 9112 sections 6.1, 6.3 and 9.3; Proxy-Connection as proxies send it (RFC 9112 appendix C.2.2).
    """
    lengths, codings = reply.all("Content-Length"), reply.all("Transfer-Encoding")
    options = connection_options(reply.headers)
    if bool(lengths) == bool(codings) or "close" in options:
        return False  # no end but that of the connection; or two ends, which is how replies are smuggled
    if reply.http_version == "1.0":
        return "keep-alive" in options and not codings
    return True


def connection_options(headers: Iterable[tuple[str, str]]) -> set[str]:
    """Return what Connection and Proxy-Connection say, in lower case."""
    values = [value for name, value in headers if name.lower() in ("connection", "proxy-connection")]
    return {option.strip().lower() for value in values for option in value.split(",")}
