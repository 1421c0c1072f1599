"""The lengths of HTTP/2 frames, judged as soon as they are told (RFC 9113 section 4.2)."""

from typing import Final

MAX_FRAME_BYTES: Final = 16_384
"""The smallest limit there is, and ours: SETTINGS_MAX_FRAME_SIZE stays as it is (RFC 9113 section 6.5.2)."""

PREFACE_BYTES: Final = 24
"""What a client says before its first frame (RFC 9113 section 3.4)."""

HEADER_BYTES: Final = 9
_LENGTH_BYTES: Final = 3


class FrameLengths:
    """Follow a client's bytes from frame to frame.

    h2 looks at a length when the frame is whole, and a length can be 16 MiB: so much would be held first.
    """

    def __init__(self) -> None:
        self._header = bytearray()
        self._passing_bytes = PREFACE_BYTES

    def are_legal(self, data: bytes) -> bool:
        """Take the next bytes, split anywhere; False when a frame is too long."""
        at = 0
        while True:
            passed = min(self._passing_bytes, len(data) - at)
            at += passed
            self._passing_bytes -= passed
            if at == len(data):
                return True
            part = data[at : at + HEADER_BYTES - len(self._header)]
            self._header += part
            at += len(part)
            if len(self._header) < HEADER_BYTES:
                return True
            self._passing_bytes = int.from_bytes(self._header[:_LENGTH_BYTES])
            self._header.clear()
            if self._passing_bytes > MAX_FRAME_BYTES:
                return False
