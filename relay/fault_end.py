"""How a fault that ends tunnels does it: when, and by what."""

from collections.abc import AsyncGenerator, Callable
from typing import Literal

from relay.fault import Ahead, Chunk, Chunks, HardReset, hold

Ends = Literal["fin", "reset", "silence"]


async def end_by(ends: Ends) -> None:
    """End by RST, or by forgetting the tunnel silently; by FIN the caller ends when it returns.

    Raises: HardReset
    """
    if ends == "reset":
        raise HardReset
    if ends == "silence":
        await hold()


async def pass_until(chunks: Chunks, deadline: Callable[[], float], ends: Ends) -> AsyncGenerator[Chunk]:
    """Pass chunks until `deadline()`, which is asked for each anew, on the loop's clock; then end."""
    ahead = Ahead(chunks)
    try:
        while True:
            try:
                chunk = await ahead.next(deadline())
            except TimeoutError:
                break
            if chunk is None:
                return
            yield chunk
        await end_by(ends)
    finally:
        await ahead.aclose()
