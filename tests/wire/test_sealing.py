"""Seals: what was sealed opens, and nothing else does; keys stay hidden; inflation is bounded."""

import gzip as standard_gzip
import hashlib
import os
import tracemalloc
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol import (
    BodyMalformed,
    Direction,
    FrameTooLarge,
    InflateTooLarge,
    Key,
    LocalWireError,
    SealBroken,
    seal,
    sealing,
    unseal,
)
from protocol.compression import EMPTY_GZIP, gzip
from protocol.framing import LENGTH_BYTES, MAX_FRAME_BYTES
from protocol.packet import MAX_SOURCE_BYTES, source_reply
from protocol.sealing import MAX_INFLATED_BYTES, OVERHEAD_BYTES

KEY = Key(bytes(range(32)))
NONCE = b"twelve bytes"
AS_CLIENT = Direction.CLIENT
MIB = 2**20

quick = settings(deadline=None, max_examples=60)
numbers = st.integers(0, 2**64 - 1)
directions = st.sampled_from(Direction)


def seal_packed(packed: bytes) -> bytes:
    """Seal bytes as they are, gzip or not: what a peer with the key but without manners sends. No length."""
    length_bytes = len(packed) + OVERHEAD_BYTES
    associated = length_bytes.to_bytes(4) + bytes(9)
    return NONCE + KEY.cipher.encrypt(NONCE, packed, associated)


def open_packed(packed: bytes, limit_bytes: int = MAX_INFLATED_BYTES) -> bytes:
    frame = seal_packed(packed)
    return unseal(KEY, frame, direction=AS_CLIENT, number=0, inflated_limit_bytes=limit_bytes)


@quick
@given(plaintext=st.binary(max_size=2_000), direction=directions, number=numbers)
def test_what_is_sealed_opens(plaintext: bytes, direction: Direction, number: int) -> None:
    """Any plaintext comes back, in any direction, with any number; the length counts what follows it."""
    frame = seal(KEY, plaintext, direction=direction, number=number)
    assert int.from_bytes(frame[:LENGTH_BYTES]) == len(frame) - LENGTH_BYTES
    assert plaintext == unseal(KEY, frame[LENGTH_BYTES:], direction=direction, number=number)


@pytest.mark.parametrize("direction", Direction)
def test_an_empty_packet_is_44_bytes(direction: Direction) -> None:
    """The ping has the size that the vendor's own ping prints, for request and reply, at every number."""
    sizes = {len(seal(KEY, b"", direction=direction, number=number)) for number in (0, 1, 2**32, 2**64 - 1)}
    assert {44} == sizes


def test_every_packet_has_a_new_nonce() -> None:
    """No two frames of a thousand have the same nonce: a repeated one would give the key's stream away."""
    frames = [seal(KEY, b"", direction=AS_CLIENT, number=0) for _ in range(1_000)]
    assert len({frame[4:16] for frame in frames}) == 1_000


def test_any_flipped_bit_of_a_ping_breaks_the_seal() -> None:
    """Each bit of nonce, packed text and tag is guarded (those of the length: test_connection)."""
    frame = int.from_bytes(seal(KEY, b"", direction=AS_CLIENT, number=0)[LENGTH_BYTES:])
    for bit in range(8 * 40):
        with pytest.raises(SealBroken):
            unseal(KEY, (frame ^ 1 << bit).to_bytes(40), direction=AS_CLIENT, number=0)


@quick
@given(plaintext=st.binary(max_size=500), other=st.data())
def test_what_was_sealed_otherwise_does_not_open(plaintext: bytes, other: st.DataObject) -> None:
    """Another number, direction, key, length or a flipped bit: each alone breaks the seal."""
    number, direction = other.draw(numbers), other.draw(directions)
    frame = seal(KEY, plaintext, direction=direction, number=number)[LENGTH_BYTES:]
    wrong_number = other.draw(numbers.filter(lambda drawn: drawn != number))
    wrong_key = Key(other.draw(st.binary(min_size=32, max_size=32).filter(lambda drawn: drawn != KEY.secret)))
    bit = other.draw(st.integers(0, 8 * len(frame) - 1))
    flipped = (int.from_bytes(frame) ^ 1 << bit).to_bytes(len(frame))
    cut = other.draw(st.integers(0, len(frame) - 1))
    for key, text, sender, at in (
        (KEY, frame, direction, wrong_number),
        (KEY, frame, direction.other, number),
        (wrong_key, frame, direction, number),
        (KEY, flipped, direction, number),
        (KEY, frame[:cut], direction, number),
        (KEY, frame + b"\0", direction, number),
    ):
        with pytest.raises(SealBroken):
            unseal(key, text, direction=sender, number=at)


def test_the_length_field_is_guarded() -> None:
    """A seal made for another length does not open, though all the rest is right."""
    associated = (len(EMPTY_GZIP) + OVERHEAD_BYTES + 1).to_bytes(4) + bytes(9)
    frame = NONCE + KEY.cipher.encrypt(NONCE, EMPTY_GZIP, associated)
    with pytest.raises(SealBroken):
        unseal(KEY, frame, direction=AS_CLIENT, number=0)


@pytest.mark.parametrize("size", range(OVERHEAD_BYTES))
def test_a_frame_without_room_for_nonce_and_tag_is_no_seal(size: int) -> None:
    """The shortest frames are refused as a broken seal, not with an error of the cipher."""
    with pytest.raises(SealBroken, match=f"{size} bytes"):
        unseal(KEY, bytes(size), direction=AS_CLIENT, number=0)


def test_a_frame_over_what_ccm_carries_is_refused() -> None:
    """unseal keeps the frame limit also when no decoder stood before it."""
    with pytest.raises(FrameTooLarge):
        unseal(KEY, bytes(MAX_FRAME_BYTES + 1), direction=AS_CLIENT, number=0)


@pytest.mark.parametrize("number", [-1, 2**64])
def test_numbers_are_u64(number: int) -> None:
    """A number that its field cannot hold is the caller's mistake."""
    with pytest.raises(LocalWireError, match=str(number)):
        seal(KEY, b"", direction=AS_CLIENT, number=number)
    with pytest.raises(LocalWireError, match=str(number)):
        unseal(KEY, bytes(40), direction=AS_CLIENT, number=number)


@pytest.mark.parametrize("size", [0, 11, 13])
def test_nonces_have_twelve_bytes(size: int) -> None:
    """CCM would take other nonces, with other limits: the wire does not."""
    with pytest.raises(LocalWireError, match=f"not {size}"):
        seal(KEY, b"", direction=AS_CLIENT, number=0, nonce=bytes(size))


def test_gzip_head_is_the_same_everywhere() -> None:
    """No time, no name, system unknown: the sender's machine is not told, and pings are reproducible."""
    assert gzip(b"text")[:10].hex() == "1f8b080000000000" + "02ff"
    assert gzip(b"") == EMPTY_GZIP
    assert len(EMPTY_GZIP) == 20


@quick
@given(data=st.binary(max_size=5_000))
def test_gzip_is_gzip(data: bytes) -> None:
    """Any gzip reader opens what we pack."""
    assert data == standard_gzip.decompress(gzip(data))


@quick
@given(data=st.binary(max_size=500), level=st.integers(0, 9))
def test_any_gzip_member_is_read(data: bytes, level: int) -> None:
    """A peer may pack with another program or level; with nothing in it, other than our 20 bytes too."""
    assert data == open_packed(standard_gzip.compress(data, level))


PACKED = gzip(b"some text, some more text")


@pytest.mark.parametrize("cut", range(len(PACKED)))
def test_a_member_cut_anywhere_is_malformed(cut: int) -> None:
    """A gzip member that ends early is told, wherever: not even its checksum may be missing."""
    with pytest.raises(BodyMalformed):
        open_packed(PACKED[:cut])


@pytest.mark.parametrize("behind", [b"\0", b"x" * 1_000, PACKED, EMPTY_GZIP], ids=["0", "x", "text", "empty"])
@pytest.mark.parametrize("packed", [PACKED, EMPTY_GZIP], ids=["text", "empty"])
def test_nothing_may_follow_the_member(packed: bytes, behind: bytes) -> None:
    """Exactly one member: neither padding nor a second one."""
    with pytest.raises(BodyMalformed, match=f"{len(behind)} bytes follow"):
        open_packed(packed + behind)


@quick
@given(packed=st.binary(max_size=100))
def test_sealed_rubbish_is_malformed(packed: bytes) -> None:
    """Whatever a peer with the key seals, only errors of the wire come out."""
    with pytest.raises((BodyMalformed, InflateTooLarge)):
        open_packed(packed, 0)


@pytest.mark.parametrize("size", [0, 1, 1_000, 70_000])
def test_the_inflation_limit_itself_is_allowed_and_one_more_is_not(size: int) -> None:
    """Exactly as many bytes as the limit says inflate."""
    packed = standard_gzip.compress(bytes(size), 1)  # not EMPTY_GZIP, which takes a short cut
    assert bytes(size) == open_packed(packed, size)
    if size:
        with pytest.raises(InflateTooLarge) as caught:
            open_packed(packed, size - 1)
        assert size - 1 == caught.value.limit_bytes
    with pytest.raises(LocalWireError, match="-1"):
        open_packed(packed, -1)


def test_an_inflation_bomb_is_stopped_while_inflating() -> None:
    """64 MiB in 64 KiB are refused at the limit of 1 MiB: the peak is some of that, not of the bomb."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    packed = b"".join([packer.compress(bytes(MIB)) for _ in range(64)]) + packer.flush()
    tracemalloc.start()
    try:
        with pytest.raises(InflateTooLarge, match=str(MIB)):
            open_packed(packed, MIB)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert MIB <= peak <= 4 * MIB


def test_the_largest_source_fits_one_frame() -> None:
    """Random bytes do not shrink, yet as many as SOURCE may ask for can be sent."""
    body = source_reply(MAX_SOURCE_BYTES, 1).body
    assert len(gzip(body)) + OVERHEAD_BYTES <= MAX_FRAME_BYTES


def test_a_packet_that_makes_too_large_a_frame_is_refused_before_sending(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Packed and sealed, a packet may fill a frame, and not a byte more."""
    monkeypatch.setattr(sealing, "gzip", lambda data: bytes(len(data)))  # packs nothing, and takes no time
    fits = MAX_FRAME_BYTES - OVERHEAD_BYTES
    assert MAX_FRAME_BYTES == len(seal(KEY, bytes(fits), direction=AS_CLIENT, number=0)) - LENGTH_BYTES
    with pytest.raises(LocalWireError, match=f"{MAX_FRAME_BYTES + 1} bytes"):
        seal(KEY, bytes(fits + 1), direction=AS_CLIENT, number=0)


def test_a_packet_no_peer_would_inflate_is_refused_before_sending() -> None:
    """However small it packs, nothing over the inflation limit is sent."""
    with pytest.raises(LocalWireError, match=str(MAX_INFLATED_BYTES + 1)):
        seal(KEY, bytes(MAX_INFLATED_BYTES + 1), direction=AS_CLIENT, number=0)


def test_the_public_key_is_the_documented_one() -> None:
    """Anybody can make the public key from its text, and tell it from others."""
    assert hashlib.sha256(b"framework-relay public ping key").digest() == Key.public().secret
    assert Key.public().is_public
    assert not KEY.is_public


@pytest.mark.parametrize("text", ["{}", "  {}\n", "\t{}\r\n"])
def test_keys_are_read_from_hexadecimal_digits(text: str) -> None:
    """Large and small digits, and the line end that an editor leaves, are read."""
    assert KEY == Key.from_hex(text.format(KEY.secret.hex()))
    assert KEY == Key.from_hex(text.format(KEY.secret.hex().upper()))


SECRET = os.urandom(32).hex()


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="nothing"),
        pytest.param(SECRET[:-1], id="a digit too few"),
        pytest.param(SECRET + "0", id="a digit too many"),
        pytest.param(SECRET[:-1] + "g", id="no digit"),
        pytest.param(SECRET[:-1] + "\N{FULLWIDTH DIGIT ONE}", id="no ASCII digit"),
        pytest.param("0x" + SECRET[2:], id="a prefix"),
        pytest.param(f"{SECRET[:32]} {SECRET[32:]}", id="white space inside"),
        pytest.param(f"{SECRET}\n{SECRET}", id="two keys"),
    ],
)
def test_a_key_that_cannot_be_read_is_not_quoted(text: str) -> None:
    """What is almost a key is almost a secret: no part of it stands in the error."""
    with pytest.raises(LocalWireError) as caught:
        Key.from_hex(text)
    assert "a key is 64 hexadecimal digits; this is no such text" == str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize("size", [0, 16, 31, 33])
def test_keys_have_32_bytes(size: int) -> None:
    """AES would take 16 and 24 bytes too: the wire is AES-256."""
    with pytest.raises(LocalWireError, match=f"not {size}"):
        Key(bytes(size))


def test_a_key_hides_itself() -> None:
    """Neither repr nor text of a key, nor of what holds it, shows a digit."""
    assert "Key(<hidden>)" == repr(KEY) == str(KEY) == f"{KEY}"
    assert "[Key(<hidden>)]" == str([KEY])
