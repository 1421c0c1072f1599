"""Connect to a port of the server where nothing listens: who takes that connection takes every one."""

from relay.check import Trip, check, found
from relay.finding import Finding
from relay.probe import WORDS

CLOSED_PORT = 1
"""tcpmux (RFC 1078): given to a service that nobody runs."""


@check("closed-port", WORDS, needs={"resolve": "literal found sinkhole"}, routes=("direct",))
async def closed_port(trip: Trip) -> Finding:
    """Is a port refused where nothing listens?"""
    family, sockaddr = trip.address or trip.addresses[0]
    dialled = await trip.dial((family, (sockaddr[0], CLOSED_PORT, *sockaddr[2:])), trip.patience.control)
    dialled.close()
    words = f"port {CLOSED_PORT} of {trip.first.host} {WORDS[dialled.word]}"
    return found("closed-port", dialled.word, words, **dialled.evidence)
