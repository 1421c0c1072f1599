"""Listening sockets: bound, accepted from, and what must be said when they are not on loopback."""

import asyncio
import contextlib
import errno
import ipaddress
import resource
import socket
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any, NoReturn

from relay.route import Endpoint

BACKLOG = 1024
ACCEPT_AGAIN_SECONDS = 0.1
# Descriptors beside those of connections: listeners, logs, the event loop's own, libraries.
SPARE_DESCRIPTORS = 64
# A name may stand for an address that this machine does not have, as ::1 for localhost without IPv6.
_NOT_HERE = {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT}

_Address = tuple[socket.AddressFamily, tuple[Any, ...]]


def listen_on(endpoints: Sequence[Endpoint], *, share_port: bool = False) -> list[socket.socket]:
    """One listening, non-blocking socket per address of each endpoint (a name may have several).

    Args:    share_port: other sockets may listen there too, and the kernel shares out (SO_REUSEPORT).

    Raises: OSError whose message names the endpoint; nothing stays open then.
    """
    sockets: list[socket.socket] = []
    try:
        for endpoint in endpoints:
            sockets += _listeners(endpoint, share_port)
    except OSError:
        for sock in sockets:
            sock.close()
        raise
    return sockets


def _listeners(endpoint: Endpoint, share_port: bool) -> list[socket.socket]:
    sockets: list[socket.socket] = []
    missing: OSError | None = None
    for address in _addresses(endpoint):
        try:
            sockets.append(_listener(*address, share_port=share_port))
        except OSError as error:
            if error.errno in _NOT_HERE:
                missing = error
                continue
            for sock in sockets:
                sock.close()
            _fail(endpoint, error)
        if endpoint.port == 0:
            # Each address of a name such as localhost would get a port of its own: one is enough
            break
    if missing is not None and not sockets:
        _fail(endpoint, missing)
    return sockets


def _fail(endpoint: Endpoint, error: OSError) -> NoReturn:
    raise OSError(error.errno, f"cannot listen on {endpoint}: {error.strerror}") from None


def _addresses(endpoint: Endpoint) -> list[_Address]:
    try:
        found = socket.getaddrinfo(
            endpoint.host, endpoint.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except UnicodeError as error:
        _fail(endpoint, OSError(errno.EINVAL, str(error)))
    except OSError as error:
        _fail(endpoint, error)
    return list(dict.fromkeys((family, address) for family, _, _, _, address in found))


def _listener(
    family: socket.AddressFamily, address: tuple[Any, ...], *, share_port: bool
) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if share_port:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            # [::] and 0.0.0.0 are two listeners that a user names on their own (ipv6(7))
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind(address)
        sock.listen(BACKLOG)
    except OSError:
        sock.close()
        raise
    return sock


async def accept_each(listener: socket.socket, greet: Callable[[socket.socket], Awaitable[None]]) -> None:
    """Accept until cancelled, and await `greet` with each connection (non-blocking), one after the other.

    asyncio's own server tells the loop's exception handler when descriptors run out, and nobody can know
    which connections it has half made; loop.sock_accept loses the one it has just accepted when it is
    cancelled. Here a connection is `greet`'s from the moment it is accepted.
    """
    while True:
        # What is accepted at once does not wait; a flood must not keep the loop from everything else
        await asyncio.sleep(0)
        try:
            sock, _ = listener.accept()
        except BlockingIOError:
            sock = None
        except OSError:
            # Out of descriptors: the connection waits in the queue until some are free again
            await asyncio.sleep(ACCEPT_AGAIN_SECONDS)
            continue
        if sock is not None:
            sock.setblocking(False)
            await greet(sock)
            continue
        try:
            await _somebody_comes(listener)
        except OSError:
            # All watches of this user are taken (epoll_ctl(2))
            await asyncio.sleep(ACCEPT_AGAIN_SECONDS)


async def _somebody_comes(listener: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    comes = asyncio.Event()
    loop.add_reader(listener, comes.set)
    try:
        await comes.wait()
    finally:
        loop.remove_reader(listener)


def those_waiting(listener: socket.socket) -> Iterator[socket.socket]:
    """Accept whoever has come by now (non-blocking): the end of the listener would reset them.

    Those for whom there is no descriptor left stay where they are.
    """
    # As many as its queue holds: others may come as fast as these are taken
    with contextlib.suppress(OSError):
        for _ in range(BACKLOG):
            sock, _ = listener.accept()
            sock.setblocking(False)
            yield sock


def accept_no_more(server: asyncio.Server) -> None:
    """Stop accepting, before `close`: a server that is closed loses what asyncio has just accepted.

    Its transport is made in a later turn of the loop, and then fails on an assertion, half open.
    """
    for sock in server.sockets:
        # uvloop has a listener that nobody may take its descriptor from, and no such gap
        with contextlib.suppress(RuntimeError):
            asyncio.get_running_loop().remove_reader(sock.fileno())


def allow_descriptors(connections: int) -> bool:
    """Raise this process's soft limit of open files so that `connections` fit; False when they do not.

    Source: getrlimit(2): the soft limit may be raised up to the hard one; 1024 is a common soft limit.
    """
    needed = connections + SPARE_DESCRIPTORS
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return True
    possible = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (possible, hard))
        return possible == needed
    return False


def bound_endpoint(sock: socket.socket) -> Endpoint:
    """Where a socket really listens, or its own end of a connection."""
    host, port = sock.getsockname()[:2]
    return Endpoint(host, port)


def is_public(endpoint: Endpoint) -> bool:
    """True when others than this machine can reach a listener on this endpoint; a name is looked up."""
    try:
        addresses = [ipaddress.ip_address(endpoint.host)]
    except ValueError:
        try:
            addresses = [ipaddress.ip_address(address[0]) for _, address in _addresses(endpoint)]
        except (OSError, ValueError):
            return True
    return not all(address.is_loopback for address in addresses)
