"""gzip with and without zlib-ng: one format, the same limits."""

import os
import zlib

import pytest
from zlib_ng import zlib_ng

from protocol import compression
from protocol.compression import FAST_DEFLATE_BYTES, FAST_INFLATE_BYTES, gzip, inflate
from protocol.errors import BodyMalformed, InflateTooLarge

LIMIT_BYTES = 4 * 2**20
SIZES = (1, 100, FAST_INFLATE_BYTES, FAST_DEFLATE_BYTES - 1, FAST_DEFLATE_BYTES, 3 * 2**20)


@pytest.fixture(params=["zlib", "zlib-ng"])
def library(request, monkeypatch):
    """Both libraries, whichever is the default here; zlib-ng comes with the extra `test`."""
    chosen = zlib if request.param == "zlib" else zlib_ng
    monkeypatch.setattr(compression, "_FAST", chosen)
    return chosen


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("kind", ["random", "text"])
def test_each_opens_what_the_other_packs(library, size, kind, monkeypatch):
    """Packed by one, opened by the other, around every size at which the choice changes."""
    data = os.urandom(size) if kind == "random" else (b"framework " * size)[:size]
    packed = gzip(data)
    assert data == inflate(packed, LIMIT_BYTES)
    monkeypatch.setattr(compression, "_FAST", zlib)
    assert data == inflate(packed, LIMIT_BYTES)
    assert data == zlib.decompress(packed, 31)


def test_the_head_is_the_same(library):
    """Level 9, no name, time 0, system unknown: on every size and library."""
    heads = {gzip(b"x" * size)[:10] for size in SIZES}
    assert {bytes.fromhex("1f8b08000000000002ff")} == heads


def test_the_limit_and_the_form_are_kept(library):
    """A bomb, a cut member, trailing bytes and garbage are refused alike."""
    packed = gzip(os.urandom(20_000))
    with pytest.raises(InflateTooLarge):
        inflate(gzip(bytes(LIMIT_BYTES + 1)), LIMIT_BYTES)
    for broken in (packed[:-1], packed + b"x", packed + packed, b"x" * 5000, packed[:5000] + packed[5001:]):
        with pytest.raises(BodyMalformed):
            inflate(broken, LIMIT_BYTES)
