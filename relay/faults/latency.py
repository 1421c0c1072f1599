"""latency: everything arrives later."""

from random import Random

from relay.fault import Chunks, fault


@fault(seen_as="answers come late, none is lost", sees_head=True)
async def latency(
    chunks: Chunks, *, rng: Random, seconds: float = 0.1, jitter_seconds: float = 0.0
) -> Chunks:
    """Delay every chunk by `seconds`, plus or minus up to `jitter_seconds`; the order stays."""
    last_seconds = 0.0
    async for chunk in chunks:
        delay = max(0.0, seconds + rng.uniform(-jitter_seconds, jitter_seconds))
        last_seconds = max(last_seconds, chunk.received_seconds + delay)
        yield await chunk.at(last_seconds)
