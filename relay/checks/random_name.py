"""Look up a name that cannot exist: a network that answers it answers every name."""

import asyncio
import secrets

from relay.check import Trip, check, found
from relay.finding import Finding
from relay.lookups import look_up_async

WORDS = {
    "not-found": "a name that cannot exist is not found, as it should be",
    "found": "every name is answered",
}


@check("random-name", WORDS, needs={"resolve": "found sinkhole"}, connections=0)
async def random_name(trip: Trip) -> Finding:
    """Is a name found that cannot exist (RFC 6761 section 6.4)?"""
    name = f"x{secrets.token_hex(8)}.invalid"
    try:
        async with asyncio.timeout(trip.patience.control):
            addresses = await look_up_async(name, 80)
    except (OSError, TimeoutError):
        return found("random-name", "not-found")
    listed = [str(address[1][0]) for address in addresses]
    return found("random-name", "found", f"{name} is {', '.join(listed)}", addresses=listed)
