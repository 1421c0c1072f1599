"""Frames are taken apart at every cut, and judged before they have come; a head must be whole."""

import pytest

from protocol.errors import HeadMalformed
from protocol.http2_frames import MAX_FRAME_BYTES, PREFACE_BYTES, Frame, FrameBroken, Frames
from protocol.http2_server import Http2Server

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
END_HEADERS = 4


def header(length: int, kind: int = 0, stream: int = 1, flags: int = 0) -> bytes:
    return length.to_bytes(3) + bytes([kind, flags]) + stream.to_bytes(4)


SETTINGS = header(0, 4, 0)
WHOLE = [SETTINGS, header(12) + b"\xff" * 12, header(0), header(3, stream=2**31 + 5) + b"abc"]
LEGAL = PREFACE + b"".join(WHOLE)


def taken(*pieces: bytes) -> list[Frame]:
    frames = Frames()
    return [frame for piece in pieces for frame in frames.take(piece) if frame.kind >= 0]


def test_every_cut() -> None:
    """Frames are the same however they are split; the highest bit of a stream's number is no part of it."""
    for cut in range(len(LEGAL) + 1):
        assert WHOLE == [frame.wire for frame in taken(LEGAL[:cut], LEGAL[cut:])]
    frames = taken(*(LEGAL[at : at + 1] for at in range(len(LEGAL))))
    assert [(4, 0, b""), (0, 1, b"\xff" * 12), (0, 1, b""), (0, 5, b"abc")] == [
        (frame.kind, frame.stream, frame.payload) for frame in frames
    ]


def test_the_preface_is_passed_on() -> None:
    """As it comes, for h2 to judge."""
    frames = Frames()
    assert PREFACE == b"".join(
        frame.wire for at in range(PREFACE_BYTES) for frame in frames.take(PREFACE[at : at + 1])
    )
    assert PREFACE_BYTES == len(PREFACE)


@pytest.mark.parametrize(
    ("size", "is_legal"), [(MAX_FRAME_BYTES, True), (MAX_FRAME_BYTES + 1, False), (2**24 - 1, False)]
)
def test_the_limit(size: int, is_legal: bool) -> None:
    """SETTINGS_MAX_FRAME_SIZE is what it is without a word of ours (RFC 9113 section 6.5.2)."""
    if is_legal:
        assert len(WHOLE) == len(taken(LEGAL, header(size)))
        return
    with pytest.raises(FrameBroken, match="too long") as raised:
        taken(LEGAL, header(size)[:3])
    assert 6 == raised.value.code


@pytest.mark.parametrize(
    ("name", "frames"),
    [
        ("PING before SETTINGS", header(8, 6, 0) + bytes(8)),
        ("an acknowledgement before SETTINGS", header(0, 4, 0, flags=1)),
        ("another frame inside a head", SETTINGS + header(0, 1) + header(8, 6, 0) + bytes(8)),
        ("a second head inside a head", SETTINGS + header(0, 1) + header(0, 1, 3)),
        ("CONTINUATION of nothing", SETTINGS + header(0, 9)),
        ("CONTINUATION behind the end", SETTINGS + header(0, 1, flags=END_HEADERS) + header(0, 9)),
    ],
)
def test_the_order_of_frames(name: str, frames: bytes) -> None:
    """RFC 9113 sections 3.4, 6.2 and 6.10: an error of the connection."""
    with pytest.raises(FrameBroken) as raised:
        taken(PREFACE, frames)
    assert 1 == raised.value.code, name


def test_where_a_head_is_under_way() -> None:
    """From its first byte to its END_HEADERS; at first until SETTINGS have come. DATA is none."""
    frames = Frames()

    def after(data: bytes) -> bool:
        assert list(frames.take(data)) is not None
        return frames.is_in_head

    assert frames.is_in_head
    assert after(PREFACE + SETTINGS[:5])
    assert not after(SETTINGS[5:])
    assert not after(header(100)[:9] + b"x")
    assert not after(b"x" * 99)
    assert after(header(10, 1)[:4])
    assert after(header(10, 1)[4:] + b"x" * 10)
    assert after(header(1, 9))
    assert after(b"x")
    assert not after(header(0, 9, flags=END_HEADERS))


def test_a_long_frame_is_refused_by_its_header() -> None:
    """FRAME_SIZE_ERROR, before 16 MiB were held for it (RFC 9113 section 4.2)."""
    server = Http2Server()
    server.receive_data(PREFACE + SETTINGS)
    server.data_to_send()
    with pytest.raises(HeadMalformed, match="too long"):
        server.receive_data(header(2**24 - 1))
    assert server.data_to_send().endswith((8).to_bytes(3) + b"\x07\0" + bytes(8) + (6).to_bytes(4))
    assert server.is_over
