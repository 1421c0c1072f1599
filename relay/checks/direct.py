"""Go around the proxy: does the server answer without it?"""

from relay.check import CannotTest, Trip, check, found
from relay.checks.ping import exchange
from relay.dial import literal_addresses
from relay.finding import Finding
from relay.lookups import look_up_async
from relay.probe import WORDS as CONNECT_WORDS
from relay.stream import SocketStream

WORDS = {
    **CONNECT_WORDS,
    "answered": "the server answers without the proxy",
    "name-unknown": "the name is unknown here",
}


@check("direct", WORDS, routes=("proxy",))
async def direct(trip: Trip) -> Finding:
    """How does the target answer without the proxy?"""

    target = trip.route.target
    addresses = literal_addresses(target.host, target.port)
    if addresses is None:
        try:
            addresses = await look_up_async(target.host, target.port)
        except OSError as error:
            return found("direct", "name-unknown", f"{target.host}: {error.strerror or error}")
    if not addresses:
        raise CannotTest("no address")
    dialled = await trip.dial(addresses[0], trip.patience.control)
    word, evidence = dialled.word, dict(dialled.evidence)
    if dialled.sock is not None:
        stream = SocketStream(dialled.sock)
        try:
            answer, more = await exchange(trip, stream)
        finally:
            await stream.aclose()
        evidence |= {"exchange": answer, **more}
        word = "answered" if answer == "answered" else "open"
    return found("direct", word, f"{target} without the proxy: {WORDS[word]}", **evidence)
