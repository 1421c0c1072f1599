"""Try port 443 of the same host: is it the port, or the host?"""

from relay.check import Trip, check, found
from relay.checks import tunnel as connect_reply
from relay.finding import Finding
from relay.probe import WORDS as CONNECT_WORDS

OTHER_PORT = 443
"""What every firewall and proxy lets out, if anything."""

WORDS = {**CONNECT_WORDS, **connect_reply.WORDS}


@check("other-port", WORDS, needs={"resolve": "literal found sinkhole"})
async def other_port(trip: Trip) -> Finding:
    """How does port 443 of the same host answer?"""
    if trip.route.hops:
        word, words, evidence = await connect_reply.try_connect(
            trip, trip.beside(OTHER_PORT), trip.patience.control
        )
        return found("other-port", word, words, answers=connect_reply.is_answer(word), **evidence)
    family, sockaddr = trip.address or trip.addresses[0]
    dialled = await trip.dial((family, (sockaddr[0], OTHER_PORT, *sockaddr[2:])), trip.patience.control)
    dialled.close()
    words = f"port {OTHER_PORT} of {trip.first.host} {WORDS[dialled.word]}"
    answers = dialled.word in ("open", "refused")
    return found("other-port", dialled.word, words, answers=answers, **dialled.evidence)
