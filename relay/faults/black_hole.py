"""black_hole: bytes vanish, and nobody is told."""

from relay.fault import HOLD_SECONDS, Ahead, Chunks, Cut, fault, now, sleep_until


@fault(seen_as="the tunnel opens, and then nothing comes any more, and no end either")
async def black_hole(chunks: Chunks, *, seconds: float = 0.0) -> Chunks:
    """Swallow everything, the end as well; after `seconds` close both ways, 0 is never."""
    ahead, end_seconds = Ahead(chunks), now() + (seconds or HOLD_SECONDS)
    try:
        while (chunk := await ahead.next(end_seconds)) is not None:
            yield chunk.with_data(b"")
        await sleep_until(end_seconds)
    except TimeoutError:
        pass
    finally:
        await ahead.aclose()
    raise Cut
