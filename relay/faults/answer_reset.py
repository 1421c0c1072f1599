"""answer_reset: RST instead of an answer."""

from relay.fault import Chunk, Chunks, HardReset, fault, hold


@fault(seen_as="the proxy takes the connection and resets it once it has read the CONNECT", at_connect=True)
async def answer_reset(chunks: Chunks, *, seconds: float = 0.0) -> Chunks:
    """Reset the client `seconds` after its CONNECT; the target is never dialled."""
    await hold(seconds)
    for chunk in list[Chunk]():
        yield chunk
    raise HardReset
