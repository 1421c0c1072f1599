"""Try the address that the server's administrator has given: does the name point to another machine?"""

from relay.check import Trip, check, found
from relay.checks.direct import WORDS, ping_at
from relay.dial import literal_addresses
from relay.finding import Finding


@check("given-address", WORDS, on_request="given_address", routes=("direct",))
async def given_address(trip: Trip) -> Finding:
    """Does the server answer at the address of --address?"""
    given = trip.extras.given_address
    (address,) = literal_addresses(given, trip.route.target.port) or []
    word, evidence = await ping_at(trip, address)
    return found("given-address", word, f"{trip.route.target.port} at {given}: {WORDS[word]}", **evidence)
