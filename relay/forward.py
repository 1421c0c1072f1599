"""A local port that leads to a target through proxies; clients need no change."""

import asyncio
import contextlib
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from relay.data_plane import Carriage, DataPlane
from relay.dial import reset_socket
from relay.failure import Failure, Reason, RelayError
from relay.listening import bound_endpoint, listen_on
from relay.pump_end import Counters, TunnelEnd
from relay.route import Endpoint, Route
from relay.stream import SocketStream
from relay.tunnel import open_tunnel

MAX_CONNECTIONS = 1024


@dataclass
class Carried:
    """One forwarded connection. `ended` is a word of `TunnelEnd`, or "failed" with `failure` set."""

    peer: str
    began_seconds: float
    carriage: Carriage | None = None
    ended: str = ""
    failure: Failure | None = None
    seconds: float = 0.0

    @property
    def counters(self) -> Counters:
        """Bytes carried so far."""
        return self.carriage.counters if self.carriage is not None else Counters()


class Forwarder:
    """Accepts local connections and gives each a tunnel of its own.

    When the tunnel cannot be made, breaks, or ends before a byte has passed, the local peer gets a RST: a
    clean end would look to it like an empty, but good, session. A proxy that turns its target's RST into a
    FIN, as most do, is beyond telling. A login that was refused once is not tried again.

    Args: on_end: called when a connection has ended. max_connections: one more is reset at once.
    """

    def __init__(
        self,
        listen: Sequence[Endpoint],
        route: Route,
        *,
        timeout_seconds: float = 30.0,
        max_connections: int = MAX_CONNECTIONS,
        on_end: Callable[[Carried], None] | None = None,
    ) -> None:
        self.route = route
        self._listen = tuple(listen)
        self._timeout_seconds = timeout_seconds
        self._max_connections = max_connections
        self._on_end = on_end
        self._sockets: list[socket.socket] = []
        self._accepting: list[asyncio.Task[None]] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._plane = DataPlane()
        self._open = 0
        self._refused_login: RelayError | None = None

    @property
    def endpoints(self) -> list[Endpoint]:
        """Where it really listens."""
        return [bound_endpoint(sock) for sock in self._sockets]

    async def __aenter__(self) -> Self:
        self._sockets = listen_on(self._listen)
        self._accepting = [asyncio.create_task(self._accept(sock)) for sock in self._sockets]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        tasks = [*self._accepting, *self._tasks]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._plane.aclose()
        for sock in self._sockets:
            sock.close()
        self._sockets.clear()

    async def _accept(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                sock, _ = await loop.sock_accept(listener)
            except OSError:
                # Out of descriptors, or the peer gave up in the queue: let others finish, then go on
                await asyncio.sleep(0.1)
                continue
            sock.setblocking(False)
            if self._open >= self._max_connections:
                reset_socket(sock)
                continue
            self._open += 1
            task = asyncio.create_task(self._open_tunnel(sock))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _open_tunnel(self, sock: socket.socket) -> None:
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        carried = Carried(_peer_of(sock), time.monotonic())
        try:
            if self._refused_login is not None:
                # The same password again would only help to lock the account
                raise self._refused_login.with_traceback(None)
            far = await open_tunnel(self.route, timeout_seconds=self._timeout_seconds)
        except RelayError as error:
            if error.failure.reason is Reason.LOGIN_REFUSED:
                self._refused_login = error
            reset_socket(sock)
            carried.failure = error.failure
            self._ended(carried, "failed")
        except BaseException:
            reset_socket(sock)
            self._ended(carried, str(TunnelEnd.STOPPED))
            raise
        else:
            carried.carriage = self._plane.carry(
                SocketStream(sock), far, lambda end: self._ended(carried, str(end)), needs_bytes=True
            )

    def _ended(self, carried: Carried, how: str) -> None:
        self._open -= 1
        carried.ended = how
        carried.seconds = time.monotonic() - carried.began_seconds
        if self._on_end is not None:
            self._on_end(carried)


def _peer_of(sock: socket.socket) -> str:
    try:
        return str(Endpoint(*sock.getpeername()[:2]))
    except OSError:
        return "unknown"
