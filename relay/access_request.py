"""Asked: one request as the policy sees it; what few rules want is worked out when one does."""

import functools
import ipaddress
import time
from collections.abc import Callable

from relay.access_networks import IpAddress, unmapped
from relay.route import Endpoint


def _nobody_counts() -> int:
    return 0


class Asked:
    """What is asked, by whom, and when.

    Args:
        method: of the request.
        target: as named by the client; `host` is its host in the one spelling that rules are compared with:
            lower case, without the root's dot.
        client: the client's address, without its port.
        user: who has logged in, None while nobody has.
        user_agent: the value of User-Agent; "" without one.
        certificate: the subject of the client's certificate; "" without one.
        open_tunnels: of the whole proxy, now. client_tunnels: those of this client.
        now: local time.
    """

    def __init__(
        self,
        method: str,
        target: Endpoint,
        client: str,
        *,
        user: str | None = None,
        user_agent: Callable[[], str] = str,
        certificate: str = "",
        open_tunnels: Callable[[], int] = _nobody_counts,
        client_tunnels: Callable[[], int] = _nobody_counts,
        now: Callable[[], time.struct_time] = time.localtime,
    ) -> None:
        self.method = method
        self.target = target
        self.client = client
        self.user = user
        self.user_agent = user_agent
        self.certificate = certificate
        self.open_tunnels = open_tunnels
        self.client_tunnels = client_tunnels
        self.now = now
        self.host = target.host.lower().removesuffix(".")
        self._is_host_read = self._is_client_read = False
        self._literal: IpAddress | None = None
        self._client_address: IpAddress | None = None

    @property
    def literal(self) -> IpAddress | None:
        """The address that the client named; None when it named a host by name."""
        if not self._is_host_read:
            self._is_host_read, self._literal = True, _address(self.host)
        return self._literal

    @property
    def client_address(self) -> IpAddress | None:
        """Where the client is; None behind a Unix socket, or when it had gone before we could look."""
        if not self._is_client_read:
            address = _address(self.client)
            self._is_client_read, self._client_address = True, None if address is None else unmapped(address)
        return self._client_address


# Clients come again, and targets are asked for again.
@functools.lru_cache(maxsize=4096)
def _address(host: str) -> IpAddress | None:
    # A name's last label is not numeric (relay.route.checked_host), and an address has a digit or ":" last
    if not host or (host[-1].isalpha() and ":" not in host):
        return None
    try:
        return ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return None
