"""drop_early: what the client did not wait with is lost."""

from relay.fault import Chunks, Direction, fault


@fault(
    seen_as="a client that sends before the 200 never gets an answer; one that waits does",
    direction=Direction.UP,
)
async def drop_early(chunks: Chunks) -> Chunks:
    """Lose the bytes that the client sent before it had the reply to its CONNECT."""
    async for chunk in chunks:
        if not chunk.is_early:
            yield chunk
