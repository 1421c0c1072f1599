"""Ask for a WebSocket where CONNECT is refused: does only web traffic leave here?"""

import asyncio
import base64
import re
import secrets

from relay.check import Trip, check, found
from relay.checks.early_bytes import only_plain, to_proxy
from relay.finding import Finding

WORDS = {
    "works": "a WebSocket passes the proxy, a tunnel does not",
    "refused": "a WebSocket does not pass the proxy either",
}
MAX_HEAD_BYTES = 16_384
_END_OF_HEAD = re.compile(rb"\n\r?\n")


@check("upgrade", WORDS, needs={"tunnel": "denied no-connect"}, routes=("proxy",))
async def upgrade(trip: Trip) -> Finding:
    """Does the proxy pass a WebSocket handshake (RFC 6455 section 4.1) to the target?"""
    only_plain(trip)
    target = trip.route.target
    key = base64.b64encode(secrets.token_bytes(16)).decode()
    head = (
        f"GET http://{target}/ HTTP/1.1\r\nHost: {target}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
    status = await _asked(trip, head)
    return found("upgrade", "works" if status == 101 else "refused", status=status)


async def _asked(trip: Trip, head: str) -> int:
    """Send a request head; the status of the reply, 0 where no whole head comes."""
    stream = await to_proxy(trip)
    got = b""
    try:
        async with asyncio.timeout(trip.patience.control):
            await stream.write(head.encode("ascii"))
            while not _END_OF_HEAD.search(got) and len(got) < MAX_HEAD_BYTES:
                if not (data := await stream.read()):
                    break
                got += data
    except (OSError, TimeoutError):
        return 0
    finally:
        await stream.aclose()
    status = re.match(rb"HTTP/\d\.\d (\d{3})", got)
    return int(status[1]) if status is not None and _END_OF_HEAD.search(got) else 0
