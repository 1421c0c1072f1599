"""Packets <-> sealed frames: gzip level 9, then AES-256-CCM (docs/wire.md, sections 3 to 6)."""

import hashlib
import os
import re
import struct
from dataclasses import dataclass, field
from enum import IntEnum
from functools import cache
from typing import Final, Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESCCM

from protocol.compression import EMPTY_GZIP, gzip, inflate
from protocol.errors import FrameTooLarge, LocalWireError, SealBroken
from protocol.framing import LENGTH_BYTES, MAX_FRAME_BYTES

KEY_BYTES: Final = 32
SEAL_NONCE_BYTES: Final = 12
"""The largest nonce with which CCM still counts 16 MiB (RFC 3610 section 2.1: 15 - 3 bytes of length)."""
TAG_BYTES: Final = 8
OVERHEAD_BYTES: Final = SEAL_NONCE_BYTES + TAG_BYTES
PING_BYTES: Final = LENGTH_BYTES + OVERHEAD_BYTES + len(EMPTY_GZIP)
"""The empty packet's whole frame, 44 bytes."""

MAX_INFLATED_BYTES: Final = 64 * 2**20
"""Largest packet. Four times the largest frame suits text; deflate's 1032 : 1 would allow 16 GiB."""

PUBLIC_KEY_TEXT: Final = b"framework-relay public ping key"
"""The public key is the SHA-256 of this. Anybody has it: it gives a checksum and a shape, but no secrecy."""

_PACKED_AT: Final = LENGTH_BYTES + SEAL_NONCE_BYTES
_ASSOCIATED: Final = struct.Struct(">IBQ")  # length, direction, number
_HEX_KEY: Final = re.compile(r"[0-9A-Fa-f]{64}")


class Direction(IntEnum):
    """Who sends: part of every packet's associated data, so a reflected packet does not open."""

    CLIENT = 0
    SERVER = 1

    @property
    def other(self) -> "Direction":
        """The direction of the other side."""
        return Direction.SERVER if self is Direction.CLIENT else Direction.CLIENT


@dataclass(frozen=True, repr=False)
class Key:
    """An AES-256 key. Its repr hides it.

    Args:
        secret: 32 bytes.
    Raises: LocalWireError for another length.
    """

    secret: bytes
    cipher: AESCCM = field(init=False, compare=False)

    def __post_init__(self) -> None:
        if len(self.secret) != KEY_BYTES:
            raise LocalWireError(f"a key is {KEY_BYTES} bytes, not {len(self.secret)}")
        # Made once: the key schedule costs as much as sealing a ping.
        object.__setattr__(self, "cipher", AESCCM(self.secret, tag_length=TAG_BYTES))

    @staticmethod
    @cache
    def public() -> "Key":
        """Return the documented key of both sides when no other is set. It keeps nothing secret."""
        return Key(hashlib.sha256(PUBLIC_KEY_TEXT).digest())

    @classmethod
    def from_hex(cls, text: str) -> Self:
        """Read a key from 64 hexadecimal digits; white space around them is left out.

        Raises: LocalWireError for anything else; it never quotes the text.
        """
        digits = text.strip()
        if _HEX_KEY.fullmatch(digits) is None:
            raise LocalWireError(f"a key is {2 * KEY_BYTES} hexadecimal digits; this is no such text")
        return cls(bytes.fromhex(digits))

    @property
    def is_public(self) -> bool:
        """Whether this is the documented key."""
        return self == Key.public()

    def __repr__(self) -> str:
        return "Key(<hidden>)"


def seal(
    key: Key, plaintext: bytes, *, direction: Direction, number: int, nonce: bytes | None = None
) -> bytes:
    """Return the whole frame, length included, that carries `plaintext`.

    Args:
        direction: who sends it.
        number: the packet's number on this connection in this direction, from 0.
        nonce: 12 bytes; None takes them from the system's random source, as everything but a test should.
    Raises: LocalWireError when the plaintext is over MAX_INFLATED_BYTES, its frame over MAX_FRAME_BYTES, or
        number or nonce are out of range.
    """
    packed = _pack(plaintext) if plaintext else EMPTY_GZIP
    if nonce is None:
        nonce = os.urandom(SEAL_NONCE_BYTES)
    elif len(nonce) != SEAL_NONCE_BYTES:
        raise LocalWireError(f"a nonce is {SEAL_NONCE_BYTES} bytes, not {len(nonce)}")
    associated = _associated(len(packed) + OVERHEAD_BYTES, direction, number)
    return associated[:LENGTH_BYTES] + nonce + key.cipher.encrypt(nonce, packed, associated)


def unseal(
    key: Key,
    frame: bytes,
    *,
    direction: Direction,
    number: int,
    inflated_limit_bytes: int = MAX_INFLATED_BYTES,
) -> bytes:
    """Open `frame`, the bytes after the length, and return its plaintext.

    Args:
        direction: who sent it.
        number: its number on this connection in this direction, from 0.
        inflated_limit_bytes: largest plaintext accepted.
    Raises: what `opened` and `unpacked` raise.
    """
    packed = opened(key, frame, direction=direction, number=number)
    return unpacked(packed, inflated_limit_bytes)


def unpacked(packed: bytes, inflated_limit_bytes: int) -> bytes:
    """Return the plaintext that `packed` holds.

    Raises:
        InflateTooLarge: over `inflated_limit_bytes`; no more than that is inflated.
        BodyMalformed: not exactly one gzip member.
        LocalWireError: the limit is out of range.
    """
    return b"" if packed == EMPTY_GZIP else inflate(packed, inflated_limit_bytes)


def opened(key: Key, frame: bytes, *, direction: Direction, number: int) -> bytes:
    """Open `frame`, the bytes after the length, and return what it seals: the plaintext, packed.

    Args: as of `unseal`.
    Raises:
        SealBroken: changed, lost, repeated, out of order, reflected, another key, or too short to be sealed.
        FrameTooLarge: over what CCM can carry.
        LocalWireError: the number is out of range.
    """
    length_bytes = len(frame)
    if length_bytes > MAX_FRAME_BYTES:
        raise FrameTooLarge(length_bytes, MAX_FRAME_BYTES)
    if length_bytes < OVERHEAD_BYTES:
        raise SealBroken(
            f"packet {number} of the {direction.name.lower()}: {length_bytes} bytes do not even hold"
            f" nonce and tag ({OVERHEAD_BYTES} bytes)"
        )
    associated = _associated(length_bytes, direction, number)
    try:
        return key.cipher.decrypt(frame[:SEAL_NONCE_BYTES], frame[SEAL_NONCE_BYTES:], associated)
    except InvalidTag:
        raise SealBroken(
            f"packet {number} of the {direction.name.lower()}, {length_bytes} bytes, does not open:"
            " changed, lost, repeated or reordered on the way, or sealed with another key"
        ) from None


def seal_ping(key: Key, direction: Direction, number: int) -> bytes:
    """As `seal` of nothing, in fewer steps."""
    associated = _ASSOCIATED.pack(PING_BYTES - LENGTH_BYTES, direction, number)
    nonce = os.urandom(SEAL_NONCE_BYTES)
    return associated[:LENGTH_BYTES] + nonce + key.cipher.encrypt(nonce, EMPTY_GZIP, associated)


def is_ping(key: Key, frame: bytes, direction: Direction, number: int) -> bool:
    """Whether PING_BYTES that begin with their length are the empty packet with this number; never raises."""
    associated = _ASSOCIATED.pack(PING_BYTES - LENGTH_BYTES, direction, number)
    try:
        packed = key.cipher.decrypt(frame[LENGTH_BYTES:_PACKED_AT], frame[_PACKED_AT:], associated)
    except InvalidTag:
        return False
    return packed == EMPTY_GZIP


def _associated(length_bytes: int, direction: Direction, number: int) -> bytes:
    try:
        return _ASSOCIATED.pack(length_bytes, direction, number)
    except struct.error:
        raise LocalWireError(f"packet number {number} is not within 0 to 2**64 - 1") from None


def _pack(plaintext: bytes) -> bytes:
    if len(plaintext) > MAX_INFLATED_BYTES:
        raise LocalWireError(f"a packet of {len(plaintext)} bytes is over the limit of {MAX_INFLATED_BYTES}")
    packed = gzip(plaintext)
    if len(packed) + OVERHEAD_BYTES > MAX_FRAME_BYTES:
        raise LocalWireError(
            f"a packet of {len(plaintext)} bytes makes a frame of {len(packed) + OVERHEAD_BYTES} bytes,"
            f" the limit is {MAX_FRAME_BYTES}"
        )
    return packed
