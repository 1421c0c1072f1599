"""Connect with packets that may pass 1, 2, 3 ... routers: how far do they get, and who answers from where?"""

import asyncio
from typing import Any

from relay.check import Trip, check, found
from relay.finding import Finding
from relay.probe import Dialled

WORDS = {
    "last-talking": "routers answer up to the one before the silence",
    "none-talking": "not even the first router answers",
    "answered": "the answer comes from so many hops away",
    "answered-next-door": "the answer comes from the very next machine",
}
MAX_HOPS = 8
"""Inside a company; beyond it, where nobody who asks can mend anything, the rest is silence."""

SECONDS = 1.0
"""A router answers within its distance's time; its limit on ICMP (RFC 1812 section 4.3.2.8) may take more."""


@check(
    "hops",
    WORDS,
    needs={"connect": "timed-out refused refused-icmp prohibited unreachable"},
    connections=MAX_HOPS,
    routes=("direct", "proxy"),
)
async def hops(trip: Trip) -> Finding:
    """From how far away does an answer come, and who is the last router that talks?"""
    address = trip.addresses[0]
    limit = min(SECONDS, trip.patience.control)
    sweep = await asyncio.gather(*(trip.dial(address, limit, hops=count) for count in range(1, MAX_HOPS + 1)))
    for one in sweep:
        one.close()
    listed = [_line(count, one) for count, one in enumerate(sweep, start=1)]
    answered = [line["hop"] for line in listed if line["word"] not in ("ttl-exceeded", "timed-out")]
    routers = [line for line in listed if line["word"] == "ttl-exceeded"]
    evidence: dict[str, Any] = {"sweep": listed}
    if answered:
        word = "answered-next-door" if answered[0] == 1 else "answered"
        words = f"the answer comes from {answered[0]} {'hop' if answered[0] == 1 else 'hops'} away"
        return found("hops", word, words, distance_hops=answered[0], **evidence)
    if routers:
        last = routers[-1]
        words = f"the last router that talks is {last['sender'] or 'unknown'}, hop {last['hop']} of the way"
        return found(
            "hops", "last-talking", words, last_hop=last["hop"], last_address=last["sender"], **evidence
        )
    return found("hops", "none-talking", **evidence)


def _line(count: int, dialled: Dialled) -> dict[str, Any]:
    return {"hop": count, "word": dialled.word, "sender": dialled.evidence.get("sender_address", "")}
