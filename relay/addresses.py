"""Addresses that a proxy must not lead others to, and the IPv4 addresses that IPv6 forms carry."""

import ipaddress

from relay.access_networks import IpAddress, IpNetwork

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


def of_this_machine(host: str) -> str | None:
    """Why this address is of the proxy's own machine or link, in any form, or a metadata service; or None."""
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


def _is_in(address: IpAddress, network: IpNetwork) -> bool:
    return address.version == network.version and address in network


def address_of(peer: str) -> IpAddress | None:
    """The address in HOST:PORT, as a connection's peer is named; None where there is none."""
    try:
        return ipaddress.ip_address(peer.rpartition(":")[0].strip("[]").partition("%")[0])
    except ValueError:
        return None
