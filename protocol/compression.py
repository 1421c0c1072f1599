"""gzip level 9, with zlib-ng where it is installed and wins (docs/wire.md, section 3)."""

import importlib
import zlib
from types import ModuleType
from typing import Final

from protocol.errors import BodyMalformed, InflateTooLarge, LocalWireError

FAST_DEFLATE_BYTES: Final = 4096
"""From here on zlib-ng packs faster (benchmarks: codec); below, its set-up costs more than it saves."""

FAST_INFLATE_BYTES: Final = 1024
"""The same for opening, counted in packed bytes."""

_GZIP_WBITS: Final = 31  # 16 = gzip wrapper, 15 = 32 KiB window
_GZIP_HEAD: Final = bytes.fromhex("1f8b 08 00 00000000 02 ff")  # no flags, time 0, level 9, system unknown


def _fast_library() -> ModuleType:
    """zlib-ng speaks zlib's interface; without it zlib does all the work."""
    try:
        return importlib.import_module("zlib_ng.zlib_ng")
    except ImportError:
        return zlib


_FAST: Final = _fast_library()


def gzip(data: bytes) -> bytes:
    """Return `data` as one gzip member (RFC 1952): level 9, no name, time 0, system unknown.

    Its ten-byte head is the same on every platform; the deflate stream may differ between zlib builds.
    """
    library = _FAST if len(data) >= FAST_DEFLATE_BYTES else zlib
    packed: bytes = library.compress(data, 9, _GZIP_WBITS)
    return _GZIP_HEAD + packed[len(_GZIP_HEAD) :]


EMPTY_GZIP: Final = _GZIP_HEAD + bytes.fromhex("0300 00000000 00000000")
"""Nothing, packed: head 10, empty block 2, CRC-32 4, size 4 bytes. With 24 around it a ping is 44 bytes."""


def inflate(packed: bytes, limit_bytes: int) -> bytes:
    """Return what one gzip member holds; at most one byte over `limit_bytes` is ever inflated.

    Raises: InflateTooLarge, BodyMalformed (not exactly one member), LocalWireError for a limit below 0.
    """
    if limit_bytes < 0:
        raise LocalWireError(f"an inflation limit of {limit_bytes} bytes is below 0")
    library = _FAST if len(packed) >= FAST_INFLATE_BYTES else zlib
    inflater = library.decompressobj(_GZIP_WBITS)
    try:
        plaintext: bytes = inflater.decompress(packed, limit_bytes + 1)  # one more: too large
    except (zlib.error, _FAST.error) as error:
        raise BodyMalformed(f"the packet is not gzip: {error}") from None
    if len(plaintext) > limit_bytes:
        raise InflateTooLarge(limit_bytes)
    if not inflater.eof:
        raise BodyMalformed(f"the packet's gzip member is cut short after {len(packed)} bytes")
    if inflater.unused_data:
        raise BodyMalformed(f"{len(inflater.unused_data)} bytes follow the packet's gzip member")
    return plaintext
