"""Admission: which targets the express lane may dial without a closer look."""

from relay.access import Access
from relay.authority import read_authority
from relay.dial import Address, literal_addresses
from relay.dialler import Dialler
from relay.refused import Refused
from relay.route import Endpoint

# Targets that are remembered.
MAX_ADMITTED = 1024

Admitted = tuple[Endpoint, Address]


class Admission:
    """Remembers the addresses that nothing speaks against; make a new one when the rules change."""

    def __init__(self, access: Access, dialler: Dialler) -> None:
        self._access = access
        self._dialler = dialler
        self._admitted: dict[bytes, Admitted] = {}

    def admit(self, authority: bytes) -> Admitted | None:
        """Where a target is; None when it is a name, or when somebody has to say no to it."""
        found = self._admitted.get(authority)
        if found is None and (found := self._look_closer(authority)) is not None:
            if len(self._admitted) >= MAX_ADMITTED:
                self._admitted.clear()
            self._admitted[authority] = found
        return found

    def _look_closer(self, authority: bytes) -> Admitted | None:
        try:
            target = read_authority(authority.decode("ascii"))
            addresses = literal_addresses(target.host, target.port)
            if not addresses or self._access.refuses(target):
                return None
            self._dialler.check(addresses[0], target)
        except (ValueError, Refused):
            return None
        return target, addresses[0]
