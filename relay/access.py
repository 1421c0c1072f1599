"""Who may reach what through the proxy: the policy, decided before and after the name lookup."""

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass

from relay.failure import SettingsError
from relay.route import MAX_PORT, Endpoint

IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
# Cloud metadata services outside 169.254.0.0/16, which is link-local anyway.
_METADATA = (ipaddress.ip_address("fd00:ec2::254"), ipaddress.ip_address("100.100.100.200"))
_NAT64 = ipaddress.ip_network("64:ff9b::/96")


@dataclass(frozen=True)
class Access:
    """The rules.

    allow_ports: the only ports that CONNECT may name; empty means every port.
    allow_local: whether targets on this machine and its link may be reached.
    """

    allow_ports: tuple[range, ...] = ()
    allow_local: bool = True

    def refuses(self, target: Endpoint) -> str | None:
        """Why the target as named is refused, or None."""
        if self.allow_ports and not any(target.port in ports for ports in self.allow_ports):
            return f"port {target.port} is not allowed"
        return None

    def refuses_address(self, host: str) -> str | None:
        """Why this resolved address is refused, or None: the address that is checked is the one dialled."""
        if self.allow_local:
            return None
        address = embedded(ipaddress.ip_address(host.partition("%")[0]))
        if address.is_loopback or address.is_unspecified:
            return f"{host} is the proxy's own machine"
        if address.is_link_local or address.is_multicast or address in _METADATA:
            return f"{host} is link-local, multicast or a metadata service"
        return None


def embedded(address: IpAddress) -> IpAddress:
    """The IPv4 address inside an IPv6 form that carries one (mapped, compatible, 6to4, Teredo, NAT64)."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address.sixtofour is not None:
        return address.sixtofour
    if address.teredo is not None:
        return address.teredo[1]
    # ::a.b.c.d (RFC 4291 section 2.5.5.1), but not :: and ::1
    if address in _NAT64 or 1 < int(address) < 2**32:
        return ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
    return address


def parse_ports(values: Sequence[str], what: str = "--allow-port") -> tuple[range, ...]:
    """Read `5000` or `5000-5010`, several in one value separated by commas.

    Raises: SettingsError
    """
    return tuple(_parse_range(part.strip(), what) for value in values for part in value.split(","))


def _parse_range(text: str, what: str) -> range:
    low, dash, high = text.partition("-")
    high = high if dash else low
    if all(part.isascii() and part.isdigit() and 0 < int(part[:9]) <= MAX_PORT for part in (low, high)) and int(
        low
    ) <= int(high):
        return range(int(low), int(high) + 1)
    raise SettingsError(f"{what}: {text[:40]!r}; expected a port from 1 to {MAX_PORT}, or a range such as 5000-5010")
