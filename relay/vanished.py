"""Peers that vanish without a word: a power cut, a pulled cable, a firewall that forgot the connection."""

import contextlib
import socket

# A live peer answers the first probe; after the last one the kernel ends the connection with ETIMEDOUT, two
# minutes after the peer was last heard. The kernel's own two hours are longer than any firewall remembers.
KEEPALIVE = {"TCP_KEEPIDLE": 60, "TCP_KEEPINTVL": 15, "TCP_KEEPCNT": 4}
# Not every system has these.
_OPTIONS = tuple((getattr(socket, name), value) for name, value in KEEPALIVE.items() if hasattr(socket, name))

# struct tcp_info begins with the state (linux/tcp.h); 7 is TCP_CLOSE: both ways are gone.
_STATE_BYTES = 1
_TCP_CLOSE = 7


def notice_vanished(sock: socket.SocketType) -> None:
    """Have the kernel probe an idle connection (tcp(7)): none stays open to a peer that is no more."""
    # A connection may already be broken
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in _OPTIONS:
            sock.setsockopt(socket.IPPROTO_TCP, option, value)


def is_dead(sock: socket.SocketType) -> bool:
    """Whether the connection was reset or given up, although nobody has read or written since.

    True as well for one that has ended cleanly, so ask only while our own FIN has not been sent.
    False where the system does not tell.
    """
    try:
        state = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _STATE_BYTES)
    except (OSError, AttributeError):
        return False
    return state == bytes([_TCP_CLOSE])
