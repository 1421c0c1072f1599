"""The PROXY protocol, versions 1 and 2, as bytes."""

from ipaddress import IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.errors import HeadMalformed, LocalWireError
from protocol.proxy_protocol import (
    MAX_BODY_BYTES,
    MAX_LINE_BYTES,
    SIGNATURE,
    ProxyHeader,
    ProxyHeaderReader,
    proxy_header,
)

ADDRESSES = st.ip_addresses(v=4).map(str) | st.ip_addresses(v=6).map(str)
PLACES = st.tuples(ADDRESSES, st.integers(0, 65_535))


def read(data: bytes) -> ProxyHeader | None:
    reader = ProxyHeaderReader()
    reader.receive_data(data)
    return reader.header


def mapped(place: tuple[str, int], other: tuple[str, int]) -> tuple[str, int]:
    """As it comes out where one of both is IPv6."""
    is_mixed = (":" in place[0]) != (":" in other[0])
    if not is_mixed or ":" in place[0]:
        return place
    # Python writes such an address with or without dots, as its version is
    return (str(IPv6Address(f"::ffff:{place[0]}")), place[1])


@given(st.sampled_from((1, 2)), PLACES, PLACES, st.binary(max_size=40), st.data())
def test_what_is_written_is_read(
    version: int, source: tuple[str, int], destination: tuple[str, int], rest: bytes, data: st.DataObject
) -> None:
    """Whatever the cut, both ends come out, and what follows is left over."""
    wire = proxy_header(version, source, destination) + rest
    cut = data.draw(st.integers(0, len(wire)))
    reader = ProxyHeaderReader()
    leftover = b""
    for part in (wire[:cut], wire[cut:]):
        if reader.header is not None:
            leftover += part
        elif part:
            reader.receive_data(part)
    assert ProxyHeader(mapped(source, destination), mapped(destination, source)) == reader.header
    assert rest == reader.leftover + leftover


@given(
    st.binary(max_size=200),
    st.sampled_from((b"", b"PROXY ", b"PROXY TCP4 ", SIGNATURE, SIGNATURE + b"!\x11")),
)
def test_anything_is_read_or_refused(rest: bytes, start: bytes) -> None:
    """No bytes raise anything but HeadMalformed."""
    try:
        read(start + rest)
    except HeadMalformed:
        return


@pytest.mark.parametrize(
    ("wire", "header"),
    [
        (b"PROXY UNKNOWN\r\n", ProxyHeader()),
        (b"PROXY UNKNOWN ffff:f...f:ffff 65535\r\n", ProxyHeader()),
        (
            b"PROXY TCP4 192.0.2.1 192.0.2.2 1 65535\r\n",
            ProxyHeader(("192.0.2.1", 1), ("192.0.2.2", 65_535)),
        ),
        (SIGNATURE + b"\x20\x00\x00\x00", ProxyHeader(is_local=True)),
        (SIGNATURE + b"\x20\x11\x00\x0c" + b"x" * 12, ProxyHeader(is_local=True)),
        (SIGNATURE + b"\x21\x31\x00\x02ab", ProxyHeader()),
        # A TLV behind the addresses: type 4 (NOOP), 3 bytes
        (
            SIGNATURE + b"\x21\x11\x00\x12\xc0\x00\x02\x01\xc0\x00\x02\x02\x00\x01\x00\x02\x04\x00\x03abc",
            ProxyHeader(("192.0.2.1", 1), ("192.0.2.2", 2)),
        ),
    ],
)
def test_headers(wire: bytes, header: ProxyHeader) -> None:
    """What the specification has, byte by byte: nothing before the last one, all with it."""
    reader = ProxyHeaderReader()
    for at in range(len(wire)):
        assert reader.header is None
        reader.receive_data(wire[at : at + 1])
    assert header == reader.header


@pytest.mark.parametrize(
    "wire",
    [
        b"CONNECT a:1 HTTP/1.1\r\n",
        b"PROXX",
        b"PROXY TCP4 192.0.2.1 192.0.2.2 1\r\n",
        b"PROXY TCP4 192.0.2.1 192.0.2.2 1 65536\r\n",
        b"PROXY TCP4 192.0.2.1 192.0.2.2 1 02\r\n",
        b"PROXY TCP4 192.0.2.1 ::1 1 2\r\n",
        b"PROXY TCP4 192.0.2.01 192.0.2.2 1 2\r\n",
        b"PROXY TCP6 fe80::1%eth0 ::1 1 2\r\n",
        b"PROXY UDP4 192.0.2.1 192.0.2.2 1 2\r\n",
        b"PROXY TCP4  192.0.2.1 192.0.2.2 1 2\r\n",
        b"PROXY \xff\r\n",
        b"PROXY " + b"x" * MAX_LINE_BYTES,
        SIGNATURE + b"\x31\x11\x00\x0c" + b"x" * 12,
        SIGNATURE + b"\x22\x11\x00\x0c" + b"x" * 12,
        SIGNATURE + b"\x21\x11\x00\x0b" + b"x" * 11,
        SIGNATURE + b"\x21\x11" + (MAX_BODY_BYTES + 1).to_bytes(2),
        b"",
    ],
)
def test_what_is_refused(wire: bytes) -> None:
    """As soon as it is seen; what is too long is not waited for."""
    with pytest.raises(HeadMalformed):
        read(wire)


def test_an_end_inside_a_header() -> None:
    """Is told, and not waited for."""
    reader = ProxyHeaderReader()
    reader.receive_data(b"PROXY TCP4")
    with pytest.raises(HeadMalformed, match="ended inside"):
        reader.receive_data(b"")


def test_what_cannot_be_written() -> None:
    """Names, other versions, ports that are none; an end that is not known makes both unknown."""
    place = ("192.0.2.1", 1)
    assert b"PROXY UNKNOWN\r\n" == proxy_header(1, None, place)
    assert SIGNATURE + b"\x21\x00\x00\x00" == proxy_header(2, place, None)
    for version, source in ((3, place), (1, ("far.example", 1)), (2, ("192.0.2.1", 65_536))):
        with pytest.raises(LocalWireError):
            proxy_header(version, source, place)
