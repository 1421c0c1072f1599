"""The PROXY protocol, versions 1 and 2: whose connection this is, said before its first byte.

Source: the PROXY protocol specification of haproxy, sections 2.1 (a line of text) and 2.2 (binary).
"""

import re
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import Final

from protocol.errors import HeadMalformed, LocalWireError

MAX_LINE_BYTES: Final = 107
"""Of version 1, with its line end: two IPv6 addresses and two ports are not longer (section 2.1)."""

MAX_BODY_BYTES: Final = 4096
"""Of version 2, what follows its first 16 bytes. 65535 are possible; TLVs take a few hundred."""

SIGNATURE: Final = b"\r\n\r\n\x00\r\nQUIT\n"
_LINE_START: Final = b"PROXY "
_FIXED_BYTES: Final = 16
_PORT: Final = re.compile(r"(0|[1-9][0-9]{0,4})\Z")
_MAX_PORT: Final = 65_535
_LOCAL, _PROXY = 0x20, 0x21
_TCP4, _TCP6 = 0x11, 0x21
_ADDRESS_BYTES: Final = {_TCP4: 4, _TCP6: 16}

Place = tuple[str, int]


@dataclass(frozen=True)
class ProxyHeader:
    """Where a connection really comes from and went to; None where the sender does not say.

    Attributes: is_local: the sender speaks for itself, as a health check does.
    """

    source: Place | None = None
    destination: Place | None = None
    is_local: bool = False


class ProxyHeaderReader:
    """Feed it what comes first on a connection, until `header` is there; `leftover` came behind it."""

    def __init__(self) -> None:
        self.header: ProxyHeader | None = None
        self.leftover = b""
        self._held = b""

    def receive_data(self, data: bytes) -> None:
        """Take more bytes; b"" says that the connection ended.

        Raises: HeadMalformed as soon as it is seen; what is too long is not waited for.
        """
        self._held += data
        size = _size_of(self._held)
        if size is None:
            if not data:
                raise HeadMalformed("the connection ended inside its PROXY header")
            return
        head, self.leftover = self._held[:size], self._held[size:]
        self._held = b""
        self.header = _read_line(head) if head.startswith(_LINE_START) else _read_binary(head)


def _size_of(held: bytes) -> int | None:
    """The size of the whole header, None while it is not all there."""
    if held.startswith(SIGNATURE):
        if len(held) < _FIXED_BYTES:
            return None
        body_bytes = int.from_bytes(held[14:16])
        if body_bytes > MAX_BODY_BYTES:
            raise HeadMalformed(f"a PROXY header of {body_bytes} bytes; at most {MAX_BODY_BYTES} are read")
        size = _FIXED_BYTES + body_bytes
        return size if len(held) >= size else None
    if held.startswith(_LINE_START):
        end = held.find(b"\r\n", 0, MAX_LINE_BYTES)
        if end >= 0:
            return end + 2
        if len(held) >= MAX_LINE_BYTES:
            raise HeadMalformed(f"a PROXY line without an end in its first {MAX_LINE_BYTES} bytes")
        return None
    if SIGNATURE.startswith(held) or _LINE_START.startswith(held):
        return None
    raise HeadMalformed("the connection does not begin with a PROXY header")


def _read_line(line: bytes) -> ProxyHeader:
    try:
        words = line[:-2].decode("ascii").split(" ")
    except UnicodeDecodeError:
        raise HeadMalformed("a PROXY line with bytes that are no ASCII") from None
    if words[1] == "UNKNOWN":
        # What follows is to be ignored
        return ProxyHeader()
    if len(words) != 6 or words[1] not in ("TCP4", "TCP6") or b"%" in line:
        raise HeadMalformed("a PROXY line that is not PROXY TCP4|TCP6 SOURCE DESTINATION PORT PORT")
    version = IPv4Address if words[1] == "TCP4" else IPv6Address
    try:
        hosts = [str(version(word)) for word in words[2:4]]
    except AddressValueError:
        raise HeadMalformed(f"a PROXY line with an address that is not of {words[1]}") from None
    ports = [int(word) if _PORT.match(word) else _MAX_PORT + 1 for word in words[4:]]
    if max(ports) > _MAX_PORT:
        raise HeadMalformed("a PROXY line with a port that is none")
    return ProxyHeader((hosts[0], ports[0]), (hosts[1], ports[1]))


def _read_binary(head: bytes) -> ProxyHeader:
    command, family = head[12], head[13]
    if command not in (_LOCAL, _PROXY):
        raise HeadMalformed(f"a PROXY header of version and command 0x{command:02x}, which is not known")
    if command == _LOCAL:
        return ProxyHeader(is_local=True)
    size = _ADDRESS_BYTES.get(family)
    if size is None:
        # AF_UNSPEC, UDP, Unix sockets: the connection is good, and nobody knows whose (section 2.2)
        return ProxyHeader()
    body = head[_FIXED_BYTES:]
    if len(body) < 2 * size + 4:
        raise HeadMalformed(f"a PROXY header with {len(body)} bytes for addresses of family 0x{family:02x}")
    version = IPv4Address if family == _TCP4 else IPv6Address
    source, destination = str(version(body[:size])), str(version(body[size : 2 * size]))
    ports = body[2 * size : 2 * size + 4]
    # TLVs behind them are skipped
    return ProxyHeader((source, int.from_bytes(ports[:2])), (destination, int.from_bytes(ports[2:])))


def proxy_header(version: int, source: Place | None, destination: Place | None) -> bytes:
    """The header for a connection on behalf of `source`; without both ends it says that they are unknown.

    An IPv4 address beside an IPv6 one is written as an IPv4-mapped one.

    Raises: LocalWireError for a version that is neither 1 nor 2, or an address that is none.
    """
    if version not in (1, 2):
        raise LocalWireError(f"PROXY protocol version {version}; there are 1 and 2")
    if source is None or destination is None:
        return b"PROXY UNKNOWN\r\n" if version == 1 else SIGNATURE + bytes((_PROXY, 0, 0, 0))
    hosts = [_address(host) for host, _ in (source, destination)]
    ports = (source[1], destination[1])
    if not all(0 <= port <= _MAX_PORT for port in ports):
        raise LocalWireError(f"ports {ports}; expected 0 to {_MAX_PORT}")
    is_ipv4 = all(isinstance(host, IPv4Address) for host in hosts)
    if not is_ipv4:
        hosts = [IPv6Address(f"::ffff:{host}") if isinstance(host, IPv4Address) else host for host in hosts]
    if version == 1:
        family = "TCP4" if is_ipv4 else "TCP6"
        return f"PROXY {family} {hosts[0]} {hosts[1]} {ports[0]} {ports[1]}\r\n".encode("ascii")
    body = b"".join(host.packed for host in hosts) + b"".join(port.to_bytes(2) for port in ports)
    family_byte = _TCP4 if is_ipv4 else _TCP6
    return SIGNATURE + bytes((_PROXY, family_byte)) + len(body).to_bytes(2) + body


def _address(host: str) -> IPv4Address | IPv6Address:
    text = host.partition("%")[0]
    for version in (IPv4Address, IPv6Address):
        try:
            return version(text)
        except AddressValueError:
            continue
    raise LocalWireError("a PROXY header has room for addresses only, not for names")
