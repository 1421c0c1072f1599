"""lifetime: closed after a time, whatever goes through it."""

from contextlib import aclosing

from relay.fault import Chunks, fault, now
from relay.fault_end import Ends, pass_until


@fault(seen_as="the connection is cut at always the same age, also while it is in use")
async def lifetime(chunks: Chunks, *, seconds: float, ends: Ends = "fin") -> Chunks:
    """Close `seconds` after the tunnel opened: by FIN, by RST, or by forgetting it silently."""
    end_seconds = now() + seconds
    async with aclosing(pass_until(chunks, lambda: end_seconds, ends)) as passed:
        async for chunk in passed:
            yield chunk
