"""What the proxy's log says of a tunnel or a request, when it has ended."""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from relay.client_request import ClientRequest
from relay.connect_tunnel import Tunnel
from relay.exchange import Forwarded
from relay.refusal import Refusal

Log = Callable[[dict[str, Any]], None]


def tell(log: Log, began_seconds: float | None, entry: dict[str, Any]) -> None:
    """Write one entry; `began_seconds` is on time.monotonic(), None is now."""
    now = time.monotonic()
    seconds = round(now - (now if began_seconds is None else began_seconds), 6)
    log({"time": datetime.now(UTC).isoformat(timespec="milliseconds"), **entry, "seconds": seconds})


def tunnel_entry(tunnel: Tunnel) -> dict[str, Any]:
    """Of a tunnel: our own end, by which the target knows it, and how its bytes went."""
    way = {} if tunnel.carriage is None else {"outgoing": tunnel.outgoing, "path": tunnel.carriage.path}
    return {
        "client": tunnel.client, "method": "CONNECT", "target": str(tunnel.target), "status": tunnel.status,
        "bytes_up": tunnel.counters.up, "bytes_down": tunnel.counters.down, "ended": tunnel.ended,
        **way, **_why(tunnel.refusal),
    }  # fmt: skip


def forwarded_entry(request: ClientRequest, done: Forwarded) -> dict[str, Any]:
    """Of a request that was forwarded, however far it came."""
    line = request.head.line
    return {
        "client": request.peer, "method": line.method, "target": line.target, "status": done.status,
        "bytes_up": done.bytes_up, "bytes_down": done.bytes_down, "ended": done.ended,
    }  # fmt: skip


def refused_entry(request: ClientRequest, refusal: Refusal, ended: str, status: int) -> dict[str, Any]:
    """Of a request that was refused, or was none."""
    line = request.line
    method, target = (line.method, line.target) if line is not None else ("-", "-")
    return {
        "client": request.peer, "method": method, "target": target, "status": status, "bytes_up": 0,
        "bytes_down": 0, "ended": ended, **_why(refusal),
    }  # fmt: skip


def _why(refusal: Refusal | None) -> dict[str, str]:
    return {"error": refusal.error, "words": refusal.words} if refusal is not None else {}
