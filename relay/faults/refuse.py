"""refuse: the proxy says no."""

from relay.fault import Chunks, fault
from relay.fault_answer import answer


@fault(seen_as="every CONNECT is refused with the same status, at once", at_connect=True)
async def refuse(chunks: Chunks, *, status: int = 403) -> Chunks:
    """Answer with `status` (400 to 599) and close; the target is never dialled."""
    yield answer(status, f"{status}: the proxy refuses, as it was told to (fault refuse)")
