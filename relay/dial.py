"""Addresses and TCP sockets, the facts that asyncio and threads share."""

import contextlib
import socket
import struct
from collections.abc import Sequence

Address = tuple[socket.AddressFamily, tuple[str, int] | tuple[str, int, int, int]]

# A name with more addresses than this is a mistake or an attack on our patience.
MAX_ADDRESSES = 16
# Where the system knows these, they spare a call each (socket(2)).
STREAM_NOW = socket.SOCK_STREAM | getattr(socket, "SOCK_NONBLOCK", 0) | getattr(socket, "SOCK_CLOEXEC", 0)
_LINGER_NOTHING = struct.pack("ii", 1, 0)


def literal_addresses(host: str, port: int) -> list[Address] | None:
    """The address itself when `host` is a literal, without any resolver; else None."""
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            socket.inet_pton(family, host)
        except (OSError, ValueError):
            continue
        return [(family, (host, port) if family == socket.AF_INET else (host, port, 0, 0))]
    return None


def addresses_of(found: Sequence[tuple[int, int, int, str, tuple]]) -> list[Address]:  # type: ignore[type-arg]
    """Reduce getaddrinfo's answer to distinct (family, sockaddr) pairs, at most MAX_ADDRESSES."""
    pairs: dict[Address, None] = {}
    for family, _, _, _, sockaddr in found:
        pairs[(socket.AddressFamily(family), sockaddr)] = None
    return list(pairs)[:MAX_ADDRESSES]


def new_socket(family: socket.AddressFamily) -> socket.socket:
    """A non-blocking TCP socket set up for tunnels: no Nagle delay, keep-alive on (tcp(7))."""
    sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    sock.setblocking(False)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    return sock


def reset_socket(sock: socket.SocketType) -> None:
    """Close with RST: what is still in the send queue is thrown away."""
    reset_when_closed(sock)
    sock.close()


def reset_when_closed(sock: socket.SocketType) -> None:
    """Have the kernel send RST, and throw away what is still in the send queue, as soon as `sock` is closed.

    Source: socket(7), SO_LINGER 0.
    """
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NOTHING)
