"""Ask for a WebSocket where CONNECT is refused: does only web traffic leave here?"""

import base64
import secrets

from relay.check import Trip, check, found
from relay.checks.early_bytes import only_plain
from relay.checks.user_agent import asked
from relay.finding import Finding

WORDS = {
    "works": "a WebSocket passes the proxy, a tunnel does not",
    "refused": "a WebSocket does not pass the proxy either",
}


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
    status, _ = await asked(trip, head)
    return found("upgrade", "works" if status == 101 else "refused", status=status)
