"""CONNECT with a browser's User-Agent: does the proxy judge by the program's name?"""

import asyncio
import re

from relay.check import CannotTest, Trip, check, found
from relay.checks.early_bytes import only_plain
from relay.finding import Finding
from relay.stream import SocketStream

WORDS = {
    "matters": "the proxy opens the tunnel for a browser, and not for this program",
    "ignored": "the proxy gives a browser the same answer",
}
MAX_HEAD_BYTES = 16_384
BROWSER = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"


@check("user-agent", WORDS, needs={"tunnel": "denied closed reset"}, routes=("proxy",))
async def user_agent(trip: Trip) -> Finding:
    """Is the answer another one for a browser?

    For evidence: no traffic is ever sent under that name.
    """
    only_plain(trip)
    target = trip.route.target
    head = f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\nUser-Agent: {BROWSER}\r\n\r\n"
    status, _ = await asked(trip, head)
    return found("user-agent", "matters" if 200 <= status < 300 else "ignored", status=status)


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
