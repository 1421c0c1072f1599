"""Happy Eyeballs (RFC 8305): connect to several addresses, staggered, and keep the first that takes us.

The race makes sockets and never waits; whoever runs it waits for `pending` to become writable.
"""

import errno
import os
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, zip_longest

from relay.dial import Address, new_socket

# RFC 8305 section 5: the recommended delay between the beginnings of two attempts.
STAGGER_SECONDS = 0.25


@dataclass
class Outcome:
    """How one address did. `seconds` is from its beginning; None while it is under way or was not tried."""

    address: str
    result: str = "not tried"
    seconds: float | None = None


def interleaved(addresses: Sequence[Address]) -> list[Address]:
    """The same addresses, families in turn, the first one's first (RFC 8305 section 4)."""
    first = [address for address in addresses if address[0] == addresses[0][0]]
    others = [address for address in addresses if address[0] != addresses[0][0]]
    return [found for found in chain.from_iterable(zip_longest(first, others)) if found is not None]


class Race:
    """Attempts to connect, each `stagger_seconds` after the one before, or at once when that one has failed.

    Attributes: winner: the connected socket, the caller's from then on. pending: sockets under way.
    """

    def __init__(
        self,
        addresses: Sequence[Address],
        outcomes: list[Outcome],
        stagger_seconds: float = STAGGER_SECONDS,
    ) -> None:
        self._waiting = interleaved(addresses)
        self._outcomes = outcomes
        outcomes[:] = [Outcome(str(sockaddr[0])) for _, sockaddr in self._waiting]
        self._stagger_seconds = stagger_seconds
        self._next_at = 0.0
        self._next = 0
        self._begun: dict[socket.socket, tuple[Outcome, float]] = {}
        self._error: OSError = OSError(errno.EADDRNOTAVAIL, "the name has no address")
        self.winner: socket.socket | None = None

    @property
    def pending(self) -> list[socket.socket]:
        return list(self._begun)

    def advance(self) -> float | None:
        """Begin what is due; seconds until the next one is, None when all have begun or one has won.

        Raises: OSError, the last one, when every address has failed.
        """
        while self.winner is None and self._next < len(self._waiting):
            wait = self._next_at - time.monotonic()
            if self._begun and wait > 0:
                return wait
            self._begin()
        if self.winner is None and not self._begun:
            raise self._error
        return None

    def settle(self, sock: socket.socket) -> None:
        """Say that `sock` is writable: it is connected, or has failed."""
        self._settle(sock, sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))

    def close(self, result: str = "given up: another one was faster") -> None:
        """Close all that is still under way, and say why in its outcome."""
        for sock, (outcome, began) in self._begun.items():
            outcome.result, outcome.seconds = result, time.monotonic() - began
            sock.close()
        self._begun.clear()

    def _begin(self) -> None:
        (family, sockaddr), outcome = self._waiting[self._next], self._outcomes[self._next]
        self._next += 1
        now = time.monotonic()
        self._next_at = now + self._stagger_seconds
        try:
            sock = new_socket(family)
        except OSError as error:  # this machine has no IPv6
            self._failed(outcome, now, error)
            return
        self._begun[sock] = (outcome, now)
        outcome.result = "under way"
        try:
            code = sock.connect_ex(sockaddr)
        except OSError as error:
            code = error.errno or errno.EINVAL
        if code != errno.EINPROGRESS:
            self._settle(sock, code)

    def _settle(self, sock: socket.socket, code: int) -> None:
        outcome, began = self._begun.pop(sock)
        if code:
            sock.close()
            self._failed(outcome, began, OSError(code, os.strerror(code)))
            return
        outcome.result, outcome.seconds = "connected", time.monotonic() - began
        self.winner = sock

    def _failed(self, outcome: Outcome, began: float, error: OSError) -> None:
        outcome.result = errno.errorcode.get(error.errno or 0, str(error))
        outcome.seconds = time.monotonic() - began
        self._error = error
