"""DataPlane: gives each tunnel its path, when it starts: the kernel's where that is possible, else chunks."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from relay.link import Link
from relay.pump import pump
from relay.pump_end import Counters, TunnelEnd
from relay.splice import SplicePlane
from relay.stream import SocketStream, Stream
from relay.watching import IS_AVAILABLE

OnEnd = Callable[[TunnelEnd], None]


@dataclass(frozen=True)
class Carriage:
    """One tunnel under way that is no Link: its path, and its byte counters, live."""

    path: str
    counters: Counters


class DataPlane:
    """Carries the tunnels of one event loop.

    Plain sockets on Linux take splice(2); TLS, and systems without it, take the chunk path.
    """

    def __init__(self) -> None:
        self._splice: SplicePlane | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def splice(self) -> SplicePlane:
        """The plane of the fast path, where IS_AVAILABLE."""
        if self._splice is None:
            self._splice = SplicePlane()
        return self._splice

    def carry(
        self, client: Stream, target: Stream, on_end: OnEnd, *, needs_bytes: bool = False
    ) -> Carriage | Link:
        """Take both streams and carry their bytes until both have ended; then call `on_end` once.

        Args: needs_bytes: a target that ends before a byte has passed, either way, has failed: the client
              gets a RST. Proxies that say 200 before they have reached the target end so.
        """
        if IS_AVAILABLE and isinstance(client, SocketStream) and isinstance(target, SocketStream):
            near, early = client.detach()
            far, greeting = target.detach()
            link = Link(near, far, on_end, early=early, greeting=greeting, needs_bytes=needs_bytes)
            self.splice().add(link)
            return link
        counters = Counters()

        async def run() -> None:
            end = TunnelEnd.STOPPED
            try:
                end = await pump(client, target, counters, needs_bytes=needs_bytes)
            finally:
                on_end(end)

        task = asyncio.create_task(run())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return Carriage("chunks", counters)

    async def aclose(self) -> None:
        """Reset every tunnel at once."""
        if self._splice is not None:
            self._splice.close()
            self._splice = None
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
