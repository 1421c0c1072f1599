"""CONNECT to where nothing listens: a proxy that says 200 to it has not connected at all."""

from relay.check import Trip, check, found
from relay.checks import tunnel as connect_reply
from relay.checks.closed_port import CLOSED_PORT
from relay.finding import Finding

NOBODY = "192.0.2.1"
"""Of a network that is for documentation only (RFC 5737): whoever opens a tunnel there has not dialled."""


@check("fake-200", connect_reply.WORDS, needs={"tunnel": "opened"}, connections=2, routes=("proxy",))
async def fake_200(trip: Trip) -> Finding:
    """Does the proxy claim a tunnel to a closed port, or to a host that nobody has?"""
    word, words, evidence = await connect_reply.try_connect(
        trip, trip.beside(CLOSED_PORT), trip.patience.control
    )
    if word != "denied":
        return found("fake-200", word, words, **evidence)
    # A policy that lets few ports out says nothing of this one: ask for a port that it lets out
    opened, said, more = await connect_reply.try_connect(
        trip, trip.beside(host=NOBODY), trip.patience.control
    )
    if opened == "opened":
        return found("fake-200", opened, said, **more, closed_port=word)
    return found("fake-200", word, words, **evidence, nobody=opened)
