"""duplicate: what was sent once arrives twice."""

from random import Random

from relay.fault import Chunks, fault


@fault(seen_as="bytes arrive twice: packets are repeated, or their borders are lost")
async def duplicate(chunks: Chunks, *, rng: Random, chance: float = 1.0) -> Chunks:
    """Repeat a chunk, with a `chance` from 0 to 1 for each."""
    async for chunk in chunks:
        yield chunk
        if rng.random() < chance:
            yield chunk
