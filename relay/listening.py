"""Listening sockets, and what must be said when they are not on loopback."""

import contextlib
import ipaddress
import socket
from collections.abc import Sequence

from relay.route import Endpoint

BACKLOG = 1024


def listen_on(endpoints: Sequence[Endpoint]) -> list[socket.socket]:
    """One listening, non-blocking socket per address of each endpoint (a name may have several).

    Raises: OSError whose message names the endpoint; nothing stays open then.
    """
    sockets: list[socket.socket] = []
    try:
        for endpoint in endpoints:
            sockets += [_listener(endpoint, *address) for address in _addresses(endpoint)]
    except OSError:
        for sock in sockets:
            sock.close()
        raise
    return sockets


def _addresses(endpoint: Endpoint) -> list[tuple[socket.AddressFamily, tuple]]:  # type: ignore[type-arg]
    try:
        found = socket.getaddrinfo(
            endpoint.host, endpoint.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except (socket.gaierror, UnicodeError) as error:
        raise OSError(f"cannot listen on {endpoint}: {error}") from None
    distinct = dict.fromkeys((socket.AddressFamily(family), sockaddr) for family, _, _, _, sockaddr in found)
    # A name such as localhost with port 0 would give each address a port of its own: take the first
    return list(distinct)[:1] if endpoint.port == 0 else list(distinct)


def _listener(endpoint: Endpoint, family: socket.AddressFamily, sockaddr: tuple) -> socket.socket:  # type: ignore[type-arg]
    try:
        sock = socket.socket(family, socket.SOCK_STREAM)
    except OSError as error:
        raise OSError(error.errno, f"cannot listen on {endpoint}: {error.strerror}") from None
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            # [::] and 0.0.0.0 are two listeners that a user names on their own (ipv6(7))
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind(sockaddr)
        sock.listen(BACKLOG)
    except OSError as error:
        sock.close()
        raise OSError(error.errno, f"cannot listen on {endpoint}: {error.strerror}") from None
    return sock


def bound_endpoint(sock: socket.socket) -> Endpoint:
    """Where a socket really listens, or its own end of a connection."""
    host, port = sock.getsockname()[:2]
    return Endpoint(host, port)


def is_public(endpoint: Endpoint) -> bool:
    """True when others than this machine can reach a listener on this address."""
    with contextlib.suppress(ValueError):
        return not ipaddress.ip_address(endpoint.host).is_loopback
    return True
