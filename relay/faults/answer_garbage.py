"""answer_garbage: what answers is no HTTP."""

from random import Random

from relay.fault import Chunk, Chunks, fault, now

MAX_GARBAGE_BYTES = 1 << 20


@fault(seen_as="the proxy's answer is no HTTP: another service listens there", at_connect=True)
async def answer_garbage(chunks: Chunks, *, rng: Random, size_bytes: int = 64) -> Chunks:
    """Answer with `size_bytes` random bytes (1 MiB at most) and close; the target is never dialled."""
    yield Chunk(rng.randbytes(min(size_bytes, MAX_GARBAGE_BYTES)), now(), is_head=True)
