"""buffering: a middlebox that collects before it passes on."""

from relay.fault import Ahead, Chunk, Chunks, fault, now


@fault(seen_as="short messages come late or not at all, long transfers come in bursts")
async def buffering(chunks: Chunks, *, hold_bytes: int = 4096, seconds: float = 0.0) -> Chunks:
    """Hold bytes until `hold_bytes` are there, or `seconds` after the first of them; 0 is no limit."""
    ahead, held = Ahead(chunks), bytearray()
    until_seconds: float | None = None
    try:
        while True:
            chunk: Chunk | None = None
            is_due = False
            try:
                chunk = await ahead.next(until_seconds)
            except TimeoutError:
                is_due = True
            if chunk is not None:
                held += chunk.data
                if until_seconds is None and seconds:
                    until_seconds = chunk.received_seconds + seconds
            if held and (is_due or chunk is None or len(held) >= hold_bytes):
                yield Chunk(bytes(held), now())
                held.clear()
                until_seconds = None
            if chunk is None and not is_due:
                return
    finally:
        await ahead.aclose()
