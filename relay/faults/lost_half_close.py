"""lost_half_close: the last word is not passed on."""

from relay.fault import Chunks, Direction, fault, hold


@fault(
    seen_as="after our FIN the answer never comes: the other side still waits for the end",
    direction=Direction.UP,
)
async def lost_half_close(chunks: Chunks) -> Chunks:
    """Pass all bytes, but not the FIN behind them."""
    async for chunk in chunks:
        yield chunk
    await hold()
