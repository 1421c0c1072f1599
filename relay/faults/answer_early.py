"""answer_early: 200 before the target is reached."""

from email.utils import formatdate

from relay.fault import Chunk, Chunks, fault, now
from relay.fault_answer import STATUS_LINE


@fault(
    seen_as="200 also for targets that are not there; the connection closes, or hangs, after it",
    at_connect=True,
)
async def answer_early(chunks: Chunks, *, head: str = STATUS_LINE) -> Chunks:
    """Say 200, with the lines of `head`, and dial then; close when that fails."""
    lines = [*head.replace("{date}", formatdate(usegmt=True)).splitlines(), "", ""]
    yield Chunk("\r\n".join(lines).encode("latin-1", "replace"), now(), is_head=True)
    async for chunk in chunks:
        if chunk.is_refusal:
            return
        if not chunk.is_head:
            yield chunk
