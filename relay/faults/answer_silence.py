"""answer_silence: no answer at all."""

from relay.fault import HOLD_SECONDS, Chunk, Chunks, fault, hold


@fault(seen_as="the proxy takes the connection and never answers", at_connect=True)
async def answer_silence(chunks: Chunks, *, seconds: float = HOLD_SECONDS) -> Chunks:
    """Say nothing; close after `seconds`. The target is never dialled."""
    await hold(seconds)
    for chunk in list[Chunk]():
        yield chunk
