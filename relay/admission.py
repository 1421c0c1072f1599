"""Admission: which requests the express lane may act on without a closer look."""

import ipaddress
import re
import socket
import time
from typing import Any, NamedTuple

from relay.access import Access
from relay.authority import read_authority
from relay.dial import Address, literal_addresses
from relay.dialler import Dialler
from relay.refused import Refused
from relay.route import Endpoint

# An address that this machine takes later is refused then: where its own are, and where the proxy listens.
_FRESH_SECONDS = 30.0
# Targets that are remembered, and heads: a client says the same to the same target each time.
MAX_ADMITTED = 1024
_MAX_HEAD_BYTES = 1024
# Below it no system gives ports to who asks for any (ip(7), ip_local_port_range)
_FIRST_EPHEMERAL = 1024
# Host names the same target, and no field has a meaning for this hop: strict readings of it are all alike.
_USUAL = re.compile(
    rb"CONNECT ((?:[0-9]{1,3}(?:\.[0-9]{1,3}){3}|\[[0-9A-Fa-f:.]{2,45}\]):[1-9][0-9]{0,4}) HTTP/1\.[01]\r\n"
    rb"(?i:Host): \1\r\n"
    rb"(?:(?i:User-Agent|Accept|Proxy-Connection|Connection|Pragma|Cache-Control): [\x20-\x7e]{0,512}\r\n)"
    rb"{0,8}\r\n"
)


_Target = tuple[Endpoint, str, Address, bool, bool]


class Admitted(NamedTuple):
    """Where a request leads.

    is_near: on this machine, which accepts at once or not at all. may_meet_itself: a socket that dials it may
    be given its very address and port. size: of the head, in bytes; what follows is for the target.
    """

    target: Endpoint
    name: str
    address: Address
    is_near: bool
    may_meet_itself: bool
    size: int


class Admission:
    """Remembers the addresses that nothing speaks against; make a new one when it holds no more.

    heads: what has been admitted, by all that a client sent at first.
    """

    def __init__(self, access: Access, dialler: Dialler) -> None:
        self._access = access
        self._until = time.monotonic() + _FRESH_SECONDS
        self.heads: dict[bytes, Admitted] = {}
        self._dialler = dialler
        self._targets: dict[bytes, _Target] = {}

    def holds(self, access: Access) -> bool:
        """Whether what is remembered is what these rules would say now."""
        return access is self._access and time.monotonic() < self._until

    def admit(self, data: bytes) -> Admitted | None:
        """Where a CONNECT to an address, in the form that all usual clients send, leads.

        None when it is another request, not whole, to a name, or when somebody has to say no to it.
        """
        match = _USUAL.match(data)
        if match is None:
            return None
        authority = match[1]
        found = self._targets.get(authority)
        if found is None:
            found = self._look_closer(authority)
            if found is None:
                return None
            if len(self._targets) >= MAX_ADMITTED:
                self._targets.clear()
            self._targets[authority] = found
        admitted = Admitted(*found, match.end())
        if match.end() == len(data) <= _MAX_HEAD_BYTES:
            if len(self.heads) >= MAX_ADMITTED:
                self.heads.clear()
            self.heads[data] = admitted
        return admitted

    def _look_closer(self, authority: bytes) -> _Target | None:
        try:
            target = read_authority(authority.decode("ascii"))
            addresses = literal_addresses(target.host, target.port)
            if not addresses or self._access.refuses(target):
                return None
            self._dialler.check(addresses[0], target)
        except (ValueError, Refused, OSError):
            # Also when descriptors are used up: nothing is remembered that could not be looked at
            return None
        is_near = ipaddress.ip_address(target.host).is_loopback
        return target, str(target), addresses[0], is_near, _may_meet_itself(*addresses[0])


def _may_meet_itself(family: socket.AddressFamily, address: tuple[Any, ...]) -> bool:
    """Whether the source of connections to it may be the address itself, with its port.

    A UDP socket is told its source without a packet (udp(7)).
    """
    if address[1] < _FIRST_EPHEMERAL:
        return False
    try:
        # Descriptors may be used up, and a system may be without IPv6
        with socket.socket(family, socket.SOCK_DGRAM) as sock:
            sock.connect(address)
            return bool(sock.getsockname()[0] == address[0])
    except OSError:
        return True
