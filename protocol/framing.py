"""Length prefix <-> frames (docs/wire.md, section 2)."""

import struct
from typing import Final

from protocol.errors import FrameTooLarge, LocalWireError, StreamTruncated

LENGTH_BYTES: Final = 4
"""The length field: unsigned, big endian, counting what follows it."""

MAX_FRAME_BYTES: Final = 2**24 - 1
"""Largest length allowed. AES-CCM with a 12-byte nonce counts its message in 3 bytes (RFC 3610 section 2.1):
nothing larger can be sealed; and no connection can make its reader hold more than this."""

_LENGTH: Final = struct.Struct(">I")


def encode_frame(body: bytes) -> bytes:
    """Return `body` with its length before it.

    Raises: LocalWireError when `body` is over MAX_FRAME_BYTES.
    """
    if len(body) > MAX_FRAME_BYTES:
        raise LocalWireError(f"a frame of {len(body)} bytes is over the limit of {MAX_FRAME_BYTES}")
    return _LENGTH.pack(len(body)) + body


class FrameDecoder:
    """Cut a byte stream into frames (docs/wire.md, section 2).

    Call `next_frame` until it gives None after each `receive_data`: then at most one frame is held.

    Args:
        limit_bytes: largest length accepted, 1 to MAX_FRAME_BYTES.
    Raises: LocalWireError for another limit.
    """

    __slots__ = ("_ended", "_limit_bytes", "_refused", "_start", "_unread")

    def __init__(self, limit_bytes: int = MAX_FRAME_BYTES) -> None:
        if not 0 < limit_bytes <= MAX_FRAME_BYTES:
            raise LocalWireError(f"a frame limit of {limit_bytes} bytes is not within 1 to {MAX_FRAME_BYTES}")
        self._limit_bytes = limit_bytes
        # Most reads bring whole frames: those are cut from that very `bytes`, without a copy in between.
        # Only a frame that comes in pieces is collected in a bytearray, whose += copies each byte about once.
        # `_start` is where the next frame begins; with nothing left unread the buffer is empty.
        self._unread: bytes | bytearray = b""
        self._start = 0
        self._refused = False
        self._ended = False

    @property
    def unread_bytes(self) -> int:
        """How many bytes have come that no frame has been cut from yet."""
        return len(self._unread) - self._start

    @property
    def next_frame_bytes(self) -> int:
        """How long the body is that `next_frame` will give at once; 0 when it will not give any."""
        end = self.unread_bytes - LENGTH_BYTES
        if end < 0 or self._refused:
            return 0
        length_bytes: int = _LENGTH.unpack_from(self._unread, self._start)[0]
        return length_bytes if length_bytes <= min(end, self._limit_bytes) else 0

    def is_whole(self, data: bytes) -> bool:
        """Whether `data` is one frame with its length, and nothing waits before it: it need not be stored."""
        if self._unread or self._ended or self._refused or len(data) < LENGTH_BYTES:
            return False
        length_bytes: int = _LENGTH.unpack_from(data)[0]
        return length_bytes == len(data) - LENGTH_BYTES and length_bytes <= self._limit_bytes

    def receive_data(self, data: bytes | bytearray) -> None:
        """Take the next bytes of the stream, split anywhere.

        Raises: LocalWireError after `receive_eof`.
        """
        if self._ended:
            raise LocalWireError(f"{len(data)} bytes were given after the end of the stream")
        if self._refused:
            return  # nothing behind a refused length can be read, so nothing of it is stored
        unread = self._unread
        if not unread:
            self._unread = data if isinstance(data, bytes) else bytes(data)  # a caller's bytearray may change
            return
        if isinstance(unread, bytes):
            unread = self._unread = bytearray(memoryview(unread)[self._start :])
        elif self._start:
            del unread[: self._start]
        self._start = 0
        unread += data

    def next_frame(self) -> bytes | None:
        """Return the body of one whole frame, or None until more bytes arrive (or the stream ended cleanly).

        Raises:
            FrameTooLarge: as soon as the length is read, before the body is stored; again at later calls.
            StreamTruncated: after `receive_eof`, once only part of a frame is left.
        """
        unread = self._unread
        if not unread:
            return None
        length_bytes = self._announced_bytes()
        if length_bytes is not None:
            start = self._start + LENGTH_BYTES
            end = start + length_bytes
            if end <= len(unread):
                if isinstance(unread, bytes):
                    frame = unread[start:end]
                else:
                    frame = bytes(memoryview(unread)[start:end])  # slicing it first would copy twice
                self._start = end
                if end == len(unread):
                    self._unread = b""
                    self._start = 0
                return frame
        if self._ended:
            raise self._truncated(length_bytes)
        return None

    def receive_eof(self) -> None:
        """Take the end of the stream. Whole frames not read yet are still given by `next_frame`.

        Raises:
            StreamTruncated: part of a frame is held; behind whole frames, `next_frame` raises it after them.
            FrameTooLarge: the next thing to read is a length over the limit.
        """
        self._ended = True
        if not self._unread:
            return
        length_bytes = self._announced_bytes()
        if length_bytes is None or self.unread_bytes < LENGTH_BYTES + length_bytes:
            raise self._truncated(length_bytes)

    def _announced_bytes(self) -> int | None:
        """Return the length of the frame to read next, None while its length field is not whole."""
        if len(self._unread) - self._start < LENGTH_BYTES:
            return None
        length_bytes: int = _LENGTH.unpack_from(self._unread, self._start)[0]
        if length_bytes > self._limit_bytes:
            # Keep the length, so that it is refused again, and let go of what stands behind it.
            self._refused = True
            self._unread = bytes(self._unread[self._start : self._start + LENGTH_BYTES])
            self._start = 0
            raise FrameTooLarge(length_bytes, self._limit_bytes)
        return length_bytes

    def _truncated(self, length_bytes: int | None) -> StreamTruncated:
        rest = self.unread_bytes
        if length_bytes is None:
            return StreamTruncated(f"the stream ended inside a frame's length, after {rest} bytes of it")
        rest -= LENGTH_BYTES
        return StreamTruncated(f"the stream ended after {rest} of the {length_bytes} bytes of a frame")
