"""Prove that Framework traffic gets through an HTTP proxy, or name what stops it.

Names are loaded on first use, so that `import relay` costs nothing: TMSS10Ping starts without
asyncio and without aiohttp.
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_HOMES = {
    "BlockingFrameworkClient": "relay.blocking_framework_client",
    "ConnectProxy": "relay.proxy",
    "DialFailed": "relay.failure",
    "EmulatedServer": "relay.emulator",
    "Endpoint": "relay.route",
    "Failure": "relay.failure",
    "FrameworkClient": "relay.framework_client",
    "Hop": "relay.route",
    "PacketStream": "relay.packet_stream",
    "PeerMisbehaved": "relay.failure",
    "ProxyRefused": "relay.failure",
    "Reason": "relay.failure",
    "RelayError": "relay.failure",
    "Route": "relay.route",
    "SettingsError": "relay.failure",
    "Stage": "relay.failure",
    "TimedOut": "relay.failure",
    "open_tunnel": "relay.tunnel",
}

__all__ = ["__version__", *_HOMES]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'relay' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
