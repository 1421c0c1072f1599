"""The chunk path: carry bytes both ways between two Streams, with every kind of end passed on."""

import asyncio
from collections.abc import Callable
from enum import StrEnum

from relay.evidence import unsent_bytes
from relay.pump_end import Counters, TunnelEnd
from relay.stream import Stream

# How long a side that is to be reset may take to acknowledge what it is still owed.
DRAIN_SECONDS = 10.0
_FIRST_LOOK_SECONDS = 0.005
_LAST_LOOK_SECONDS = 0.1


class _End(StrEnum):
    """How one direction came to its end."""

    EOF = "eof"
    SOURCE_RESET = "source-reset"
    SINK_BROKEN = "sink-broken"


async def pump(client: Stream, target: Stream, counters: Counters) -> TunnelEnd:
    """Carry bytes until both directions have ended; both streams are closed then.

    A FIN is passed on as a half-close and the other direction goes on. A RST is passed on as a RST,
    but only after the other side has got all that was sent to it: a peer that closes without having read
    everything resets, and what it had sent before must still arrive.

    Raises: asyncio.CancelledError, after both sides were reset.
    """

    def count_up(size: int) -> None:
        counters.up += size

    def count_down(size: int) -> None:
        counters.down += size

    up = asyncio.create_task(_carry(client, target, count_up))
    down = asyncio.create_task(_carry(target, client, count_down))
    try:
        return await _both(client, target, up, down)
    except BaseException:
        await _cancel(up, down)
        client.reset()
        target.reset()
        raise


async def _both(
    client: Stream, target: Stream, up: asyncio.Task[_End], down: asyncio.Task[_End]
) -> TunnelEnd:
    await asyncio.wait({up, down}, return_when=asyncio.FIRST_COMPLETED)
    first = up if up.done() else down
    other = down if first is up else up
    # Seen from the direction that ended first: where its bytes came from, and where they went
    source, sink = (client, target) if first is up else (target, client)
    source_is_client = first is up
    match first.result():
        case _End.EOF:
            await sink.half_close()
            last = await other
            if last is _End.EOF:
                await source.half_close()
                await asyncio.gather(client.aclose(), target.aclose())
                return TunnelEnd.CLIENT_CLOSED if source_is_client else TunnelEnd.TARGET_CLOSED
            # The other direction ran from sink to source: its source was reset, or ours no longer takes
            sink_reset = last is _End.SOURCE_RESET
        case _End.SOURCE_RESET:
            sink_reset = False
            await _cancel(other)
        case _End.SINK_BROKEN:
            # The sink has reset; all that it sent before can still be read and is owed to the source
            sink_reset = True
            await other
    dead, owed = (sink, source) if sink_reset else (source, sink)
    dead.reset()
    await _reset_when_delivered(owed)
    return TunnelEnd.CLIENT_RESET if dead is client else TunnelEnd.TARGET_RESET


async def _carry(source: Stream, sink: Stream, count: Callable[[int], None]) -> _End:
    while True:
        try:
            data = await source.read()
        except OSError:
            return _End.SOURCE_RESET
        if not data:
            return _End.EOF
        try:
            await sink.write(data)
        except OSError:
            return _End.SINK_BROKEN
        count(len(data))


async def _reset_when_delivered(stream: Stream) -> None:
    """Reset, once the peer has acknowledged everything: SO_LINGER 0 throws the send queue away."""
    sock = stream.fileno_socket()
    look_seconds, waited_seconds = _FIRST_LOOK_SECONDS, 0.0
    # The kernel has no event for "all acknowledged"; this is only reached at the end of a tunnel
    while unsent_bytes(sock) and waited_seconds < DRAIN_SECONDS:
        await asyncio.sleep(look_seconds)
        waited_seconds += look_seconds
        look_seconds = min(look_seconds * 2, _LAST_LOOK_SECONDS)
    stream.reset()


async def _cancel(*tasks: asyncio.Task[_End]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
