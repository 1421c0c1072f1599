"""bandwidth: a narrow line."""

from typing import Any, Literal

from relay.fault import Chunks, fault, hold

# So much goes at a time: a slow line passes bytes evenly, not in gulps.
SLICE_SECONDS = 0.05
MIN_SLICE_BYTES = 64


@fault(seen_as="transfers are slow, and take time in proportion to their size", sees_head=True)
async def bandwidth(
    chunks: Chunks,
    *,
    shared: dict[str, Any],
    bytes_per_second: int,
    per: Literal["tunnel", "proxy"] = "tunnel",
) -> Chunks:
    """Pass `bytes_per_second`, for each tunnel, or for all of the proxy together; 0 passes nothing."""
    line = shared if per == "proxy" else {}
    if not bytes_per_second:
        await hold()
        return
    slice_bytes = max(MIN_SLICE_BYTES, int(bytes_per_second * SLICE_SECONDS))
    async for chunk in chunks:
        for at in range(0, len(chunk.data), slice_bytes):
            piece = chunk.with_data(chunk.data[at : at + slice_bytes])
            # The line is busy until then, whoever waits for it
            begin_seconds = max(line.get("free_seconds", 0.0), chunk.received_seconds)
            line["free_seconds"] = begin_seconds + len(piece.data) / bytes_per_second
            yield await piece.at(line["free_seconds"])
        if not chunk.data:
            yield chunk
