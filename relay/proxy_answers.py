"""What a worker of the proxy says to the questions of the admin listener."""

from typing import Any

from relay.proxy import ConnectProxy
from relay.siblings import BEGAN, MAX_SHOWN


def answers_of(proxy: ConnectProxy, word: str) -> Any:
    """What one worker says to a question of the admin listener."""
    return proxy.snapshot() if word == "numbers" else tunnels_of(proxy)


def tunnels_of(proxy: ConnectProxy) -> list[dict[str, Any]]:
    """The tunnels that are open or being opened, each with its `relay.siblings.BEGAN`."""
    return [
        {
            "client": tunnel.client,
            "target": str(tunnel.target),
            "user": asking.user if asking is not None else None,
            BEGAN: tunnel.began_seconds,
            "status": tunnel.status,
            "bytes_up": tunnel.counters.up,
            "bytes_down": tunnel.counters.down,
            "outgoing": tunnel.outgoing or None,
            "path": tunnel.carriage.path if tunnel.carriage is not None else None,
        }
        for tunnel, asking in list(proxy.tunnels.items())[:MAX_SHOWN]
    ]
