"""Fill the line for a while: rate, losses, and the time of an answer meanwhile. Only on request."""

import asyncio
import os
import statistics
import time
from dataclasses import dataclass, field
from typing import Any

from protocol.packet import Operation, Packet, read_document
from relay.check import Trip, check, found
from relay.evidence import full_tcp_info
from relay.finding import Finding
from relay.packet_stream import PacketStream

WORDS = {
    "fine": "the line carries load without loss or delay",
    "lossy": "packets get lost at random",
    "damaged": "packets arrive damaged at the server",
    "capped-with-loss": "above a rate packets are dropped",
    "capped-with-delay": "under load every answer takes many times longer: the line is full, or shaped",
    "slow": "every answer takes long, with load or without",
    "reordered": "packets overtake each other, or come twice",
    "coalesced": "small packets are held back",
}
BLOCK_BYTES = 60_000
PINGS = 10
LOSS_SHARE, CAPPED_LOSS_SHARE = 0.005, 0.1
"""Of segments that had to be repeated: above the first worth a note, above the second somebody drops."""

BLOATED = 5.0
"""So many times longer an answer may take under load before the line counts as full."""

BLOATED_MILLISECONDS = 100.0
LONG_MILLISECONDS = 300.0
HELD_MILLISECONDS = 35.0
"""Nagle's algorithm with delayed acknowledgements holds a small packet back 40 ms and more (RFC 896)."""


@dataclass
class _Seen:
    rest_milliseconds: list[float] = field(default_factory=list)
    load_milliseconds: list[float] = field(default_factory=list)
    sent_bytes: int = 0
    seconds: float = 0.0
    damaged: int = 0
    tcp_info: dict[str, Any] = field(default_factory=dict)

    is_direct: bool = True

    @property
    def medians(self) -> tuple[float, float]:
        """Milliseconds until an answer, at rest and under load.

        The kernel's own times where they are of the whole path: without those inside the two programs.
        """
        rest, under = self.tcp_info.get("min_rtt_us", 0), self.tcp_info.get("rtt_us", 0)
        if self.is_direct and rest and under:
            return rest / 1000, under / 1000
        return statistics.median(self.rest_milliseconds), statistics.median(self.load_milliseconds or [0.0])


@check(
    "load",
    WORDS,
    needs={"ping": "answered"},
    connections=2,
    on_request="load_seconds",
    disturbs="fills the line for as long as --load says",
)
async def load(trip: Trip) -> Finding:
    """How does the line behave when it is full for the time of --load?"""
    seen = _Seen(is_direct=not trip.route.hops)
    async with trip.packets() as small, trip.packets() as bulk:
        for _ in range(PINGS):
            seen.rest_milliseconds.append(await _ping(small))
        damaged = await _damaged(small)
        began = time.monotonic()
        filling = asyncio.create_task(_fill(bulk, seen, began + trip.extras.load_seconds))
        try:
            while not filling.done():
                seen.load_milliseconds.append(await _ping(small))
                await asyncio.wait({filling}, timeout=trip.extras.load_seconds / PINGS)
            await filling
        finally:
            filling.cancel()
            await asyncio.gather(filling, return_exceptions=True)
        seen.seconds = time.monotonic() - began
        seen.tcp_info = full_tcp_info(bulk.stream.fileno_socket())
        seen.damaged = await _damaged(small) - damaged
    return found("load", judge(seen), _told(seen), **_evidence(seen))


async def _ping(packets: PacketStream) -> float:
    began = time.monotonic()
    await packets.send(Packet.ping())
    await packets.receive()
    return round((time.monotonic() - began) * 1000, 3)


async def _fill(packets: PacketStream, seen: _Seen, until: float) -> None:
    data = os.urandom(BLOCK_BYTES)
    while time.monotonic() < until:
        await packets.send(Packet.sink(data))
        await packets.receive()
        seen.sent_bytes += len(data)
        # What is answered at once never waits, and would leave the pings no turn
        await asyncio.sleep(0)


async def _damaged(packets: PacketStream) -> int:
    """Segments with a wrong checksum that the server's machine has counted; 0 where it does not say."""
    await packets.send(Packet.observed())
    reply = await packets.receive()
    if reply is None or reply.is_ping or reply.operation is not Operation.OBSERVED:
        return 0
    count = read_document(reply.argument).get("damaged_segments")
    return count if isinstance(count, int) else 0


def judge(seen: _Seen) -> str:
    """The word for what was seen."""
    rest, under = seen.medians
    repeated = seen.tcp_info.get("total_retrans", 0) / max(1, seen.tcp_info.get("data_segs_out", 0))
    if seen.damaged:
        return "damaged"
    if repeated > CAPPED_LOSS_SHARE:
        return "capped-with-loss"
    if under > BLOATED_MILLISECONDS and under > BLOATED * rest:
        return "capped-with-delay"
    if repeated > LOSS_SHARE:
        return "lossy"
    if seen.tcp_info.get("reord_seen", 0):
        return "reordered"
    if min(seen.rest_milliseconds) > LONG_MILLISECONDS:
        return "slow"
    shortest, usual = min(seen.rest_milliseconds), statistics.median(seen.rest_milliseconds)
    return "coalesced" if usual > HELD_MILLISECONDS + 2 * shortest else "fine"


def _told(seen: _Seen) -> str:
    rest, under = seen.medians
    rate = 8 * seen.sent_bytes / max(seen.seconds, 1e-6) / 1000
    times = f"an answer takes {rest:.1f} ms, under load {under:.1f} ms"
    return f"{WORDS[judge(seen)]}: {rate:.0f} kbit/s, {times}"


def _evidence(seen: _Seen) -> dict[str, Any]:
    return {
        "rest_milliseconds": seen.rest_milliseconds,
        "load_milliseconds": seen.load_milliseconds[:100],
        "sent_bytes": seen.sent_bytes,
        "load_seconds": round(seen.seconds, 3),
        "damaged_segments": seen.damaged,
        "tcp_info": seen.tcp_info,
    }
