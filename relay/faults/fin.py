"""fin: closed both ways, cleanly."""

from relay.fault import Ahead, Chunks, Cut, fault, now, sleep_until


@fault(seen_as="the connection is closed (FIN) for no reason that can be seen")
async def fin(chunks: Chunks, *, seconds: float = 0.0) -> Chunks:
    """Close both ways `seconds` after the tunnel opened; bytes pass until then."""
    ahead, end_seconds = Ahead(chunks), now() + seconds
    try:
        while (chunk := await ahead.next(end_seconds)) is not None:
            yield chunk
        await sleep_until(end_seconds)
    except TimeoutError:
        pass
    finally:
        await ahead.aclose()
    raise Cut
