"""corrupt: bits change on the way."""

from random import Random

from relay.fault import Chunks, fault


@fault(seen_as="packets do not open, checksums do not match; the connection itself goes on")
async def corrupt(chunks: Chunks, *, rng: Random, chance: float = 1.0, bits: int = 1) -> Chunks:
    """Flip `bits` bits at random places of a chunk, with a `chance` from 0 to 1 for each chunk."""
    async for chunk in chunks:
        if chunk.data and rng.random() < chance:
            data = bytearray(chunk.data)
            for place in rng.sample(range(len(data) * 8), min(bits, len(data) * 8)):
                data[place // 8] ^= 1 << place % 8
            yield chunk.with_data(bytes(data))
        else:
            yield chunk
