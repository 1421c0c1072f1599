"""idle_timeout: closed after a silence."""

from typing import Literal

from relay.fault import Ahead, Chunks, HardReset, fault, hold, now


@fault(seen_as="the connection works, and is gone after a pause of always the same length")
async def idle_timeout(
    chunks: Chunks, *, seconds: float, ends: Literal["fin", "reset", "silence"] = "fin"
) -> Chunks:
    """Close when nothing has passed this way for `seconds`: by FIN, by RST, or by forgetting it silently."""
    ahead = Ahead(chunks)
    try:
        while True:
            try:
                chunk = await ahead.next(now() + seconds)
            except TimeoutError:
                break
            if chunk is None:
                return
            yield chunk
        if ends == "reset":
            raise HardReset
        if ends == "silence":
            await hold()
    finally:
        await ahead.aclose()
