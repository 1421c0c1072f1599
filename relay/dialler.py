"""Dialler: look a target up, check its addresses, connect to one that was checked."""

import asyncio
import contextlib
import ipaddress
import socket
from collections.abc import Callable, Sequence

from relay.access import Access, embedded
from relay.access_networks import IpAddress
from relay.dial import Address, literal_addresses
from relay.failure import DialFailed, Failure, Reason, Stage
from relay.lookups import Lookups
from relay.own_addresses import is_own_address
from relay.refusal import Refusal
from relay.refused import Refused
from relay.route import Endpoint
from relay.stream import SocketStream
from relay.trace import Trace
from relay.tunnel import connect
from relay.vanished import notice_vanished

RefusesAt = Callable[[str], Refusal | None]


class Dialler:
    """Reaches targets for a proxy.

    Args:
        own: where the proxy itself listens; it does not connect to itself.
        connect_timeout_seconds: for name lookup and TCP connect together.
    """

    def __init__(self, access: Access, own: Sequence[Endpoint], connect_timeout_seconds: float) -> None:
        self.access = access
        self._own = [(_address(endpoint.host), endpoint.port) for endpoint in own]
        self.connect_timeout_seconds = connect_timeout_seconds
        self._lookups = Lookups()

    async def aclose(self) -> None:
        """Stop looking up names."""
        await self._lookups.aclose()

    async def dial(self, target: Endpoint, refuses_at: RefusesAt | None = None) -> SocketStream:
        """Return an open stream to `target`, if no address is refused. Raises: RelayError, Refused."""
        trace = Trace(self.connect_timeout_seconds)
        with trace.step(Stage.RESOLVE, target.host):
            addresses = literal_addresses(target.host, target.port)
            if addresses is None:
                async with asyncio.timeout(trace.remaining_seconds()):
                    addresses = await self._lookups.look_up(target.host, target.port)
        for address in addresses:
            with trace.step(Stage.CONNECT, str(target)):
                self.check(address, target)
            if refuses_at is not None and (refusal := refuses_at(str(address[1][0]))):
                raise Refused(refusal)
        with trace.step(Stage.CONNECT, str(target)):
            stream = await self._first_open(trace, addresses)
        sock = stream.fileno_socket()
        if _is_itself(sock):
            await stream.aclose()
            raise DialFailed(Failure(Stage.CONNECT, Reason.REFUSED, str(target)))
        notice_vanished(sock)
        return stream

    def check(self, address: Address, target: Endpoint) -> None:
        """Raises: Refused when this address of `target` may not be reached; OSError when nobody can tell."""
        host = str(address[1][0])
        access, reason = self.access, self.access.refuses_address(host)
        if reason is None and not access.allow_local and any(map(is_own_address, embedded(_address(host)))):
            reason = f"{host} is the proxy's own machine"
        if reason is not None:
            raise Refused(Refusal(403, "destination_ip_prohibited", reason))
        if self._is_own(_address(host), target.port):
            raise Refused(Refusal(502, "proxy_loop_detected", f"{target} is this proxy itself"))

    async def _first_open(self, trace: Trace, addresses: Sequence[Address]) -> SocketStream:
        for left in range(len(addresses), 0, -1):
            # Shared out, so that a first dead address does not eat the time of the others
            limit_seconds = trace.remaining_seconds() / left
            try:
                return await connect(addresses[-left], limit_seconds)
            except OSError:
                if left == 1:
                    raise
        raise OSError("the name has no address")

    def _is_own(self, address: IpAddress, port: int) -> bool:
        dialled = _reached(address)
        for own, own_port in self._own:
            if own_port != port or own.version != dialled.version:
                continue
            if own == dialled or (own.is_unspecified and is_own_address(dialled)):
                return True
        return False


def _address(host: str) -> IpAddress:
    return ipaddress.ip_address(host.partition("%")[0])


def _reached(address: IpAddress) -> IpAddress:
    """The address that a connect goes to: a mapped one is IPv4, an unspecified one is loopback (ip(7))."""
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    if address.is_unspecified:
        return ipaddress.ip_address("127.0.0.1" if address.version == 4 else "::1")
    return address


def _is_itself(sock: socket.socket) -> bool:
    """TCP lets a socket that happens to get the port it dials connect to itself (RFC 9293 section 3.5)."""
    with contextlib.suppress(OSError):
        return bool(sock.getsockname() == sock.getpeername())
    return False
