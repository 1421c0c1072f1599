"""answer_early: 200 before the target is reached."""

from relay.fault import Chunk, Chunks, fault, now
from relay.fault_answer import ESTABLISHED


@fault(
    seen_as="200 also for targets that are not there; the connection closes, or hangs, after it",
    at_connect=True,
)
async def answer_early(chunks: Chunks) -> Chunks:
    """Say 200 first and dial then; close when that fails."""
    yield Chunk(ESTABLISHED, now(), is_head=True)
    async for chunk in chunks:
        if chunk.is_refusal:
            return
        if not chunk.is_head:
            yield chunk
