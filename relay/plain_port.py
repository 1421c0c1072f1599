"""PlainPort: a listener that leads to one target through faults; no CONNECT is spoken to it."""

from types import TracebackType
from typing import Self

from relay.fault_plan import Binder
from relay.route import Endpoint, Route
from relay.stream import SocketStream
from relay.toxic_proxy import ToxicProxy
from relay.tunnel import open_tunnel


class PlainPort:
    """Args: listen: port 0 takes a free one, see `.endpoint`. faults: of every connection."""

    def __init__(self, listen: Endpoint, target: Endpoint, faults: Binder) -> None:
        self._proxy = ToxicProxy("plain", listen, target, _dial, faults)

    @property
    def endpoint(self) -> Endpoint:
        """Where it listens."""
        return self._proxy.listen

    async def __aenter__(self) -> Self:
        self._proxy.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._proxy.stop()


async def _dial(target: Endpoint, client: str) -> SocketStream:
    """Raises: RelayError."""
    stream = await open_tunnel(Route(target))
    assert isinstance(stream, SocketStream)
    return stream
