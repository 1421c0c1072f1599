"""Where the body of a message ends (RFC 9112 sections 6.2, 6.3 and 7.1). Bytes only.

Every byte is looked at a bounded number of times, however it comes: what is read here is a stranger's.
"""

import re

from relay.refusal import malformed, too_large
from relay.refused import Refused
from relay.request_head import MAX_BODY_BYTES, read_field

# A size and its extensions; nobody has a use for extensions, and RFC 9112 section 7.1.1 wants them limited.
MAX_CHUNK_LINE_BYTES = 4096
MAX_TRAILER_BYTES = 65_536

_CHUNK_LINE = re.compile(rb"([0-9A-Fa-f]+)(?:[ \t]*;[\t\x20-\x7e\x80-\xff]*)?\Z")
# Old servers write sizes of always the same width.
_PADDED_CHUNK_LINE = re.compile(rb"([0-9A-Fa-f]+)[ \t]*(?:;[\t\x20-\x7e\x80-\xff]*)?\Z")


class SizedBody:
    """A body of `left_bytes`, maybe none."""

    def __init__(self, left_bytes: int) -> None:
        self._left_bytes = left_bytes

    @property
    def is_done(self) -> bool:
        """Whether all of it was taken."""
        return not self._left_bytes

    def take(self, held: bytearray) -> bytes:
        """Remove what belongs to the body from the front of `held`, and return it."""
        data = bytes(held[: self._left_bytes])
        del held[: len(data)]
        self._left_bytes -= len(data)
        return data

    take_data = take


class EndlessBody:
    """A body that ends with its connection; who sees that end sets `is_done`."""

    def __init__(self) -> None:
        self.is_done = False

    def take_data(self, held: bytearray) -> bytes:
        """Remove and return all there is."""
        data = bytes(held)
        held.clear()
        return data


class ChunkedBody:
    """A chunked body. What comes out is chunked anew, so that nobody behind us reads a size of the sender's.

    Extensions and trailer fields are checked and left out (RFC 9112 section 7.1.1, RFC 9110 section 6.5.1).

    Args: may_be_padded: white space behind a size is borne with.
    """

    def __init__(self, *, may_be_padded: bool = False) -> None:
        self.is_done = False
        self._size_line = _PADDED_CHUNK_LINE if may_be_padded else _CHUNK_LINE
        self._left_bytes = 0
        self._expects_line_end = False
        self._in_trailers = False
        self._trailer_bytes = 0

    def take(self, held: bytearray) -> bytes:
        """Remove what belongs to the body from the front of `held`, and return it as one chunk of our own.

        Raises: Refused
        """
        data = self.take_data(held)
        chunk = b"%x\r\n%b\r\n" % (len(data), data) if data else b""
        return chunk + b"0\r\n\r\n" if self.is_done else chunk

    def take_data(self, held: bytearray) -> bytes:
        """As `take`, without any framing. Raises: Refused"""
        data, at = bytearray(), 0
        while not self.is_done:
            if self._left_bytes:
                piece = held[at : at + self._left_bytes]
                data += piece
                at += len(piece)
                self._left_bytes -= len(piece)
                if self._left_bytes:
                    break
            end = held.find(b"\n", at)
            if end < 0:
                self._check_length(len(held) - at)
                if self._expects_line_end and bytes(held[at:]) not in (b"", b"\r"):
                    raise Refused(malformed("a chunk is longer than its size"))
                break
            self._accept_line(bytes(held[at : end + 1]))
            at = end + 1
        del held[:at]
        return bytes(data)

    def _accept_line(self, line: bytes) -> None:
        self._check_length(len(line))
        if not line.endswith(b"\r\n"):
            raise Refused(malformed("a line of the chunked body ends with a bare LF"))
        text = line[:-2]
        if self._in_trailers:
            self._trailer_bytes += len(line)
            self.is_done = not text
            if text:
                read_field(text)
        elif self._expects_line_end:
            if text:
                raise Refused(malformed("a chunk is longer than its size"))
            self._expects_line_end = False
        else:
            self._left_bytes = _chunk_size(self._size_line.match(text))
            self._expects_line_end = bool(self._left_bytes)
            self._in_trailers = not self._left_bytes

    def _check_length(self, line_bytes: int) -> None:
        if self._in_trailers:
            if self._trailer_bytes + line_bytes > MAX_TRAILER_BYTES:
                raise Refused(too_large(f"the trailer section is beyond {MAX_TRAILER_BYTES} bytes"))
        elif line_bytes > MAX_CHUNK_LINE_BYTES:
            raise Refused(malformed(f"a chunk's size and extensions are beyond {MAX_CHUNK_LINE_BYTES} bytes"))


def _chunk_size(match: re.Match[bytes] | None) -> int:
    if match is None:
        raise Refused(malformed("a chunk size is not a hexadecimal number"))
    digits = match[1].lstrip(b"0") or b"0"
    if len(digits) > 16 or int(digits, 16) > MAX_BODY_BYTES:
        raise Refused(malformed("a chunk size is beyond all limits"))
    return int(digits, 16)
