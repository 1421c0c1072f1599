"""TurnedAway: a connection beyond a limit gets its reply, and no more than a moment."""

import asyncio
from typing import Protocol, cast

# A client that has not sent its request yet would meet a RST, which can destroy the reply on its way.
LINGER_SECONDS = 1.0
LINGER_BYTES = 65_536
# Beyond so many at once nobody gets more than a RST: turning away must not cost what it is to spare.
MAX_AT_ONCE = 256


class Doorway(Protocol):
    """Told of every connection that comes and goes."""

    def enter(self, peer: str, transport: asyncio.BaseTransport) -> bool:
        """Whether it may come in; if not, its transport has somebody else to care for it."""
        ...

    def leave(self, peer: str) -> None: ...

    def was_silent(self) -> None:
        """One is being closed because nothing came over it."""
        ...


class TurnedAway(asyncio.Protocol):
    """Takes the place of a transport's protocol."""

    def __init__(self, transport: asyncio.BaseTransport, reply: bytes, others: "set[TurnedAway]") -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._others = others
        self._left_bytes = LINGER_BYTES
        self._timer: asyncio.TimerHandle | None = None
        transport.set_protocol(self)
        if len(others) >= MAX_AT_ONCE:
            self._transport.abort()
            return
        others.add(self)
        self._timer = asyncio.get_running_loop().call_later(LINGER_SECONDS, self._transport.abort)
        self._transport.write(reply)
        if self._transport.can_write_eof():
            self._transport.write_eof()

    def data_received(self, data: bytes) -> None:
        self._left_bytes -= len(data)
        if self._left_bytes <= 0:
            self._transport.abort()

    def connection_lost(self, error: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._others.discard(self)

    def abort(self) -> None:
        """End at once."""
        self._transport.abort()
