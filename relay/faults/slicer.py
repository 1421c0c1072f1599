"""slicer: what was sent in one piece arrives in many."""

from random import Random

from relay.fault import Chunks, fault


@fault(seen_as="answers arrive in small pieces", sees_head=True)
async def slicer(
    chunks: Chunks,
    *,
    rng: Random,
    average_bytes: int = 1,
    variation_bytes: int = 0,
    delay_seconds: float = 0.0,
) -> Chunks:
    """Cut into pieces of `average_bytes`, give or take `variation_bytes`, `delay_seconds` apart."""
    async for chunk in chunks:
        at, seconds = 0, chunk.received_seconds
        while True:
            size = max(1, average_bytes + rng.randint(-variation_bytes, variation_bytes))
            yield await chunk.with_data(chunk.data[at : at + size]).at(seconds)
            at += size
            seconds += delay_seconds
            if at >= len(chunk.data):
                break
