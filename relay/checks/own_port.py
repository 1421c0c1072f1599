"""Ask the proxy for its own port: one that answers this, and not us, works and waits for somebody else."""

from relay.check import CannotTest, Trip, check, found
from relay.checks import tunnel as connect_reply
from relay.finding import Finding
from relay.route import Endpoint

ITSELF = "127.0.0.1"
"""As the proxy sees itself: no name server and no network is between, so what comes, comes at once."""


@check("own-port", connect_reply.WORDS, needs={"tunnel": "silent bad-request"}, routes=("proxy",))
async def own_port(trip: Trip) -> Finding:
    """Does the proxy answer when it is asked for its own port?"""
    if len(trip.route.hops) > 1:
        raise CannotTest("only tried on one proxy: of a chain the others would have to answer as well")
    word, words, evidence = await connect_reply.try_connect(
        trip, Endpoint(ITSELF, trip.first.port), trip.patience.control
    )
    return found("own-port", word, words, answers=connect_reply.is_answer(word), **evidence)
