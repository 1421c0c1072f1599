"""Where no HTTP proxy answered: is it a SOCKS proxy, a TLS port, something else?"""

import asyncio
from typing import Any

from protocol.resemblance import excerpt
from relay.check import CannotTest, Trip, check, found
from relay.checks.ping import kind_of
from relay.checks.tls_hello import greet
from relay.finding import Finding
from relay.stream import SocketStream

WORDS = {
    "socks5": "it is a SOCKS5 proxy",
    "tls": "it speaks TLS: the proxy's URL begins with https://",
    "http": "it answers HTTP",
    "banner": "another kind of server listens there",
    "nothing": "nothing of what was tried is answered",
}
_SOCKS_GREETING = b"\x05\x02\x00\x02"
"""RFC 1928 section 3: no login, or user and password (which is never sent)."""


@check(
    "proxy-kind",
    WORDS,
    needs={"tunnel": "closed reset silent not-http tls-failed bad-request"},
    connections=3,
    routes=("proxy",),
)
async def proxy_kind(trip: Trip) -> Finding:
    """What listens at the proxy's address?"""
    limit = trip.patience.control
    banner, socks, tls = await asyncio.gather(
        _say(trip, b"", trip.patience.banner), _say(trip, _SOCKS_GREETING, limit), _greet(trip, limit)
    )
    evidence: dict[str, Any] = {"first_bytes": excerpt(banner or socks), "tls": tls}
    if len(socks) == 2 and socks[0] == 5:
        return found("proxy-kind", "socks5", method=socks[1], **evidence)
    if tls == "certificate":
        return found("proxy-kind", "tls", **evidence)
    if banner:
        return found("proxy-kind", "banner", **evidence, kind=kind_of(banner))
    return found(
        "proxy-kind", "http" if kind_of(socks) == "http" or tls == "foreign" else "nothing", **evidence
    )


async def _open(trip: Trip, limit_seconds: float) -> SocketStream:
    dialled = await trip.dial(trip.address, limit_seconds)
    if dialled.sock is None:
        raise CannotTest(f"the proxy {dialled.word} now")
    return SocketStream(dialled.sock)


async def _say(trip: Trip, data: bytes, limit_seconds: float) -> bytes:
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
        return (await greet(stream, trip.first.host, limit_seconds))[0]
    finally:
        await stream.aclose()
