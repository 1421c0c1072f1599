"""limit_data: closed after so many bytes."""

from relay.fault import Chunks, fault


@fault(seen_as="the connection is closed after the same number of bytes, every time")
async def limit_data(chunks: Chunks, *, limit_bytes: int) -> Chunks:
    """Pass `limit_bytes`, then close both ways."""
    left_bytes = limit_bytes
    if not left_bytes:
        return
    async for chunk in chunks:
        yield chunk.with_data(chunk.data[:left_bytes])
        left_bytes -= len(chunk.data)
        if left_bytes <= 0:
            return
