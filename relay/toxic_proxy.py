"""ToxicProxy: what toxiproxy calls a proxy, a listener that leads to one upstream, through toxics."""

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable
from typing import Any
from weakref import WeakSet

from relay.dial import reset_socket
from relay.failure import RelayError
from relay.fault_path import FaultPath
from relay.fault_plan import Binder, BoundFaults, JoinedFaults
from relay.fault_rule import TunnelFacts
from relay.listening import accept_each, bound_endpoint, listen_on
from relay.pump_end import Counters
from relay.refusal import unreachable
from relay.refused import Refused
from relay.route import Endpoint
from relay.stream import SocketStream, Stream
from relay.toxic_link import ToxicLink
from relay.toxics import Toxic, ToxicRefused

MAX_CONNECTIONS = 1024
MAX_TOXICS = 100

Dial = Callable[[Endpoint, str], Awaitable[Stream]]


class Toxics:
    """The toxics of one proxy. They work on connections that open, and on those that are open."""

    def __init__(self) -> None:
        self._toxics: dict[str, Toxic] = {}
        self._links: WeakSet[ToxicLink] = WeakSet()

    def __iter__(self) -> Any:
        return iter(self._toxics.values())

    def bind(self, tunnel: TunnelFacts) -> BoundFaults:
        """The faults of a connection that opens now; they follow what becomes of the toxics."""
        link = ToxicLink(self._toxics.values())
        self._links.add(link)
        return link.faults

    def get(self, name: str) -> Toxic:
        """Raises: ToxicRefused when there is none of that name."""
        if name not in self._toxics:
            raise ToxicRefused("toxic not found", 404)
        return self._toxics[name]

    def add(self, toxic: Toxic) -> None:
        """Raises: ToxicRefused when the name is taken, or there are too many."""
        if toxic.name in self._toxics:
            raise ToxicRefused("toxic already exists", 409)
        if len(self._toxics) >= MAX_TOXICS:
            raise ToxicRefused(f"more than {MAX_TOXICS} toxics", 403)
        self._toxics[toxic.name] = toxic
        for link in list(self._links):
            link.add(toxic)

    def put(self, toxic: Toxic) -> None:
        """Replace the one of its name."""
        self._toxics[toxic.name] = toxic
        for link in list(self._links):
            link.change(toxic)

    def remove(self, name: str) -> None:
        """Raises: ToxicRefused when there is none of that name."""
        toxic = self.get(name)
        del self._toxics[name]
        for link in list(self._links):
            link.remove(toxic)

    def clear(self) -> None:
        """Remove all."""
        for name in list(self._toxics):
            self.remove(name)


class ToxicProxy:
    """Accepts on `listen` and carries each connection to `upstream`.

    Args: dial: opens the upstream for a client, named address:port; the proxy's policy may refuse it.
        faults: of every connection, beside those of the toxics.
    """

    def __init__(
        self, name: str, listen: Endpoint, upstream: Endpoint, dial: Dial, faults: Binder | None = None
    ) -> None:
        self.name = name
        self.listen = listen
        self.upstream = upstream
        self.toxics = Toxics()
        self._dial = dial
        self._faults = JoinedFaults(self.toxics, faults)
        self._sockets: list[socket.socket] = []
        self._accepting: list[asyncio.Task[None]] = []
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def is_enabled(self) -> bool:
        """Whether it listens."""
        return bool(self._sockets)

    def start(self) -> None:
        """Listen; where the port was 0 it keeps the one that it got. Raises: OSError."""
        if self._sockets:
            return
        self._sockets = listen_on((self.listen,))
        self.listen = Endpoint(self.listen.host, bound_endpoint(self._sockets[0]).port)
        self._accepting = [asyncio.create_task(accept_each(sock, self._greet)) for sock in self._sockets]

    async def stop(self) -> None:
        """Listen no more, and reset every connection."""
        tasks = [*self._accepting, *self._tasks]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for sock in self._sockets:
            sock.close()
        self._sockets.clear()
        self._accepting.clear()

    async def _greet(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        if len(self._tasks) >= MAX_CONNECTIONS:
            reset_socket(sock)
            return
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        task = asyncio.create_task(self._carry(sock))
        self._tasks.add(task)

        def ended(task: asyncio.Task[None]) -> None:
            self._tasks.discard(task)
            if task.cancelled():
                # One that never ran has not closed it either
                reset_socket(sock)

        task.add_done_callback(ended)

    async def _carry(self, sock: socket.socket) -> None:
        client = _name_of(sock)

        async def dial() -> Stream:
            try:
                return await self._dial(self.upstream, client)
            except RelayError as error:
                raise Refused(unreachable(error)) from error

        faults = self._faults.bind(TunnelFacts(str(self.upstream), client=client)) or BoundFaults()
        # Not by CONNECT: there is no reply to make, and nothing but an end to say when the dial fails
        path = FaultPath(SocketStream(sock), dial, faults, Counters(), established=b"")
        await path.run()


def _name_of(sock: socket.socket) -> str:
    try:
        return str(Endpoint(*sock.getpeername()[:2]))
    except OSError:
        return "unknown"
