"""Repeat a stalled transfer with small segments: when that passes, large packets are lost on the way."""

import asyncio
import contextlib

from relay.check import CannotTest, Trip, check, found
from relay.checks.sizes import SIZES, pass_one
from relay.failure import RelayError
from relay.finding import Finding
from relay.packet_stream import PacketStream
from relay.stream import SocketStream

WORDS = {
    "small-pass": "the same bytes pass in small segments",
    "small-stall": "the same bytes do not pass in small segments either",
}
SEGMENT_BYTES = 1_000
"""Every network carries so much (RFC 9293 section 3.7.1 has 536 for the least, tunnels seldom below 1200)."""


@check("path-size", WORDS, needs={"ping": "answered", "sizes": "up-stalls down-stalls"}, connections=2)
async def path_size(trip: Trip) -> Finding:
    """Does a stalled transfer pass with small segments?"""
    if trip.route.hops:
        raise CannotTest("segments end at the proxy: ask its administrator to try behind it")
    passed = await asyncio.gather(_try(trip, up=True), _try(trip, up=False))
    return found("path-size", "small-pass" if all(passed) else "small-stall", segment_bytes=SEGMENT_BYTES)


async def _try(trip: Trip, *, up: bool) -> bool:
    dialled = await trip.dial(trip.address, trip.patience.control, segment_bytes=SEGMENT_BYTES)
    if dialled.sock is None:
        raise CannotTest(f"the target {dialled.word} now")
    packets = PacketStream(SocketStream(dialled.sock), trip.key, str(trip.route.target))
    try:
        async with asyncio.timeout(trip.patience.reply):
            return await pass_one(packets, SIZES[-1], up=up)
    except (RelayError, TimeoutError):
        return False
    finally:
        with contextlib.suppress(OSError):
            await packets.aclose()
