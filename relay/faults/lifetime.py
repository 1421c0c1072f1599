"""lifetime: closed after a time, whatever goes through it."""

from typing import Literal

from relay.fault import Ahead, Chunks, HardReset, fault, hold, now


@fault(seen_as="the connection is cut at always the same age, also while it is in use")
async def lifetime(
    chunks: Chunks, *, seconds: float, ends: Literal["fin", "reset", "silence"] = "fin"
) -> Chunks:
    """Close `seconds` after the tunnel opened: by FIN, by RST, or by forgetting it silently."""
    ahead, end_seconds = Ahead(chunks), now() + seconds
    try:
        while now() < end_seconds:
            try:
                chunk = await ahead.next(end_seconds)
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
