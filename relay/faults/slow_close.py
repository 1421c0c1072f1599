"""slow_close: the end comes late."""

from relay.fault import Chunks, fault, now, sleep_until


@fault(seen_as="all has been said, but the connection stays open for a while")
async def slow_close(chunks: Chunks, *, seconds: float = 1.0) -> Chunks:
    """Pass the end on `seconds` late."""
    async for chunk in chunks:
        yield chunk
    await sleep_until(now() + seconds)
