"""Leave several connections alone for different times, all at once: how long may one rest?"""

import asyncio
from typing import Any

from protocol.packet import Packet
from relay.check import Trip, check, found
from relay.failure import RelayError
from relay.finding import Finding

WORDS = {
    "found": "connections may rest so long",
    "none": "every one of several connections survives its rest",
    "shorter": "even the shortest rest that was tried is too long",
}
CONNECTIONS = 8


@check(
    "idle-limit",
    WORDS,
    needs={"ping": "answered", "idle": "silent reset rejected closed"},
    connections=CONNECTIONS,
    on_request="idle_seconds",
    disturbs="keeps eight more connections open for as long as --idle says",
)
async def idle_limit(trip: Trip) -> Finding:
    """How long may a connection rest?

    All tries are side by side, so that it takes no longer than the longest.
    """
    longest = trip.extras.idle_seconds
    rests = [longest * number / (CONNECTIONS + 1) for number in range(1, CONNECTIONS + 1)]
    alive = await asyncio.gather(*(_survives(trip, rest) for rest in rests))
    lived = [rest for rest, is_alive in zip(rests, alive, strict=True) if is_alive]
    died = [rest for rest, is_alive in zip(rests, alive, strict=True) if not is_alive]
    evidence: dict[str, Any] = {"lived_seconds": lived, "died_seconds": died}
    if not lived:
        return found("idle-limit", "shorter", f"{WORDS['shorter']}: {rests[0]:.3g} s", **evidence)
    # A rest that was survived above one that was not: it is no constant limit
    below = [rest for rest in lived if not died or rest < min(died)]
    least = max(below, default=0.0)
    most = min(died, default=longest)
    words = f"a connection survives {least:.3g} s of silence, and not {most:.3g} s"
    return found("idle-limit", "found", words, least_seconds=least, most_seconds=most, **evidence)


async def _survives(trip: Trip, rest_seconds: float) -> bool:
    async with trip.packets() as packets:
        try:
            await packets.send(Packet.ping())
            await packets.receive()
            await asyncio.sleep(rest_seconds)
            async with asyncio.timeout(trip.patience.reply):
                await packets.send(Packet.ping())
                return await packets.receive() is not None
        except (RelayError, TimeoutError):
            return False
