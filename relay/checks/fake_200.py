"""CONNECT to a port where nothing listens: a proxy that says 200 to it has not connected at all."""

from relay.check import Trip, check, found
from relay.checks import tunnel as connect_reply
from relay.checks.closed_port import CLOSED_PORT
from relay.finding import Finding


@check("fake-200", connect_reply.WORDS, needs={"tunnel": "opened"}, routes=("proxy",))
async def fake_200(trip: Trip) -> Finding:
    """Does the proxy claim a tunnel to a closed port?"""
    word, words, evidence = await connect_reply.try_connect(
        trip, trip.beside(CLOSED_PORT), trip.patience.control
    )
    return found("fake-200", word, words, **evidence)
