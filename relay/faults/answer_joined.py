"""answer_joined: the reply's head and the target's first bytes in one segment."""

from relay.fault import Ahead, Chunks, fault, now


@fault(
    seen_as="what a target says first comes in the same segment as the 200: a client that drops it hangs",
    at_connect=True,
)
async def answer_joined(chunks: Chunks, *, seconds: float = 1.0) -> Chunks:
    """Hold the head until the target has said something, for `seconds` at most, and send both at once."""
    ahead = Ahead(chunks)
    try:
        head = await ahead.next()
        if head is None:
            return
        if not head.is_refusal:
            try:
                first = await ahead.next(now() + seconds)
            except TimeoutError:
                first = None
            if first is not None:
                head = head.with_data(head.data + first.data)
        yield head
        async for chunk in ahead.rest():
            yield chunk
    finally:
        await ahead.aclose()
