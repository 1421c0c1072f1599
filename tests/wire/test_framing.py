"""Frames: any cut, any limit, any end; bounded memory and work."""

import re
import tracemalloc
from itertools import pairwise
from typing import Any, SupportsIndex

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol import FrameDecoder, FrameTooLarge, LocalWireError, StreamTruncated, encode_frame, framing
from protocol.framing import LENGTH_BYTES, MAX_FRAME_BYTES

BODIES = [b"", b"a", b"bc" * 20, b"", b"last"]
WIRE = b"".join(map(encode_frame, BODIES))
ENDS = [sum(LENGTH_BYTES + len(body) for body in BODIES[:count]) for count in range(len(BODIES) + 1)]

bodies = st.lists(st.binary(max_size=60), max_size=8)
quick = settings(deadline=None, max_examples=60)


def drain(decoder: FrameDecoder) -> list[bytes]:
    frames = []
    while (frame := decoder.next_frame()) is not None:
        frames.append(frame)
    return frames


def split(data: bytes, cuts: list[int]) -> list[bytes]:
    """Cut `data` at each of `cuts`, taken modulo its length."""
    places = sorted({cut % (len(data) + 1) for cut in cuts} | {0, len(data)})
    return [data[start:end] for start, end in pairwise(places)]


@pytest.mark.parametrize("cut", range(len(WIRE) + 1))
def test_frames_survive_any_cut(cut: int) -> None:
    """Frames split at any byte come out whole, once and in order; the rest is counted as unread."""
    decoder = FrameDecoder()
    decoder.receive_data(WIRE[:cut])
    frames = drain(decoder)
    assert BODIES[: len(frames)] == frames
    assert cut - max(end for end in ENDS if end <= cut) == decoder.unread_bytes
    decoder.receive_data(WIRE[cut:])
    assert frames + drain(decoder) == BODIES
    assert decoder.unread_bytes == 0


@quick
@given(bodies=bodies, cuts=st.lists(st.integers(0, 500)), lazy=st.booleans())
def test_any_split_gives_the_same_frames(bodies: list[bytes], cuts: list[int], lazy: bool) -> None:
    """How the stream is split, and when frames are asked for, changes nothing."""
    decoder = FrameDecoder()
    frames = []
    for piece in split(b"".join(map(encode_frame, bodies)), cuts):
        decoder.receive_data(piece)
        if not lazy:
            frames += drain(decoder)
    assert bodies == frames + drain(decoder)
    decoder.receive_eof()


@pytest.mark.parametrize("cut", range(len(WIRE) + 1))
@pytest.mark.parametrize("drained", [True, False])
def test_an_end_inside_a_frame_is_told_at_every_cut(cut: int, drained: bool) -> None:
    """An end between frames is clean; inside one it is StreamTruncated, after the whole frames before it."""
    decoder = FrameDecoder()
    decoder.receive_data(WIRE[:cut])
    frames = drain(decoder) if drained else []
    error: StreamTruncated | None = None
    try:
        decoder.receive_eof()
        while (frame := decoder.next_frame()) is not None:
            frames.append(frame)
    except StreamTruncated as caught:
        error = caught
    assert [body for body, end in zip(BODIES, ENDS[1:], strict=True) if end <= cut] == frames
    assert (cut not in ENDS) == (error is not None)
    if error is not None:
        with pytest.raises(StreamTruncated, match=re.escape(str(error))):
            decoder.next_frame()


def test_nothing_comes_after_the_end() -> None:
    """Data after the end is a mistake of the caller, and is said so; a second end is harmless."""
    decoder = FrameDecoder()
    decoder.receive_eof()
    decoder.receive_eof()
    with pytest.raises(LocalWireError, match="3 bytes"):
        decoder.receive_data(b"abc")
    assert None is decoder.next_frame()


@pytest.mark.parametrize("limit", [1, 40, 65_535, MAX_FRAME_BYTES])
def test_the_limit_itself_is_allowed_and_one_more_is_not(limit: int) -> None:
    """A frame of exactly the limit passes; the header alone of one more is refused, with both numbers."""
    decoder = FrameDecoder(limit)
    decoder.receive_data(limit.to_bytes(LENGTH_BYTES))
    assert None is decoder.next_frame()
    decoder = FrameDecoder(limit)
    decoder.receive_data((limit + 1).to_bytes(LENGTH_BYTES))
    with pytest.raises(FrameTooLarge) as caught:
        decoder.next_frame()
    assert (limit + 1, limit) == (caught.value.length_bytes, caught.value.limit_bytes)


@pytest.mark.parametrize("limit", [-1, 0, MAX_FRAME_BYTES + 1])
def test_a_limit_the_seal_cannot_keep_is_refused(limit: int) -> None:
    """A frame limit lies within 1 and what CCM can carry."""
    with pytest.raises(LocalWireError, match=str(limit)):
        FrameDecoder(limit)


def test_a_frame_of_the_largest_size_is_made_and_one_more_is_not() -> None:
    """encode_frame keeps the limit that every decoder keeps."""
    body = bytes(MAX_FRAME_BYTES)
    assert len(encode_frame(body)) == MAX_FRAME_BYTES + LENGTH_BYTES
    with pytest.raises(LocalWireError, match=str(MAX_FRAME_BYTES + 1)):
        encode_frame(body + b"x")


def test_good_frames_before_a_refused_length_come_out_first() -> None:
    """A bad length costs only what stands behind it, however the stream is split."""
    decoder = FrameDecoder()
    decoder.receive_data(encode_frame(b"good") + b"HTTP/1.1 400 Bad Request\r\n")
    assert decoder.next_frame() == b"good"
    for _ in range(2):
        with pytest.raises(FrameTooLarge, match="b'HTTP'"):
            decoder.next_frame()
    with pytest.raises(FrameTooLarge):
        decoder.receive_eof()


@pytest.mark.parametrize("length", [2**24, 2**31, 2**32 - 1])
def test_a_refused_length_stores_nothing(length: int) -> None:
    """A length of 16 MiB to 4 GiB is refused on its four bytes; what is pushed after it is not kept."""
    piece = bytes(65_536)
    decoder = FrameDecoder()
    decoder.receive_data(length.to_bytes(LENGTH_BYTES) + piece)
    tracemalloc.start()
    try:
        with pytest.raises(FrameTooLarge):
            decoder.next_frame()
        for _ in range(64):
            decoder.receive_data(piece)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert decoder.unread_bytes == LENGTH_BYTES
    assert peak < 65_536


def test_an_announced_length_reserves_nothing() -> None:
    """Announcing the largest frame costs the reader what has come of it, not what was announced."""
    tracemalloc.start()
    try:
        decoder = FrameDecoder()
        decoder.receive_data(MAX_FRAME_BYTES.to_bytes(LENGTH_BYTES))
        decoder.next_frame()
        decoder.receive_data(b"few")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 65_536


class CountingBuffer(bytearray):
    """A bytearray that counts the bytes copied into and within it."""

    copied_bytes = 0
    made = 0

    def __init__(self, initial: Any = b"") -> None:
        super().__init__(initial)
        CountingBuffer.made += 1
        CountingBuffer.copied_bytes += len(self)

    def __iadd__(self, data: Any) -> "CountingBuffer":
        super().__iadd__(data)
        CountingBuffer.copied_bytes += len(data)
        return self

    def __add__(self, data: Any) -> "CountingBuffer":
        return CountingBuffer(super().__add__(data))

    def __getitem__(self, index: SupportsIndex | slice) -> Any:
        part = super().__getitem__(index)
        CountingBuffer.copied_bytes += len(part) if isinstance(part, bytearray) else 1
        return part

    def __delitem__(self, index: SupportsIndex | slice) -> None:
        super().__delitem__(index)
        CountingBuffer.copied_bytes += len(self)  # what may have to move up


@pytest.fixture
def counting(monkeypatch: pytest.MonkeyPatch) -> type[CountingBuffer]:
    monkeypatch.setattr(framing, "bytearray", CountingBuffer, raising=False)
    CountingBuffer.copied_bytes = CountingBuffer.made = 0
    return CountingBuffer


def test_a_frame_in_single_bytes_is_not_quadratic(counting: type[CountingBuffer]) -> None:
    """A 1 MiB frame that comes byte by byte is copied about once, though it is asked for at each byte."""
    body = bytes(2**20)
    decoder = FrameDecoder()
    for byte in encode_frame(body):
        assert None is decoder.next_frame()
        decoder.receive_data(bytes((byte,)))
    assert body == decoder.next_frame()
    assert counting.made == 1
    assert len(body) <= counting.copied_bytes <= 2 * len(body)


def test_small_frames_behind_a_piece_are_not_quadratic(counting: type[CountingBuffer]) -> None:
    """Ten thousand frames in one buffer are cut without moving up the rest each time."""
    wire = encode_frame(b"ping") * 10_000
    decoder = FrameDecoder()
    decoder.receive_data(wire[:1])
    decoder.receive_data(wire[1:])
    assert len(drain(decoder)) == 10_000
    assert len(wire) <= counting.copied_bytes <= 2 * len(wire)


def test_a_buffer_the_caller_uses_again_is_not_shared() -> None:
    """A caller's bytearray may be overwritten after receive_data."""
    buffer = bytearray(encode_frame(b"kept"))
    decoder = FrameDecoder()
    decoder.receive_data(buffer)
    buffer[:] = bytes(len(buffer))
    assert decoder.next_frame() == b"kept"


def test_a_large_frame_is_let_go_once_read() -> None:
    """After a frame is read its buffer is empty: an idle connection holds nothing."""
    wire = encode_frame(bytes(2**20))
    tracemalloc.start()
    try:
        decoder = FrameDecoder()
        decoder.receive_data(wire[:10])
        decoder.receive_data(wire[10:])
        decoder.next_frame()
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < 65_536
