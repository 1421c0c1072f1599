"""Ask for the addresses of the first host on the way: the proxy, or the target."""

import asyncio
import ipaddress
import socket
import time

from relay.check import Trip, check, found
from relay.dial import literal_addresses
from relay.finding import Finding
from relay.lookups import look_up_async

WORDS = {
    "literal": "an address was given, no name",
    "found": "the name has addresses",
    "sinkhole": "the name has an address where no server can be",
    "not-found": "the name does not exist",
    "no-address": "the name exists, but has no address that can be used here",
    "failed": "the name could not be looked up",
    "timed-out": "the name servers did not answer",
}
AT_ONCE_SECONDS = 0.05
"""No packet has gone to a name server and come back: the resolver gave up before asking, or was refused."""


@check("resolve", WORDS, connections=0)
async def resolve(trip: Trip) -> Finding:
    """Has the first host on the way an address?"""
    host, port = trip.first.host, trip.first.port
    literal = literal_addresses(host, port)
    if literal is not None:
        trip.addresses = literal
        return found("resolve", "literal", host=host)
    began = time.monotonic()
    try:
        async with asyncio.timeout(trip.patience.resolve):
            trip.addresses = await look_up_async(host, port)
    except TimeoutError:
        return found("resolve", "timed-out", f"{host}: {WORDS['timed-out']}", host=host)
    except OSError as error:
        word = _word(error)
        seconds = time.monotonic() - began
        speed = "at-once" if seconds < AT_ONCE_SECONDS else "slow" if seconds > 1.0 else "soon"
        text = f"{host}: {WORDS[word]} ({error.strerror or error})"
        return found("resolve", word, text, host=host, speed=speed, milliseconds=round(seconds * 1000, 3))
    listed = [str(address[1][0]) for address in trip.addresses]
    word = (
        "sinkhole" if all(is_nowhere(one) for one in listed) and not host.endswith("localhost") else "found"
    )
    kinds = {address[0] for address in trip.addresses}
    families = "both" if len(kinds) > 1 else "v6" if socket.AF_INET6 in kinds else "v4"
    milliseconds = round((time.monotonic() - began) * 1000, 3)
    words = f"{host} is {', '.join(listed)}"
    return found(
        "resolve", word, words, host=host, addresses=listed, families=families, milliseconds=milliseconds
    )


def _word(error: OSError) -> str:
    if error.errno == socket.EAI_NONAME:
        return "not-found"
    return "no-address" if error.errno in (getattr(socket, "EAI_NODATA", None), -9) else "failed"


def is_nowhere(text: str) -> bool:
    """Whether no server of somebody else's can have this address (RFC 6890)."""
    address = ipaddress.ip_address(text.partition("%")[0])
    return address.is_loopback or address.is_unspecified or address in ipaddress.ip_network("192.0.2.0/24")
