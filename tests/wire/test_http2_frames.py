"""The lengths of frames are judged before the frames have come, at every cut."""

import pytest

from protocol.errors import HeadMalformed
from protocol.http2_frames import MAX_FRAME_BYTES, PREFACE_BYTES, FrameLengths
from protocol.http2_server import Http2Server

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


def header(length: int, kind: int = 0, stream: int = 1) -> bytes:
    return length.to_bytes(3) + bytes([kind, 0]) + stream.to_bytes(4)


LEGAL = PREFACE + header(0, 4, 0) + header(12) + b"\xff" * 12 + header(0) + header(3) + b"abc"


def test_every_cut() -> None:
    """Legal lengths stay legal however they are split, and bytes of a frame are never taken for a length."""
    for cut in range(len(LEGAL) + 1):
        lengths = FrameLengths()
        assert lengths.are_legal(LEGAL[:cut])
        assert lengths.are_legal(LEGAL[cut:])
    lengths = FrameLengths()
    assert all(lengths.are_legal(LEGAL[at : at + 1]) for at in range(len(LEGAL)))


@pytest.mark.parametrize(
    ("size", "is_legal"), [(MAX_FRAME_BYTES, True), (MAX_FRAME_BYTES + 1, False), (2**24 - 1, False)]
)
def test_the_limit(size: int, is_legal: bool) -> None:
    """SETTINGS_MAX_FRAME_SIZE is what it is without a word of ours (RFC 9113 section 6.5.2)."""
    assert PREFACE_BYTES == len(PREFACE)
    assert is_legal == FrameLengths().are_legal(LEGAL + header(size))


def test_a_long_frame_is_refused_by_its_header() -> None:
    """FRAME_SIZE_ERROR, before 16 MiB were held for it (RFC 9113 section 4.2)."""
    server = Http2Server()
    server.receive_data(PREFACE + header(0, 4, 0))
    server.data_to_send()
    with pytest.raises(HeadMalformed, match="too long"):
        server.receive_data(header(2**24 - 1))
    assert server.data_to_send().endswith((8).to_bytes(3) + b"\x07\0" + bytes(8) + (6).to_bytes(4))
    assert server.is_over
