"""idle_timeout: closed after a silence."""

from contextlib import aclosing

from relay.fault import Chunks, fault, now
from relay.fault_end import Ends, pass_until


@fault(seen_as="the connection works, and is gone after a pause of always the same length")
async def idle_timeout(chunks: Chunks, *, seconds: float, ends: Ends = "fin") -> Chunks:
    """Close when nothing has passed this way for `seconds`: by FIN, by RST, or by forgetting it silently."""
    async with aclosing(pass_until(chunks, lambda: now() + seconds, ends)) as passed:
        async for chunk in passed:
            yield chunk
