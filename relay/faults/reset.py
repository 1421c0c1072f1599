"""reset: RST both ways."""

from relay.fault import HOLD_SECONDS, Ahead, Chunks, HardReset, fault, now, sleep_until


@fault(seen_as="the connection is reset (RST)")
async def reset(chunks: Chunks, *, seconds: float = 0.0, waits_for_bytes: bool = False) -> Chunks:
    """Reset `seconds` after the tunnel opened, or after the first bytes; those are swallowed then."""
    ahead = Ahead(chunks)
    end_seconds = now() + (HOLD_SECONDS if waits_for_bytes else seconds)
    try:
        while (chunk := await ahead.next(end_seconds)) is not None:
            if waits_for_bytes:
                end_seconds = min(end_seconds, chunk.received_seconds + seconds)
            yield chunk.with_data(b"") if waits_for_bytes else chunk
        await sleep_until(end_seconds)
    except TimeoutError:
        pass
    finally:
        await ahead.aclose()
    raise HardReset
