"""One request head in our own words to the first proxy, for questions that no tunnel asks."""

import asyncio
import re

from relay.check import CannotTest, Trip
from relay.stream import SocketStream

MAX_HEAD_BYTES = 16_384


def only_plain(trip: Trip) -> None:
    """Raises: CannotTest unless it is one http:// proxy without a login."""
    hop = trip.route.hops[0]
    if not str(hop).startswith("http://") or hop.user is not None or len(trip.route.hops) > 1:
        raise CannotTest("only tried on one plain proxy without a login")


async def asked(trip: Trip, head: str) -> tuple[int, bytes]:
    """Send a request head; the status of the reply, 0 for none, and the reply's own head."""
    dialled = await trip.dial(trip.address, trip.patience.control)
    if dialled.sock is None:
        raise CannotTest(f"the proxy {dialled.word} now")
    stream = SocketStream(dialled.sock)
    got = b""
    try:
        async with asyncio.timeout(trip.patience.control):
            await stream.write(head.encode("ascii"))
            while b"\r\n\r\n" not in got and len(got) < MAX_HEAD_BYTES:
                data = await stream.read()
                if not data:
                    break
                got += data
    except (OSError, TimeoutError):
        return 0, got
    finally:
        await stream.aclose()
    status = re.match(rb"HTTP/\d\.\d (\d{3})", got)
    return int(status[1]) if status else 0, got
