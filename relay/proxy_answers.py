"""What a worker of the proxy says to the questions of the admin listener."""

import time
from typing import Any

from relay.proxy import ConnectProxy

# A list for people and scripts; the numbers of all are in the metrics.
MAX_TUNNELS_SHOWN = 10_000


def answers_of(proxy: ConnectProxy, word: str) -> Any:
    """What one worker says to a question of the admin listener."""
    return proxy.snapshot() if word == "numbers" else tunnels_of(proxy)


def tunnels_of(proxy: ConnectProxy) -> list[dict[str, Any]]:
    """The tunnels that are open or being opened, oldest first."""
    now = time.monotonic()
    return [
        {
            "client": tunnel.client,
            "target": str(tunnel.target),
            "user": asking.user if asking is not None else None,
            "seconds": round(now - tunnel.began_seconds, 3),
            "status": tunnel.status,
            "bytes_up": tunnel.counters.up,
            "bytes_down": tunnel.counters.down,
            "outgoing": tunnel.outgoing or None,
            "path": tunnel.carriage.path if tunnel.carriage is not None else None,
        }
        for tunnel, asking in list(proxy.tunnels.items())[:MAX_TUNNELS_SHOWN]
    ]
