"""NetworkSet: whether an address is in one of many networks, in a time that their number does not change."""

import ipaddress
from collections.abc import Iterable

IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
IpNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network
_BITS = {4: 32, 6: 128}


class NetworkSet:
    """Networks by the length of their prefix: one look for each length, however many networks there are."""

    __slots__ = ("_by_length",)

    def __init__(self, networks: Iterable[IpNetwork]) -> None:
        prefixes: dict[tuple[int, int], set[int]] = {}
        for network in networks:
            shift = _BITS[network.version] - network.prefixlen
            prefixes.setdefault((network.version, shift), set()).add(int(network.network_address) >> shift)
        self._by_length = tuple(prefixes.items())

    def __contains__(self, address: IpAddress) -> bool:
        number, version = int(address), address.version
        for (network_version, shift), prefixes in self._by_length:
            if version == network_version and number >> shift in prefixes:
                return True
        return False


def unmapped(address: IpAddress) -> IpAddress:
    """The IPv4 address that an IPv4-mapped one (RFC 4291 section 2.5.5.2) means to a socket."""
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address
