"""Use a connection steadily until it is cut, or long enough: is there a longest life?"""

import asyncio
import time

from protocol.packet import Packet
from relay.check import Trip, check, found
from relay.failure import RelayError
from relay.finding import Finding

WORDS = {
    "alive": "a connection in steady use lives as long as was asked",
    "constant": "connections in steady use are cut at the same age each time",
    "varying": "connections in steady use are cut, at another age each time",
}
SAME_SHARE = 0.1
BEATS = 40
"""Pings in the whole time: often enough that no idle timeout is met, seldom enough to weigh nothing."""

STAGGER = 0.25
"""The second connection begins so much of the time later: what is cut at one moment is no matter of age."""


@check(
    "age",
    WORDS,
    needs={"ping": "answered"},
    connections=2,
    on_request="age_seconds",
    disturbs="keeps two connections in use for as long as --age says, and a quarter more",
)
async def age(trip: Trip) -> Finding:
    """Does a connection in steady use live for the time of --age?"""
    wanted = trip.extras.age_seconds
    first, second = await asyncio.gather(_life(trip, wanted, 0.0), _life(trip, wanted, STAGGER * wanted))
    ages = [round(first, 3), round(second, 3)]
    if min(ages) >= wanted:
        return found("age", "alive", lasted_seconds=ages)
    # A life is measured in beats: two of them apart is as good as the same
    margin = max(SAME_SHARE * max(ages), 2 * _beat(wanted))
    word = "constant" if max(ages) - min(ages) <= margin else "varying"
    return found("age", word, f"{WORDS[word]}: {ages[0]:g} and {ages[1]:g} s", lasted_seconds=ages)


def _beat(wanted_seconds: float) -> float:
    return min(5.0, wanted_seconds / BEATS)


async def _life(trip: Trip, wanted_seconds: float, later_seconds: float) -> float:
    """Seconds until a ping is no longer answered; at least `wanted_seconds` when all were."""
    await asyncio.sleep(later_seconds)
    async with trip.packets() as packets:
        began = time.monotonic()
        answered = began
        while (lasted := time.monotonic() - began) < wanted_seconds:
            try:
                async with asyncio.timeout(trip.patience.reply):
                    await packets.send(Packet.ping())
                    if await packets.receive() is None:
                        return answered - began
            except (RelayError, TimeoutError):
                return answered - began
            answered = time.monotonic()
            await asyncio.sleep(_beat(wanted_seconds))
        return lasted
