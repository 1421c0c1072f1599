"""Hold several tunnels open at the same time: how many does the proxy allow?"""

import asyncio
import contextlib

from relay.check import Trip, check, found
from relay.failure import ProxyRefused, RelayError
from relay.finding import Finding
from relay.stream import Stream

WORDS = {
    "all": "several tunnels may be open at the same time",
    "beyond-limit": "a further tunnel is refused while others are open",
    "some-lost": "a further tunnel is lost without words while others are open",
}
TUNNELS = 3


@check("many-at-once", WORDS, needs={"ping": "answered"}, connections=TUNNELS, routes=("proxy",))
async def many_at_once(trip: Trip) -> Finding:
    """May several tunnels be open at the same time?"""
    opened: list[Stream] = []
    try:
        while len(opened) < TUNNELS:
            opened.append(await trip.open(None, trip.patience.control))
    except ProxyRefused as error:
        words = f"with {len(opened)} of ours open: {error.failure.sentence}"
        return found("many-at-once", "beyond-limit", words, status=error.status, opened=len(opened))
    except RelayError as error:
        words = f"with {len(opened)} of ours open: {error.failure.sentence}"
        return found("many-at-once", "some-lost", words, opened=len(opened))
    finally:
        with contextlib.suppress(OSError, RelayError):
            await asyncio.gather(*(stream.aclose() for stream in opened))
    return found("many-at-once", "all", opened=len(opened))
