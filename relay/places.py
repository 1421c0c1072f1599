"""Places of a testbed: where a client under test connects to, and what can be asked of what listens there."""

import queue
import socket
from dataclasses import dataclass, field
from typing import Any, TypeVar

from relay.emulator import EmulatedServer
from relay.failure import Failure
from relay.journal import Record
from relay.own_loop import OwnLoop
from relay.route import Endpoint, Hop

T = TypeVar("T")

PATIENCE_SECONDS = 10.0
"""How long a test waits by default for what must come."""


@dataclass
class _Place:
    host: str
    port: int

    @property
    def endpoint(self) -> Endpoint:
        """Both together."""
        return Endpoint(self.host, self.port)


@dataclass
class LocalPort(_Place):
    """A port on loopback that leads somewhere."""

    _failures: "queue.SimpleQueue[Failure]" = field(default_factory=queue.SimpleQueue, repr=False)

    @property
    def url(self) -> str:
        """It as a proxy, where a proxy is what it leads to."""
        return f"http://{self.endpoint}"

    def connect(self, timeout_seconds: float = PATIENCE_SECONDS) -> socket.socket:
        """A blocking connection to it. Raises: OSError."""
        return socket.create_connection((self.host, self.port), timeout_seconds)

    def failure(self, timeout_seconds: float = PATIENCE_SECONDS) -> Failure:
        """Why the next tunnel could not be opened, of those that could not. Raises: TimeoutError."""
        return _next(self._failures, timeout_seconds, "attempt to open a tunnel")


@dataclass
class StandInProxy(_Place):
    """A CONNECT proxy; `user` is "" where it asks for no login."""

    user: str
    password: str = field(repr=False)
    _entries: "queue.SimpleQueue[dict[str, Any]]" = field(repr=False)

    @property
    def url(self) -> str:
        """For clients that take one; without the login."""
        return f"http://{self.endpoint}"

    @property
    def hop(self) -> Hop:
        """It in a Route of the library, with the login."""
        return Hop(self.endpoint, user=self.user or None, password=self.password if self.user else None)

    def entry(self, timeout_seconds: float = PATIENCE_SECONDS) -> dict[str, Any]:
        """The next line of the access log, one for each tunnel or request that has ended.

        Raises: TimeoutError.
        """
        return _next(self._entries, timeout_seconds, "tunnel through the proxy")


@dataclass
class FarServer(_Place):
    """The emulated Framework Server."""

    _loop: OwnLoop = field(repr=False)
    _server: EmulatedServer = field(repr=False)
    _ended: "queue.SimpleQueue[Record]" = field(repr=False)

    def record(self, timeout_seconds: float = PATIENCE_SECONDS) -> Record:
        """The record of the next connection that ends: what really arrived. Raises: TimeoutError."""
        return _next(self._ended, timeout_seconds, "connection to the Framework Server")

    @property
    def records(self) -> list[dict[str, Any]]:
        """What the journal has now, of ended connections and of open ones."""

        async def copies() -> list[dict[str, Any]]:
            return [record.as_dict() for record in self._server.journal.records]

        return self._loop.run(copies())


def _next(source: "queue.SimpleQueue[T]", timeout_seconds: float, what: str) -> T:
    try:
        return source.get(timeout=timeout_seconds)
    except queue.Empty:
        raise TimeoutError(f"no {what} has ended within {timeout_seconds:g} s") from None
