"""CONNECT by address in place of the name: is it the proxy's name lookup?"""

import asyncio

from relay.check import CannotTest, Trip, check, found
from relay.checks import tunnel as connect_reply
from relay.finding import Finding
from relay.lookups import look_up_async


@check(
    "by-address",
    connect_reply.WORDS,
    needs={
        "tunnel": "gateway-dns gateway-failed cannot-forward gateway-unreachable gateway-timed-out silent"
    },
    routes=("proxy",),
)
async def by_address(trip: Trip) -> Finding:
    """Does the proxy open the tunnel when it is given an address?"""
    target = trip.route.target
    if target.is_literal:
        raise CannotTest("the target was given by address already")
    try:
        async with asyncio.timeout(trip.patience.control):
            addresses = await look_up_async(target.host, target.port)
    except OSError as error:
        raise CannotTest(f"{target.host} cannot be looked up from here: {error.strerror or error}") from None
    host = str(addresses[0][1][0])
    word, words, evidence = await connect_reply.try_connect(
        trip, trip.beside(host=host), trip.patience.control
    )
    return found("by-address", word, words, **evidence)
