"""HTTP/2 frames as a client sends them, before h2 sees them (RFC 9113 section 4).

h2 looks at a length when the frame is whole, and a length can be 16 MiB; it ends the whole connection for
what is an error of one stream only; and behind a client's GOAWAY it lets nothing more be said.
"""

from collections.abc import Iterator
from typing import Final, NamedTuple

import h2.errors

MAX_FRAME_BYTES: Final = 16_384
"""The smallest limit there is, and ours: SETTINGS_MAX_FRAME_SIZE stays as it is (RFC 9113 section 6.5.2)."""

PREFACE_BYTES: Final = 24
"""What a client says before its first frame (RFC 9113 section 3.4)."""

HEADER_BYTES: Final = 9
_LENGTH_BYTES: Final = 3
_KIND_AT: Final = 3
_FLAGS_AT: Final = 4
_STREAM_AT: Final = 5
_ACK: Final = 0x1
_END_HEADERS: Final = 0x4
_CODES = h2.errors.ErrorCodes

PREFACE, HEADERS, RST_STREAM, SETTINGS = -1, 1, 3, 4
GOAWAY, WINDOW_UPDATE, CONTINUATION = 7, 8, 9


class FrameBroken(Exception):
    """An error of the connection. Attributes: code: of RFC 9113 section 7."""

    def __init__(self, code: h2.errors.ErrorCodes, words: str) -> None:
        super().__init__(words)
        self.code = code


class Frame(NamedTuple):
    """One frame; of the preface a part. wire: all of its bytes."""

    kind: int
    stream: int
    wire: bytes

    @property
    def payload(self) -> bytes:
        """What is behind its header."""
        return self.wire[HEADER_BYTES:]


class Frames:
    """Takes a client's bytes apart, split anywhere; holds one frame at most."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._preface_bytes = PREFACE_BYTES
        self._has_begun = False
        self._is_open_head = False

    @property
    def is_in_head(self) -> bool:
        """Whether a head, or what comes before the first, has begun and is not whole."""
        is_heading = len(self._buffer) > _KIND_AT and self._buffer[_KIND_AT] in (HEADERS, CONTINUATION)
        return self._is_open_head or not self._has_begun or is_heading

    def take(self, data: bytes) -> Iterator[Frame]:
        """The frames that are whole now. Raises: FrameBroken, for a length as soon as that is known."""
        if self._preface_bytes:
            part, data = data[: self._preface_bytes], data[self._preface_bytes :]
            self._preface_bytes -= len(part)
            yield Frame(PREFACE, 0, part)
        self._buffer += data
        while len(self._buffer) >= _LENGTH_BYTES:
            length = int.from_bytes(self._buffer[:_LENGTH_BYTES])
            if length > MAX_FRAME_BYTES:
                raise FrameBroken(_CODES.FRAME_SIZE_ERROR, "a frame is too long")
            size = HEADER_BYTES + length
            if len(self._buffer) < size:
                return
            wire = bytes(self._buffer[:size])
            del self._buffer[:size]
            self._check(wire[_KIND_AT], wire[_FLAGS_AT])
            yield Frame(wire[_KIND_AT], int.from_bytes(wire[_STREAM_AT:HEADER_BYTES]) & 2**31 - 1, wire)

    def _check(self, kind: int, flags: int) -> None:
        if not self._has_begun and (kind != SETTINGS or flags & _ACK):
            # RFC 9113 section 3.4
            raise FrameBroken(_CODES.PROTOCOL_ERROR, "it does not begin with SETTINGS")
        self._has_begun = True
        if self._is_open_head != (kind == CONTINUATION):
            # RFC 9113 sections 6.2 and 6.10
            raise FrameBroken(_CODES.PROTOCOL_ERROR, "the frames of a head do not follow each other")
        if kind in (HEADERS, CONTINUATION):
            self._is_open_head = not flags & _END_HEADERS
