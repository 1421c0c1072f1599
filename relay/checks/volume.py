"""Send small packets until the connection is cut, twice: is it cut at the same amount?"""

import asyncio
import os

from protocol.packet import Packet
from relay.check import Trip, check, found
from relay.failure import RelayError
from relay.finding import Finding

WORDS = {
    "constant": "the connection is cut at the same amount of data each time",
    "varying": "the connection is cut at another amount of data each time",
    "uncut": "the same amount passes in small packets",
}
STEP_BYTES = 2_000
MAX_BYTES = 400_000
"""Above what `sizes` has sent before it was cut."""

SAME_SHARE = 0.1


@check("volume", WORDS, needs={"ping": "answered", "sizes": "cut"}, connections=2)
async def volume(trip: Trip) -> Finding:
    """Is the connection cut at a constant amount of data?"""
    first, second = await asyncio.gather(_until_cut(trip), _until_cut(trip))
    least, most = min(first, second), max(first, second)
    word = "uncut" if least >= MAX_BYTES else "constant" if most - least <= SAME_SHARE * most else "varying"
    return found("volume", word, f"{WORDS[word]}: {first} and {second} bytes", passed_bytes=[first, second])


async def _until_cut(trip: Trip) -> int:
    """Bytes that were acknowledged by the server."""
    passed = 0
    async with trip.packets() as packets:
        try:
            async with asyncio.timeout(trip.patience.reply):
                while passed < MAX_BYTES:
                    await packets.send(Packet.sink(os.urandom(STEP_BYTES)))
                    if await packets.receive() is None:
                        break
                    passed += STEP_BYTES
        except (RelayError, TimeoutError):
            return passed
    return passed
