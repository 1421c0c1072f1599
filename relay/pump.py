"""The chunk path: carry bytes both ways between two Streams, with every kind of end passed on."""

import asyncio
from collections.abc import Callable
from enum import StrEnum

from relay.pump_end import Counters, TunnelEnd
from relay.resetting import DeliverThenReset
from relay.stream import SharedStream, Stream
from relay.vanished import is_dead

# Nobody reads from a side while the other does not take its bytes, nor after its FIN: a reset is not seen
# then. So each tunnel is looked at now and then; the kernel itself needs two minutes to miss a peer.
LOOK_SECONDS = 30.0
HALF_CLOSED_LOOK_SECONDS = 2.0


class _End(StrEnum):
    """How one direction came to its end."""

    EOF = "eof"
    SOURCE_RESET = "source-reset"
    SINK_BROKEN = "sink-broken"
    GIVEN_UP = "given-up"


async def pump(
    client: Stream,
    target: Stream,
    counters: Counters,
    *,
    look_seconds: float = LOOK_SECONDS,
    half_closed_look_seconds: float = HALF_CLOSED_LOOK_SECONDS,
    needs_bytes: bool = False,
) -> TunnelEnd:
    """Carry bytes until both directions have ended; both streams are closed then.

    A FIN is passed on as a half-close and the other direction goes on. A RST is passed on as a RST,
    but only after the other side has got all that was sent to it: a peer that closes without having read
    everything resets, and what it had sent before must still arrive.

    Args:    look_seconds: how often a side is looked at that may have gone while nobody reads from it.
             needs_bytes: a target that ends before a byte has passed, either way, has failed.
    Raises:  asyncio.CancelledError, after both sides were reset.
    """
    pumping = _Pump(client, target, counters)
    try:
        return await pumping.run(look_seconds, half_closed_look_seconds, needs_bytes)
    except BaseException:
        # Cancelled: both peers must see that the tunnel was cut, and not that it has ended
        await pumping.cancel()
        client.reset()
        target.reset()
        raise


class _Direction:
    """Bytes from one stream to the other."""

    def __init__(self, source: Stream, sink: Stream, count: Callable[[int], None]) -> None:
        self.source = source
        self.sink = sink
        self.source_has_our_fin = False
        self._count = count
        self.task = asyncio.create_task(self._carry())

    async def _carry(self) -> _End:
        while True:
            try:
                data = await self.source.read()
            except OSError:
                return _End.SOURCE_RESET
            if not data:
                # A write that failed may have taken the error with it, but the state stays. Once it has our
                # FIN, and we have its own, a clean end has the same state
                was_reset = not self.source_has_our_fin and is_dead(self.source.fileno_socket())
                return _End.SOURCE_RESET if was_reset else _End.EOF
            try:
                await self.sink.write(data)
            except OSError:
                return _End.SINK_BROKEN
            self._count(len(data))


class _Pump:
    def __init__(self, client: Stream, target: Stream, counters: Counters) -> None:
        self._client = client
        self._target = target
        self._counters = counters
        self._up = _Direction(client, target, self._count_up)
        self._down = _Direction(target, client, self._count_down)

    async def run(
        self, look_seconds: float, half_closed_look_seconds: float, needs_bytes: bool
    ) -> TunnelEnd:
        first, end = await self._first_end(look_seconds)
        other = self._down if first is self._up else self._up
        source, sink = first.source, first.sink
        if end is _End.EOF and needs_bytes and first is self._down and not self._carried:
            await self.cancel()
            self._target.reset()
            await reset_when_delivered(self._client)
            return TunnelEnd.TARGET_SILENT
        match end:
            case _End.EOF:
                other.source_has_our_fin = True
                await sink.half_close()
                last = await self._last_end(other, half_closed_look_seconds)
                if last is _End.EOF:
                    await source.half_close()
                    await asyncio.gather(self._client.aclose(), self._target.aclose())
                    return TunnelEnd.CLIENT_CLOSED if first is self._up else TunnelEnd.TARGET_CLOSED
                # The other direction runs from sink to source: its source was reset, or ours takes no more
                dead = sink if last is _End.SOURCE_RESET else source
            case _End.SINK_BROKEN:
                # The sink has reset. What it sent before can still be read, and is owed to the source
                await self._last_end(other, half_closed_look_seconds)
                dead = sink
            case _:
                dead = source
        await self.cancel()
        dead.reset()
        await reset_when_delivered(sink if dead is source else source)
        return TunnelEnd.CLIENT_RESET if dead is self._client else TunnelEnd.TARGET_RESET

    async def cancel(self) -> None:
        for direction in (self._up, self._down):
            direction.task.cancel()
        await asyncio.gather(self._up.task, self._down.task, return_exceptions=True)

    async def _first_end(self, look_seconds: float) -> tuple[_Direction, _End]:
        tasks = (self._up.task, self._down.task)
        carried = -1
        while not any(task.done() for task in tasks):
            await asyncio.wait(tasks, timeout=look_seconds, return_when=asyncio.FIRST_COMPLETED)
            # A dead side whose last bytes are still being taken comes to its end by itself
            has_stopped, carried = carried == self._carried, self._carried
            for direction in (self._up, self._down):
                if has_stopped and not direction.task.done() and is_dead(direction.source.fileno_socket()):
                    return direction, _End.GIVEN_UP
        first = self._up if self._up.task.done() else self._down
        return first, first.task.result()

    async def _last_end(self, direction: _Direction, look_seconds: float) -> _End:
        """Wait for the second direction; its sink is not read from any more, so nobody else sees it die."""
        carried = -1
        while not direction.task.done():
            await asyncio.wait({direction.task}, timeout=look_seconds)
            has_stopped, carried = carried == self._carried, self._carried
            if has_stopped and not direction.task.done() and is_dead(direction.sink.fileno_socket()):
                return _End.SINK_BROKEN
        return direction.task.result()

    @property
    def _carried(self) -> int:
        return self._counters.up + self._counters.down

    def _count_up(self, size: int) -> None:
        self._counters.up += size

    def _count_down(self, size: int) -> None:
        self._counters.down += size


async def reset_when_delivered(stream: Stream) -> None:
    """End with RST, but not before the peer has all that was sent to it."""
    if isinstance(stream, SharedStream):
        # Its reset goes the same way as its bytes, and behind them
        stream.reset()
        return
    if is_dead(stream.fileno_socket()):
        # Its send queue will never be empty, and nobody is there to be owed anything
        stream.reset()
        return
    delivered = asyncio.get_running_loop().create_future()
    reset = DeliverThenReset(stream.fileno_socket(), lambda: delivered.set_result(None))
    try:
        await delivered
    except BaseException:
        # Cancelled: it would go on watching a socket that its owner closes
        reset.cancel()
        raise
