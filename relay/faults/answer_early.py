"""answer_early: 200 before the target is reached."""

from relay.fault import Chunk, Chunks, fault, now
from relay.fault_answer import STATUS_LINE


@fault(
    seen_as="200 also for targets that are not there; the connection closes, or hangs, after it",
    at_connect=True,
)
async def answer_early(chunks: Chunks, *, status_line: str = STATUS_LINE) -> Chunks:
    """Say 200, as `status_line`, and dial then; close when that fails."""
    line = "".join(letter for letter in status_line if letter.isprintable())
    yield Chunk(f"{line}\r\n\r\n".encode("latin-1", "replace"), now(), is_head=True)
    async for chunk in chunks:
        if chunk.is_refusal:
            return
        if not chunk.is_head:
            yield chunk
