"""Limits: how much the proxy gives, and how much of it to one client. Door: who has how much of it now."""

import functools
import ipaddress
import math
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

from relay.refusal import Refusal, over_the_limit, too_many
from relay.toml_table import Between

# More than one process can have descriptors for.
MAX_COUNT = 1_000_000
# A day: longer than any wait that a person means.
MAX_SECONDS = 86_400.0
MAX_RATE = 1_000_000.0
# Clients whose rate is remembered; who falls out begins with a full allowance, as a new one does.
MAX_CLIENTS = 65_536

Count = Annotated[int | None, Between(1, MAX_COUNT)]
Seconds = Annotated[float, Between(0.001, MAX_SECONDS)]


@dataclass(frozen=True)
class Limits:
    """None is no limit. A client is an IPv4 address, or the first 64 bits of an IPv6 one (RFC 6177).

    connections: of clients, those of open tunnels included. client_connections: the same for one client.
    tunnels: open or being opened. client_tunnels: the same for one client.
    client_requests_per_second: how often one client may ask for something, and client_burst how often at
        once after a while of silence.
    head_timeout_seconds: for a whole head. connect_timeout_seconds: for name lookup and TCP connect together.
    answer_timeout_seconds: for the origin of a forwarded request to begin its reply.
    """

    connections: Count = None
    client_connections: Count = None
    tunnels: Count = None
    client_tunnels: Count = None
    client_requests_per_second: Annotated[float | None, Between(0.001, MAX_RATE)] = None
    client_burst: Count = None
    head_timeout_seconds: Seconds = 30.0
    connect_timeout_seconds: Seconds = 10.0
    answer_timeout_seconds: Seconds = 60.0


def host_of(peer: str) -> str:
    """The address in `address:port`, as a connection's peer is named; "" of one that is unknown."""
    return peer.rpartition(":")[0].strip("[]")


def client_of(peer: str) -> str:
    """Whom a connection is counted for. A network of 64 bits is one client: it can have any address in it."""
    host = host_of(peer)
    return network_of(host) if ":" in host else host


@functools.lru_cache(maxsize=4096)
def network_of(host: str) -> str:
    """As client_of, of a host that is an IPv6 address."""
    address = ipaddress.IPv6Address(host.partition("%")[0])
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ipaddress.IPv6Address(int(address) >> 64 << 64))


class Door:
    """Counts what clients have, of one process. All of it is forgotten when it is given back."""

    def __init__(self, limits: Limits, clock: Callable[[], float] = time.monotonic) -> None:
        self.limits = limits
        self.tunnels = 0
        # Those that are no tunnels
        self._others = 0
        # How many of each kind a client has; the last one takes it off the list
        self._tunnels_of: dict[str, int] = {}
        self._others_of: dict[str, int] = {}
        self._allowances: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self._clock = clock

    @property
    def connections(self) -> int:
        """Connections of clients, those of tunnels included."""
        return self._others + self.tunnels

    def tunnels_of(self, peer: str) -> int:
        """How many tunnels this client has open."""
        return self._tunnels_of.get(client_of(peer), 0)

    def refuses_connection(self, peer: str) -> Refusal | None:
        """Why no connection more is taken from this client, or None."""
        limits = self.limits
        if limits.connections is not None and self.connections >= limits.connections:
            return over_the_limit(f"{limits.connections} connections are open, and no more are taken")
        if (most := limits.client_connections) is not None:
            client = client_of(peer)
            if self._others_of.get(client, 0) + self._tunnels_of.get(client, 0) >= most:
                return over_the_limit(f"this client has {most} connections open, and gets no more")
        return None

    def refuses_tunnel(self, peer: str) -> Refusal | None:
        """Why no tunnel more is opened for this client, or None."""
        limits = self.limits
        if limits.tunnels is not None and self.tunnels >= limits.tunnels:
            return over_the_limit(f"{limits.tunnels} tunnels are open, and no more are opened")
        if limits.client_tunnels is not None and self.tunnels_of(peer) >= limits.client_tunnels:
            return over_the_limit(f"this client has {limits.client_tunnels} tunnels open, and gets no more")
        return None

    def refuses_request(self, peer: str) -> Refusal | None:
        """Count one request; why it comes too soon after others of this client, or None."""
        rate = self.limits.client_requests_per_second
        if rate is None:
            return None
        most = float(self.limits.client_burst or max(1, math.ceil(rate)))
        now, client = self._clock(), client_of(peer)
        left, then = self._allowances.pop(client, (most, now))
        left = min(most, left + (now - then) * rate)
        is_allowed = left >= 1
        self._allowances[client] = (left - 1 if is_allowed else left, now)
        if len(self._allowances) > MAX_CLIENTS:
            self._allowances.popitem(last=False)
        if is_allowed:
            return None
        return too_many(f"more than {rate:g} requests a second", math.ceil((1 - left) / rate))

    def take(self, peer: str) -> None:
        """A connection is open from now on."""
        self._others += 1
        client = client_of(peer)
        self._others_of[client] = self._others_of.get(client, 0) + 1

    def give_back(self, peer: str) -> None:
        """It is closed."""
        self._others -= 1
        _one_less(self._others_of, client_of(peer))

    def take_tunnel(self, client: str) -> None:
        """A tunnel of this client (client_of) is open; it counts as a connection as well."""
        self.tunnels += 1
        self._tunnels_of[client] = self._tunnels_of.get(client, 0) + 1

    def give_back_tunnel(self, client: str) -> None:
        """It has ended."""
        self.tunnels -= 1
        _one_less(self._tunnels_of, client)


def _one_less(held: dict[str, int], client: str) -> None:
    left = held[client] - 1
    if left:
        held[client] = left
    else:
        del held[client]
