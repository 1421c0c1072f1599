"""answer_endless: a head without an end."""

from relay.fault import Chunk, Chunks, fault, now, sleep_until

# By then a client without a limit has shown that it has none.
MAX_FIELDS = 1_000_000


@fault(seen_as="the head of the reply never ends: a client without limits fills its memory", at_connect=True)
async def answer_endless(chunks: Chunks, *, delay_seconds: float = 0.0, field_bytes: int = 100) -> Chunks:
    """Answer 200 with fields of `field_bytes`, `delay_seconds` apart, a million at most; then close."""
    yield Chunk(b"HTTP/1.1 200 Connection established\r\n", now(), is_head=True)
    field = b"X-Endless: " + b"x" * max(0, min(field_bytes, 65_536) - 13) + b"\r\n"
    for _ in range(MAX_FIELDS):
        yield Chunk(field, now(), is_head=True)
        await sleep_until(now() + delay_seconds)
