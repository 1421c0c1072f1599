"""Name lookup with a limit: getaddrinfo(3) has none of its own, so each one waits in a thread of its own.

The threads are daemons, so that a resolver that does not answer does not hold up an exit either.
"""

import errno
import queue
import socket
import threading
from collections.abc import Callable

from relay.dial import Address, addresses_of

Answer = list[Address] | OSError


def look_up(host: str, port: int) -> list[Address]:
    """Every address of a name, in the order of getaddrinfo(3) (RFC 6724). Blocks.

    Raises: socket.gaierror
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except UnicodeError as error:
        # The idna codec refuses labels beyond 63 characters with an error of its own
        raise socket.gaierror(socket.EAI_NONAME, str(error)) from None
    return addresses_of(found)


def look_up_within(host: str, port: int, limit_seconds: float) -> list[Address]:
    """As `look_up`, but no longer than `limit_seconds`. Raises: OSError, TimeoutError."""
    answers: queue.SimpleQueue[Answer] = queue.SimpleQueue()
    begin_lookup(host, port, answers.put)
    try:
        answer = answers.get(timeout=limit_seconds)
    except queue.Empty:
        raise TimeoutError from None
    if isinstance(answer, OSError):
        raise answer
    return answer


def begin_lookup(host: str, port: int, tell: Callable[[Answer], None]) -> None:
    """Look up in a thread, which calls `tell`. Raises: OSError when there can be no further thread."""

    def ask() -> None:
        try:
            tell(look_up(host, port))
        except OSError as error:
            tell(error)

    try:
        threading.Thread(target=ask, name=f"look up {host}", daemon=True).start()
    except RuntimeError as error:
        raise OSError(errno.EAGAIN, str(error)) from None
