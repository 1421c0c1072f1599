"""answer_split: the reply's head in many segments."""

from relay.fault import Chunks, fault


@fault(seen_as="the head of the reply arrives in many small pieces", at_connect=True)
async def answer_split(chunks: Chunks, *, piece_bytes: int = 1, delay_seconds: float = 0.01) -> Chunks:
    """Send the head in pieces of `piece_bytes`, `delay_seconds` apart."""
    size = max(1, piece_bytes)
    async for chunk in chunks:
        if not chunk.is_head:
            yield chunk
            continue
        seconds = chunk.received_seconds
        for at in range(0, len(chunk.data), size):
            yield await chunk.with_data(chunk.data[at : at + size]).at(seconds)
            seconds += delay_seconds
