"""intercept: the company looks into TLS, with certificates of its own authority."""

from relay.fault import Chunks, fault


@fault(
    seen_as="TLS gets through with a certificate of an unknown authority; all that is no TLS is cut",
    intercepts=True,
)
async def intercept(chunks: Chunks, *, authority: str = "Example Corp TLS Inspection") -> Chunks:
    """End the TLS inside the tunnel, with a certificate of a throw-away CA, and begin another behind it."""
    async for chunk in chunks:
        yield chunk

