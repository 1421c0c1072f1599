"""answer_interim: 1xx before the real answer."""

from relay.fault import Chunk, Chunks, fault, now


@fault(seen_as="informational replies (1xx) come before the 200", at_connect=True)
async def answer_interim(chunks: Chunks, *, status: int = 100, count: int = 1) -> Chunks:
    """Send `count` replies of `status` (100 to 199) before the real one, which is not held back by them."""
    for _ in range(count):
        yield Chunk(b"HTTP/1.1 %d Interim\r\n\r\n" % min(max(status, 100), 199), now(), is_head=True)
    async for chunk in chunks:
        yield chunk
