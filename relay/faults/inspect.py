"""inspect: a proxy that looks at the first bytes, and lets only what it knows through."""

from typing import Literal

from relay.fault import Chunks, Direction, fault
from relay.fault_end import Ends, end_by

# A TLS record of a handshake (RFC 8446 section 5.1) with any version 3.x.
TLS_RECORD = b"\x16\x03"
HTTP_METHODS = (
    b"GET ", b"HEAD ", b"POST ", b"PUT ", b"DELETE ", b"OPTIONS ", b"PATCH ", b"CONNECT ", b"TRACE ", b"PRI ",
)  # fmt: skip


def looks_like(data: bytes, protocol: str) -> bool | None:
    """Whether a stream begins as `protocol` does; None while that cannot be told yet."""
    starts = (TLS_RECORD,) if protocol == "tls" else HTTP_METHODS
    if any(data.startswith(start) for start in starts):
        return True
    return None if any(start.startswith(data) for start in starts) else False


@fault(
    seen_as="the proxy says 200, and then cuts or ignores everything that is no TLS (or no HTTP)",
    direction=Direction.UP,
)
async def inspect(
    chunks: Chunks, *, allow: Literal["tls", "http"] = "tls", ends: Ends = "fin"
) -> Chunks:
    """Pass a tunnel whose first bytes are of the protocol allowed; end others before a byte has passed."""
    held, verdict = b"", None
    async for chunk in chunks:
        if verdict:
            yield chunk
            continue
        held += chunk.data
        verdict = looks_like(held, allow)
        if verdict:
            yield chunk.with_data(held)
        elif verdict is False:
            await end_by(ends)
            return
