"""Admission: which requests the express lane may act on without a closer look."""

import ipaddress
import re
from typing import NamedTuple

from relay.access import Access
from relay.authority import read_authority
from relay.dial import Address, literal_addresses
from relay.dialler import Dialler
from relay.refused import Refused
from relay.route import Endpoint

# Targets that are remembered, and heads: a client says the same to the same target each time.
MAX_ADMITTED = 1024
_MAX_HEAD_BYTES = 1024
# Host names the same target, and no field has a meaning for this hop: strict readings of it are all alike.
_USUAL = re.compile(
    rb"CONNECT ((?:[0-9]{1,3}(?:\.[0-9]{1,3}){3}|\[[0-9A-Fa-f:.]{2,45}\]):[1-9][0-9]{0,4}) HTTP/1\.[01]\r\n"
    rb"(?i:Host): \1\r\n"
    rb"(?:(?i:User-Agent|Accept|Proxy-Connection|Connection|Pragma|Cache-Control): [\x20-\x7e]{0,512}\r\n)"
    rb"{0,8}\r\n"
)


_Target = tuple[Endpoint, str, Address, bool]


class Admitted(NamedTuple):
    """Where a request leads.

    is_near: on this machine, which accepts at once or not at all. size: of the head, in bytes; what follows
    is for the target.
    """

    target: Endpoint
    name: str
    address: Address
    is_near: bool
    size: int


class Admission:
    """Remembers the addresses that nothing speaks against; make a new one when the rules change.

    heads: what has been admitted, by all that a client sent at first.
    """

    def __init__(self, access: Access, dialler: Dialler) -> None:
        self.access = access
        self.heads: dict[bytes, Admitted] = {}
        self._dialler = dialler
        self._targets: dict[bytes, _Target] = {}

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
            if not addresses or self.access.refuses(target):
                return None
            self._dialler.check(addresses[0], target)
        except (ValueError, Refused):
            return None
        return target, str(target), addresses[0], ipaddress.ip_address(target.host).is_loopback
