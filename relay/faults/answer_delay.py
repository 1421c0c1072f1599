"""answer_delay: the answer takes its time."""

from relay.fault import Chunks, fault


@fault(
    seen_as="CONNECT is answered late, always by the same time; the tunnel is as fast as ever",
    at_connect=True,
)
async def answer_delay(chunks: Chunks, *, seconds: float = 5.0) -> Chunks:
    """Send the proxy's answer `seconds` late."""
    async for chunk in chunks:
        yield await chunk.later(seconds) if chunk.is_head else chunk
