"""no_half_close: the first FIN ends both ways, as in squid and tinyproxy."""

from relay.fault import Chunks, Cut, Direction, fault


@fault(seen_as="an answer that comes after our FIN is lost", direction=Direction.BOTH)
async def no_half_close(chunks: Chunks) -> Chunks:
    """Close both ways as soon as one side has said its last word."""
    async for chunk in chunks:
        yield chunk
    raise Cut
