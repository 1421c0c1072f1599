"""answer_page: a page of HTML where the tunnel should be."""

from relay.fault import Chunks, fault
from relay.fault_answer import PAGE, answer


@fault(seen_as="CONNECT is answered 200, and then comes HTML instead of the target", at_connect=True)
async def answer_page(chunks: Chunks, *, words: str = "Access is blocked by company policy.") -> Chunks:
    """Answer 200 with a page that says `words`, and close; the target is never dialled."""
    yield answer(200, PAGE % words, ("Content-Type", "text/html; charset=utf-8"))
