"""Who may reach what through the proxy: the policy, decided before and after the name lookup."""

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass

from relay.failure import SettingsError
from relay.route import MAX_PORT, Endpoint

IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
# Metadata services of clouds outside the link-local ranges: AWS, Google, Alibaba, Oracle, Azure.
_METADATA = frozenset(
    ipaddress.ip_address(text)
    for text in ("fd00:ec2::254", "fd20:ce::254", "100.100.100.200", "192.0.0.192", "168.63.129.16")
)
# "This host on this network" (RFC 6890); Linux connects to 0.0.0.0 as to 127.0.0.1.
_THIS_NETWORK = ipaddress.ip_network("0.0.0.0/8")
_BROADCAST = ipaddress.ip_address("255.255.255.255")
# IPv6 forms that end in an IPv4 address: NAT64 (RFC 6052, RFC 8215), IPv4-translated (RFC 2765).
_ENDING_IN_IPV4 = tuple(map(ipaddress.ip_network, ("64:ff9b::/96", "64:ff9b:1::/48", "::ffff:0:0:0/96")))
# ISATAP (RFC 5214): an interface identifier of 0000:5efe or 0200:5efe, then the IPv4 address.
_ISATAP = (0x0000_5EFE, 0x0200_5EFE)
MAX_RANGE_DIGITS = len(str(MAX_PORT))


@dataclass(frozen=True)
class Access:
    """The rules.

    allow_ports: the only ports that a target may have, of CONNECT and of http URIs; empty means every port.
    allow_local: whether targets on this machine and its link may be reached; None leaves it to the proxy,
        which allows it when it listens on loopback only.
    """

    allow_ports: tuple[range, ...] = ()
    allow_local: bool | None = None

    def refuses(self, target: Endpoint) -> str | None:
        """Why the target as named is refused, or None."""
        if self.allow_ports and not any(target.port in ports for ports in self.allow_ports):
            return f"port {target.port} is not allowed"
        return None

    def refuses_address(self, host: str) -> str | None:
        """Why this resolved address is refused, or None: the address that is checked is the one dialled."""
        if self.allow_local:
            return None
        for address in embedded(ipaddress.ip_address(host.partition("%")[0])):
            if address.is_loopback or address.is_unspecified or _is_in(address, _THIS_NETWORK):
                return f"{host} is the proxy's own machine"
            if address.is_link_local or address.is_multicast or address == _BROADCAST or address in _METADATA:
                return f"{host} is link-local, multicast, broadcast or a metadata service"
        return None


def embedded(address: IpAddress) -> list[IpAddress]:
    """The address itself, and the IPv4 addresses that an IPv6 form of it carries.

    Mapped, compatible (RFC 4291 section 2.5.5), 6to4, Teredo (RFC 4380), NAT64, translated, ISATAP.
    """
    found: list[IpAddress] = [address]
    if isinstance(address, ipaddress.IPv4Address):
        return found
    number = int(address)
    last = ipaddress.IPv4Address(number & 0xFFFF_FFFF)
    found += [inner for inner in (address.ipv4_mapped, address.sixtofour) if inner is not None]
    found += address.teredo or ()
    is_compatible = 1 < number < 2**32
    if is_compatible or any(address in network for network in _ENDING_IN_IPV4):
        found.append(last)
    if number >> 32 & 0xFFFF_FFFF in _ISATAP:
        found.append(last)
    return found


def _is_in(address: IpAddress, network: ipaddress.IPv4Network | ipaddress.IPv6Network) -> bool:
    return address.version == network.version and address in network


def parse_ports(values: Sequence[str], what: str = "--allow-port") -> tuple[range, ...]:
    """Read `5000` or `5000-5010`, several in one value separated by commas.

    Raises: SettingsError
    """
    return tuple(_parse_range(part.strip(), what) for value in values for part in value.split(","))


def _parse_range(text: str, what: str) -> range:
    low, dash, high = text.partition("-")
    first, last = _parse_port(low), _parse_port(high if dash else low)
    if 0 < first <= last:
        return range(first, last + 1)
    expected = f"a port from 1 to {MAX_PORT}, or a range such as 5000-5010"
    raise SettingsError(f"{what}: {text[:40]!r}; expected {expected}")


def _parse_port(text: str) -> int:
    """The port, 0 when it is none."""
    is_number = text.isascii() and text.isdigit() and len(text) <= MAX_RANGE_DIGITS
    return int(text) if is_number and int(text) <= MAX_PORT else 0
