"""answer_length: a 200 with a length that means nothing."""

from typing import Literal

from relay.fault import Chunks, fault

_FIELDS = {"length": b"Content-Length: 0\r\n", "chunked": b"Transfer-Encoding: chunked\r\n"}


@fault(
    seen_as="a client that heeds the length of a 200 to CONNECT waits, or takes tunnel bytes for a body",
    at_connect=True,
)
async def answer_length(chunks: Chunks, *, field: Literal["length", "chunked"] = "length") -> Chunks:
    """Add Content-Length: 0 or Transfer-Encoding: chunked: clients ignore them (RFC 9110 section 9.3.6)."""
    async for chunk in chunks:
        if chunk.is_head and not chunk.is_refusal:
            yield chunk.with_data(chunk.data.removesuffix(b"\r\n") + _FIELDS[field] + b"\r\n")
        else:
            yield chunk
