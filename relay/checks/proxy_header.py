"""Put a PROXY header before our packet: does the listener wait for one? Only for one's own server."""

from relay.check import CannotTest, Trip, check, found
from relay.checks.ping import exchange
from relay.finding import Finding
from relay.stream import SocketStream

WORDS = {
    "wanted": "with a PROXY header in front the packet is answered",
    "unwanted": "with a PROXY header in front the packet is not answered either",
}


@check(
    "proxy-header",
    WORDS,
    needs={"connect": "open", "ping": "closed reset silent cut"},
    on_request="proxy_header",
    disturbs="the server may take its content for the client's address",
    routes=("direct",),
)
async def proxy_header(trip: Trip) -> Finding:
    """Is the packet answered behind a PROXY header of version 1?"""
    dialled = await trip.dial(trip.address, trip.patience.control)
    if dialled.sock is None:
        raise CannotTest(f"the target {dialled.word} now")
    stream = SocketStream(dialled.sock)
    try:
        (here, port), (there, target) = dialled.sock.getsockname()[:2], dialled.sock.getpeername()[:2]
        kind = "TCP6" if ":" in here else "TCP4"
        await stream.write(f"PROXY {kind} {here} {there} {port} {target}\r\n".encode("ascii"))
        word, evidence = await exchange(trip, stream)
    finally:
        await stream.aclose()
    return found("proxy-header", "wanted" if word == "answered" else "unwanted", exchange=word, **evidence)
