"""Write the golden vectors beside this file: `python tests/vectors/make.py`.

Nothing of `protocol` is used here. The seal is AES-CCM written out from RFC 3610 over single AES blocks, so
the vectors are a second opinion on docs/wire.md. Packing is this machine's zlib: another build may pack the
same text into other bytes. So `exact` marks the vectors whose wire bytes every sender must reach: the empty
packets. The others must open to their plaintext.
"""

import hashlib
import json
import struct
import zlib
from pathlib import Path

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import ECB

HERE = Path(__file__).parent
PUBLIC = hashlib.sha256(b"framework-relay public ping key").digest()
PRIVATE = bytes(range(32))
CLIENT, SERVER = 0, 1
TEXT = b"".join(b"%04d The quick brown fox jumps over the lazy dog.\n" % line for line in range(21))[:1024]

Refused = tuple[str, bytes, int, str, dict[str, object]]


def ccm(key: bytes, nonce: bytes, plaintext: bytes, associated: bytes) -> bytes:
    """AES-CCM with a tag of 8 bytes (RFC 3610 sections 2.2, 2.3); associated data of 1 to 0xfeff bytes."""
    block = Cipher(AES(key), ECB()).encryptor().update  # noqa: S305 - single blocks, as the RFC defines CCM
    counter_bytes = 15 - len(nonce)
    flags = 0x40 | (8 - 2) // 2 << 3 | counter_bytes - 1
    head = bytes([flags]) + nonce + len(plaintext).to_bytes(counter_bytes, "big")
    extra = len(associated).to_bytes(2, "big") + associated
    blocks = head + extra + bytes(-len(extra) % 16) + plaintext + bytes(-len(plaintext) % 16)
    tag = bytes(16)
    for at in range(0, len(blocks), 16):
        tag = block(xor(tag, blocks[at : at + 16]))
    stream = b"".join(
        block(bytes([counter_bytes - 1]) + nonce + index.to_bytes(counter_bytes, "big"))
        for index in range(1 + (len(plaintext) + 15) // 16)
    )
    return xor(plaintext, stream[16:]) + xor(tag[:8], stream)


def xor(left: bytes, right: bytes) -> bytes:
    """Both of them, as far as the shorter one goes."""
    return bytes(one ^ other for one, other in zip(left, right, strict=False))


def pack(plaintext: bytes) -> bytes:
    """One gzip member: level 9, time 0, system 255."""
    return bytes.fromhex("1f8b080000000000 02ff") + zlib.compress(plaintext, 9, 31)[10:]


def frame(
    packed: bytes,
    direction: int = CLIENT,
    number: int = 0,
    key: bytes = PUBLIC,
    nonce: bytes = b"twelve bytes",
) -> bytes:
    """A whole frame around `packed`."""
    length = struct.pack(">I", 12 + len(packed) + 8)
    return length + nonce + ccm(key, nonce, packed, length + struct.pack(">BQ", direction, number))


def packets() -> list[dict[str, object]]:
    """Packets that open."""
    rows = [
        ("ping of a client", PUBLIC, CLIENT, 0, bytes(12), b""),
        ("ping of a server", PUBLIC, SERVER, 0, bytes(12), b""),
        ("second ping", PUBLIC, CLIENT, 1, bytes(range(12)), b""),
        ("ping after 2**32 packets", PUBLIC, SERVER, 2**32, bytes(range(12)), b""),
        ("last packet there can be", PUBLIC, CLIENT, 2**64 - 1, b"\xff" * 12, b""),
        ("ping with another key", PRIVATE, CLIENT, 0, bytes(range(12)), b""),
        ("one byte", PUBLIC, CLIENT, 0, bytes(range(12)), b"\x04"),
        ("text of 1 KiB", PUBLIC, CLIENT, 0, bytes(range(12)), TEXT),
        ("text of 1 KiB back", PRIVATE, SERVER, 7, bytes(range(12, 24)), TEXT),
        ("every byte", PRIVATE, SERVER, 300, bytes(range(12, 24)), bytes(range(256))),
    ]
    return [
        {
            "name": name,
            "key": key.hex(),
            "direction": "server" if direction else "client",
            "number": number,
            "nonce": nonce.hex(),
            "plaintext": plaintext.hex(),
            "wire": frame(pack(plaintext), direction, number, key, nonce).hex(),
            "exact": not plaintext,
        }
        for name, key, direction, number, nonce, plaintext in rows
    ]


def refused() -> list[dict[str, object]]:
    """Streams of a client with the public key that break: after `packets` packets, with `error`."""
    return [
        {"name": name, "stream": stream.hex(), "packets": count, "error": error, **extra}
        for name, stream, count, error, extra in (*damaged_on_the_way(), *wrong_from_the_start())
    ]


def damaged_on_the_way() -> list[Refused]:
    """What a bad path makes of good packets."""
    ping, second = frame(pack(b"")), frame(pack(b""), number=1)
    ended: dict[str, object] = {"eof": True}
    return [
        ("bit flipped in the nonce", flip(ping, 4), 0, "SealBroken", {}),
        ("bit flipped in what is packed", flip(ping, 20), 0, "SealBroken", {}),
        ("bit flipped in the tag", flip(ping, 43), 0, "SealBroken", {}),
        ("bit flipped in the length: shorter", flip(ping, 3, 0x08), 0, "SealBroken", {}),
        ("bit flipped in the length: 2**24 longer", flip(ping, 0), 0, "FrameTooLarge", {}),
        ("bit flipped in the length: longer, then the end", flip(ping, 2), 0, "StreamTruncated", ended),
        ("bit flipped in the length: longer, more follows", flip(ping, 3) + second, 0, "SealBroken", {}),
        ("packet sent twice", ping + ping, 1, "SealBroken", {}),
        ("first packet lost", second, 0, "SealBroken", {}),
        ("packets exchanged", second + ping, 0, "SealBroken", {}),
        ("packet reflected", frame(pack(b""), SERVER), 0, "SealBroken", {}),
        ("end inside the length", ping + second[:2], 1, "StreamTruncated", ended),
        ("end behind the length", ping[:4], 0, "StreamTruncated", ended),
        ("end before the last byte", ping[:-1], 0, "StreamTruncated", ended),
    ]


def wrong_from_the_start() -> list[Refused]:
    """What another program, a wrong setting or an attacker sends."""
    text, bomb = frame(pack(TEXT)), frame(pack(bytes(2**20)))
    return [
        ("another key", frame(pack(b""), key=PRIVATE), 0, "SealBroken", {}),
        ("length 0", bytes(4), 0, "SealBroken", {}),
        ("nonce and no whole tag", struct.pack(">I", 19) + bytes(19), 0, "SealBroken", {}),
        ("an HTTP reply", b"HTTP/1.1 400 Bad Request\r\n\r\n", 0, "FrameTooLarge", {}),
        ("length 2**24", struct.pack(">I", 2**24), 0, "FrameTooLarge", {}),
        ("length of 4 GiB less one", b"\xff\xff\xff\xff", 0, "FrameTooLarge", {}),
        ("length over a lower limit", text, 0, "FrameTooLarge", {"frame_limit_bytes": 100}),
        ("inflates to 1 MiB", bomb, 0, "InflateTooLarge", {"inflated_limit_bytes": 2**20 - 1}),
        ("inflates to one byte too many", text, 0, "InflateTooLarge", {"inflated_limit_bytes": 1023}),
        ("nothing sealed", frame(b""), 0, "BodyMalformed", {}),
        ("no gzip", frame(b"plain text, sealed"), 0, "BodyMalformed", {}),
        ("gzip cut short", frame(pack(TEXT)[:-1]), 0, "BodyMalformed", {}),
        ("gzip with a wrong checksum", frame(flip(pack(TEXT), -8)), 0, "BodyMalformed", {}),
        ("gzip with a wrong size", frame(flip(pack(TEXT), -1)), 0, "BodyMalformed", {}),
        ("a byte behind gzip", frame(pack(b"") + b"\0"), 0, "BodyMalformed", {}),
        ("two gzip members", frame(pack(TEXT) + pack(TEXT)), 0, "BodyMalformed", {}),
    ]


def flip(data: bytes, at: int, mask: int = 1) -> bytes:
    """The same bytes with the bits of `mask` changed in one of them."""
    changed = bytearray(data)
    changed[at] ^= mask
    return bytes(changed)


def operations() -> list[dict[str, str]]:
    """Packet bodies as docs/wire.md, section 8, shows them."""
    rows = [
        ("ECHO", "01 6869"),
        ("SOURCE", "02 00000004 0000000000000007"),
        ("SOURCE answered", "02 " + hashlib.shake_128((7).to_bytes(8, "big")).hexdigest(4)),
        ("SINK", "03 6869"),
        ("SINK answered", "03 0000000000000002 " + hashlib.sha256(b"hi").hexdigest()),
        ("OBSERVED", "04"),
        ("OBSERVED answered", "04 " + b'{"peer":"192.0.2.7"}'.hex()),
        ("HOLD", "05 000005dc"),
        ("IDENTIFY", "06 000102030405060708090a0b0c0d0e0f"),
        ("JOURNAL", "07 000102030405060708090a0b0c0d0e0f"),
        ("CLOSE by FIN", "08 00"),
        ("CLOSE by RST", "08 01"),
        ("CLOSE by half", "08 02"),
        ("ERROR", "09 " + b"no session of that name".hex()),
    ]
    return [{"name": name, "body": body} for name, body in rows]


def main() -> None:
    """Write every file."""
    for make in (packets, refused, operations):
        text = json.dumps(make(), indent=1)
        (HERE / f"{make.__name__}.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
