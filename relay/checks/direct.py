"""Go around the proxy: does the server answer without it?"""

from typing import Any

from relay.check import CannotTest, Trip, check, found
from relay.checks.ping import exchange
from relay.dial import Address, literal_addresses
from relay.finding import Finding
from relay.lookups import look_up_async
from relay.probe import WORDS as CONNECT_WORDS
from relay.route import Endpoint
from relay.stream import SocketStream

WORDS = {
    **CONNECT_WORDS,
    "answered": "the server answers there",
    "name-unknown": "the name is unknown here",
}


@check("direct", WORDS, routes=("proxy",))
async def direct(trip: Trip) -> Finding:
    """How does the target answer without the proxy?"""
    target = trip.route.target
    try:
        addresses = await addresses_of(target)
    except OSError as error:
        return found("direct", "name-unknown", f"{target.host}: {error.strerror or error}")
    word, evidence = await ping_at(trip, addresses[0])
    return found("direct", word, f"{target} without the proxy: {WORDS[word]}", **evidence)


async def addresses_of(target: Endpoint) -> list[Address]:
    """The addresses of a literal or a name, at least one. Raises: OSError, CannotTest."""
    addresses = literal_addresses(target.host, target.port)
    if addresses is None:
        addresses = await look_up_async(target.host, target.port)
    if not addresses:
        raise CannotTest(f"{target.host} has no address")
    return addresses


async def ping_at(trip: Trip, address: Address) -> tuple[str, dict[str, Any]]:
    """Connect to an address and send a packet: a word of WORDS, and what came."""
    dialled = await trip.dial(address, trip.patience.control)
    word, evidence = dialled.word, dict(dialled.evidence)
    if dialled.sock is not None:
        stream = SocketStream(dialled.sock)
        try:
            answer, more = await exchange(trip, stream)
        finally:
            await stream.aclose()
        evidence |= {"exchange": answer, **more}
        word = "answered" if answer == "answered" else "open"
    return word, evidence
