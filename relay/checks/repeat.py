"""Connect a few times more where the first connection came late: each time, or now and then?"""

import asyncio

from relay.check import Trip, check, found
from relay.finding import Finding

WORDS = {
    "soon": "further connections come without delay",
    "late-by-a-second": "every connection comes a second late, after a repeated first packet",
    "mixed": "some connections come late, some do not",
}
TIMES = 4
LATE_MILLISECONDS = 900.0
"""The first retransmission of a SYN comes after a second (RFC 6298 section 2.1)."""


@check("repeat", WORDS, needs={"connect": "open", "connect.speed": "slow"}, connections=TIMES)
async def repeat(trip: Trip) -> Finding:
    """Do further connections come late, too?"""
    dialled = await asyncio.gather(*(trip.dial(trip.address, trip.patience.connect) for _ in range(TIMES)))
    for one in dialled:
        one.close()
    times = [float(one.evidence.get("milliseconds", 0.0)) for one in dialled]
    late = sum(one > LATE_MILLISECONDS for one in times)
    word = "soon" if not late else "late-by-a-second" if late == TIMES else "mixed"
    return found("repeat", word, milliseconds=times)
