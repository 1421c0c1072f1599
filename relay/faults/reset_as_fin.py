"""reset_as_fin: a RST comes out as a clean end, as in every proxy that was looked at."""

from relay.fault import Chunks, Cut, Direction, PeerReset, fault


@fault(seen_as="a connection that the other side reset looks cleanly closed", direction=Direction.BOTH)
async def reset_as_fin(chunks: Chunks) -> Chunks:
    """Turn a RST into FIN."""
    try:
        async for chunk in chunks:
            yield chunk
    except PeerReset:
        raise Cut from None
