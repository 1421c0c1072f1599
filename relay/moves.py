"""What the walk along a route asks of whoever carries it out: one small value for each network step."""

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from protocol.errors import WireError
from relay.dial import Address
from relay.race import Outcome
from relay.route import Endpoint, Hop

if TYPE_CHECKING:
    from protocol.http2 import Http2Tunnel


@dataclass(frozen=True)
class Resolve:
    """Answer with a list of addresses."""

    endpoint: Endpoint


@dataclass(frozen=True)
class Connect:
    """Drop the connection there may be, and make a new one to the first of `addresses` that takes it.

    `outcomes` is told how each went (RFC 8305 section 5).
    """

    addresses: tuple[Address, ...]
    limit_seconds: float
    outcomes: list[Outcome]


@dataclass(frozen=True)
class StartTls:
    """Wrap the connection in TLS to this hop; answer with what ALPN has settled on, or None, and the hop's
    certificate (DER)."""

    hop: Hop


@dataclass(frozen=True)
class StartHttp2:
    """Go on inside this tunnel."""

    tunnel: "Http2Tunnel"


@dataclass(frozen=True)
class Send:
    """Send all of it."""

    data: bytes


@dataclass(frozen=True)
class Receive:
    """Answer with what comes next, b"" at the end; None when the grace time ran out first."""

    grace_seconds: float | None = None


@dataclass(frozen=True)
class Call:
    """Call this where it holds up nobody: it may wait for another machine. Answer with what it returns."""

    work: Callable[[], WireError | None]


@dataclass(frozen=True)
class Unread:
    """Put bytes back: they belong to what comes after the reply head."""

    data: bytes


@dataclass(frozen=True)
class Drop:
    """Close the connection there may be."""


Command = Resolve | Connect | StartTls | StartHttp2 | Send | Receive | Call | Unread | Drop
Walk = Generator[Command, Any, None]
