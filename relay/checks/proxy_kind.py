"""Where no HTTP proxy answered: is it a SOCKS proxy, a TLS port, something else?"""

import asyncio
from typing import Any

from protocol.resemblance import excerpt
from relay.check import CannotTest, Trip, check, found
from relay.checks.ping import kind_of
from relay.checks.tls_hello import greet
from relay.finding import Finding
from relay.route import Route
from relay.stream import SocketStream, Stream
from relay.tunnel import open_tunnel

WORDS = {
    "socks5": "it is a SOCKS5 proxy",
    "tls": "it speaks TLS: the proxy's URL begins with https://",
    "http": "it answers HTTP",
    "banner": "another kind of server listens there",
    "nothing": "nothing of what was tried is answered",
}
_SOCKS_GREETING = b"\x05\x02\x00\x02"
"""RFC 1928 section 3: no login, or user and password (which is never sent)."""
_HTTP_REQUEST = b"OPTIONS * HTTP/1.0\r\n\r\n"
"""For what should be a SOCKS proxy: many an HTTP proxy waits for the end of a line before it speaks."""


@check(
    "proxy-kind",
    WORDS,
    needs={"tunnel": "closed reset silent not-http tls-failed bad-request"},
    connections=4,
    routes=("proxy",),
)
async def proxy_kind(trip: Trip) -> Finding:
    """What listens at the proxy's address?"""
    limit = trip.patience.control
    asks_socks = trip.route.hops[_place(trip)].socks is not None
    banner, socks, tls, http = await asyncio.gather(
        _say(trip, b"", trip.patience.banner),
        _say(trip, _SOCKS_GREETING, limit),
        _greet(trip, limit),
        _say(trip, _HTTP_REQUEST if asks_socks else b"", limit if asks_socks else 0.0),
    )
    evidence: dict[str, Any] = {"first_bytes": excerpt(banner or socks), "tls": tls}
    if len(socks) == 2 and socks[0] == 5:
        return found("proxy-kind", "socks5", method=socks[1], **evidence)
    if tls == "certificate":
        return found("proxy-kind", "tls", **evidence)
    if banner:
        return found("proxy-kind", "banner", **evidence, kind=kind_of(banner))
    is_http = "http" in (kind_of(socks), kind_of(http)) or tls == "foreign"
    return found("proxy-kind", "http" if is_http else "nothing", **evidence)


def _place(trip: Trip) -> int:
    """Which proxy of the chain is asked, from 0: the one that did not answer as such."""
    return min(int(trip.answers.get("tunnel.hop", "0")), len(trip.route.hops) - 1)


async def _open(trip: Trip, limit_seconds: float) -> Stream:
    if place := _place(trip):
        trip.count()
        before = Route(trip.route.hops[place].endpoint, trip.route.hops[:place])
        return await open_tunnel(before, timeout_seconds=limit_seconds)
    dialled = await trip.dial(trip.address, limit_seconds)
    if dialled.sock is None:
        raise CannotTest(f"the proxy {dialled.word} now")
    return SocketStream(dialled.sock)


async def _say(trip: Trip, data: bytes, limit_seconds: float) -> bytes:
    if not limit_seconds:
        return b""
    stream = await _open(trip, limit_seconds)
    try:
        async with asyncio.timeout(limit_seconds):
            if data:
                await stream.write(data)
            return await stream.read()
    except (OSError, TimeoutError):
        return b""
    finally:
        await stream.aclose()


async def _greet(trip: Trip, limit_seconds: float) -> str:
    stream = await _open(trip, limit_seconds)
    try:
        return (await greet(stream, trip.route.hops[_place(trip)].endpoint.host, limit_seconds))[0]
    finally:
        await stream.aclose()
