"""A local port that leads to a target through proxies; clients need no change."""

import asyncio
import contextlib
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import Self

from relay.data_plane import Carriage, DataPlane
from relay.dial import reset_socket
from relay.failure import Failure, Reason, RelayError, Stage
from relay.link import Link
from relay.listening import accept_each, bound_endpoint, listen_on, those_waiting
from relay.pump_end import Counters, TunnelEnd
from relay.recorded_stream import RecordedStream
from relay.recording import Recording
from relay.route import Endpoint, Hop, Route
from relay.stream import SocketStream, Stream, TlsStream
from relay.tunnel import open_tunnel

MAX_CONNECTIONS = 1024


@dataclass
class Carried:
    """One forwarded connection. `ended` is a word of `TunnelEnd`, or "failed" with `failure` set."""

    peer: str
    began_seconds: float
    route: Route
    carriage: Carriage | Link | None = None
    ended: str = ""
    failure: Failure | None = None
    seconds: float = 0.0
    recording: Recording | None = None
    far: Stream | None = None

    @property
    def close_notify_missing(self) -> bool:
        """Whether the TLS of the last proxy was cut off, so that its end may not be the target's."""
        return isinstance(self.far, TlsStream) and self.far.ended_without_close_notify

    @property
    def counters(self) -> Counters:
        """Bytes carried so far."""
        return self.carriage.counters if self.carriage is not None else Counters()


@dataclass
class Totals:
    """What a forwarder has done so far. `refused`: beyond the cap; `up`, `down`: bytes of the ended."""

    accepted: int = 0
    open: int = 0
    failed: int = 0
    refused: int = 0
    up: int = 0
    down: int = 0


class Forwarder:
    """Accepts local connections and gives each a tunnel of its own.

    When the tunnel cannot be made, breaks, or ends before a byte has passed, the local peer gets a RST: a
    clean end would look to it like an empty, but good, session. A proxy that turns its target's RST into a
    FIN, as most do, is beyond telling. A login that was refused once is not tried again.

    Args:
        listen: where `route` is offered. pairs: more listeners, each with a route of its own.
        on_end: called when a connection has ended.
        max_connections: of all listeners together; one more is reset at once.
        stage_seconds: limits of single stages of opening a tunnel.
        record: called with what passed through a connection when it has ended; splice(2) is not used then.
    """

    def __init__(
        self,
        listen: Sequence[Endpoint] = (),
        route: Route | None = None,
        *,
        timeout_seconds: float = 30.0,
        pairs: Sequence[tuple[Endpoint, Route]] = (),
        max_connections: int = MAX_CONNECTIONS,
        stage_seconds: Mapping[Stage, float] | None = None,
        on_end: Callable[[Carried], None] | None = None,
        record: Callable[[Recording], None] | None = None,
    ) -> None:
        self.totals = Totals()
        assert route is not None or not listen, "what listens must lead somewhere"
        self._pairs = (*((endpoint, route) for endpoint in listen if route is not None), *pairs)
        self._stage_seconds = stage_seconds
        self._record = record
        self._timeout_seconds = timeout_seconds
        self._max_connections = max_connections
        self._on_end = on_end
        self._sockets: list[socket.socket] = []
        self._offered: list[tuple[socket.socket, Route]] = []
        self._accepting: list[asyncio.Task[None]] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._plane = DataPlane()
        self._is_idle = asyncio.Event()
        self._refused_logins: dict[tuple[Hop, ...], RelayError] = {}

    @property
    def endpoints(self) -> list[Endpoint]:
        """Where it really listens."""
        return [bound_endpoint(sock) for sock in self._sockets]

    async def __aenter__(self) -> Self:
        try:
            for endpoint, route in self._pairs:
                found = listen_on((endpoint,))
                self._sockets += found
                self._offered += [(sock, route) for sock in found]
        except OSError:
            self._close_listeners()
            raise
        self._accepting = [
            asyncio.create_task(accept_each(sock, partial(self._let_in, route)))
            for sock, route in self._offered
        ]
        return self

    async def drain(self) -> None:
        """Take no more connections, and wait until those that are open have ended."""
        for task in self._accepting:
            task.cancel()
        await asyncio.gather(*self._accepting, return_exceptions=True)
        for listener, route in self._offered:
            for sock in those_waiting(listener):
                await self._let_in(route, sock)
        self._close_listeners()
        while self.totals.open:
            self._is_idle.clear()
            await self._is_idle.wait()

    def _close_listeners(self) -> None:
        for sock in self._sockets:
            sock.close()
        self._sockets.clear()
        self._offered.clear()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        tasks = [*self._accepting, *self._tasks]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._plane.aclose()
        self._close_listeners()

    async def _let_in(self, route: Route, sock: socket.socket) -> None:
        """Never waits: others are to be accepted."""
        if self.totals.open >= self._max_connections:
            self.totals.refused += 1
            reset_socket(sock)
            return
        self.totals.accepted += 1
        self.totals.open += 1
        carried = Carried(_peer_of(sock), time.monotonic(), route)
        task = asyncio.create_task(self._open_tunnel(sock, carried))
        self._tasks.add(task)

        def ended(task: asyncio.Task[None]) -> None:
            self._tasks.discard(task)
            if task.cancelled() and not carried.ended:
                # Before its first turn it could not do so itself
                reset_socket(sock)
                self._ended(carried, str(TunnelEnd.STOPPED))

        task.add_done_callback(ended)

    async def _open_tunnel(self, sock: socket.socket, carried: Carried) -> None:
        route = carried.route
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            if (refused := self._refused_logins.get(route.hops)) is not None:
                # The same password again would only help to lock the account
                raise refused.with_traceback(None)
            far = carried.far = await open_tunnel(
                route, timeout_seconds=self._timeout_seconds, stage_seconds=self._stage_seconds
            )
        except RelayError as error:
            if error.failure.reason is Reason.LOGIN_REFUSED:
                self._refused_logins[route.hops] = error
            reset_socket(sock)
            carried.failure = error.failure
            self._ended(carried, "failed")
        except BaseException:
            # Cancelled at the end of the grace time: the local peer must see that nothing was reached
            reset_socket(sock)
            self._ended(carried, str(TunnelEnd.STOPPED))
            raise
        else:
            near: Stream = SocketStream(sock)
            if self._record is not None:
                carried.recording = Recording(str(route.target), tuple(str(hop) for hop in route.hops))
                near = RecordedStream(near, carried.recording)
            carried.carriage = self._plane.carry(
                near, far, lambda end: self._ended(carried, str(end)), needs_bytes=True
            )

    def _ended(self, carried: Carried, how: str) -> None:
        totals, counters = self.totals, carried.counters
        totals.open -= 1
        totals.failed += carried.failure is not None
        totals.up += counters.up
        totals.down += counters.down
        self._is_idle.set()
        carried.ended = how
        carried.seconds = time.monotonic() - carried.began_seconds
        if carried.recording is not None and self._record is not None:
            carried.recording.end(how)
            self._record(carried.recording)
        if self._on_end is not None:
            self._on_end(carried)


def _peer_of(sock: socket.socket) -> str:
    try:
        return str(Endpoint(*sock.getpeername()[:2]))
    except OSError:
        return "unknown"
