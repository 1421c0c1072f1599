"""Send and fetch packets of growing size: one that never arrives tells how much passes, and which way not."""

import asyncio
import os
from typing import Any

from protocol.packet import Packet, sink_reply, source_bytes
from relay.check import Trip, check, found
from relay.evidence import full_tcp_info
from relay.failure import Reason, RelayError
from relay.finding import Finding
from relay.packet_stream import PacketStream

WORDS = {
    "all": "small and large packets pass both ways",
    "up-stalls": "large packets do not arrive at the server",
    "down-stalls": "large packets do not come back from the server",
    "changed": "packets of a certain size are changed on the way",
    "cut": "the connection breaks at a certain size",
}
_OTHER_ANSWER = "another answer came"
_CHANGED = (_OTHER_ANSWER, str(Reason.SEAL_BROKEN))
"""The server could not open what it got, or we could not."""

SIZES = (200, 1_300, 9_000, 120_000)
"""In one segment; just below what Ethernet carries; several segments; more than one window."""


@check("sizes", WORDS, needs={"ping": "answered"}, connections=2)
async def sizes(trip: Trip) -> Finding:
    """Do packets of every size pass, both ways?"""
    up, down = await asyncio.gather(_sweep(trip, up=True), _sweep(trip, up=False))
    evidence: dict[str, Any] = {
        "up": up,
        "down": down,
        "up_bytes": up["passed_bytes"],
        "down_bytes": down["passed_bytes"],
    }
    for way, end in (("up", up), ("down", down)):
        if end["ended"] == "stalled":
            words = f"{WORDS[f'{way}-stalls']}: {end['passed_bytes']} bytes pass, {end['tried_bytes']} do not"
            return found("sizes", f"{way}-stalls", words, **evidence)
    for end in (up, down):
        if end["ended"] in _CHANGED:
            words = f"{WORDS['changed']}: {end['tried_bytes']} bytes ({end['ended']})"
            return found("sizes", "changed", words, **evidence)
        if end["ended"] != "passed":
            return found(
                "sizes", "cut", f"{WORDS['cut']}: {end['tried_bytes']} bytes ({end['ended']})", **evidence
            )
    return found("sizes", "all", **evidence)


async def _sweep(trip: Trip, *, up: bool) -> dict[str, Any]:
    end: dict[str, Any] = {"passed_bytes": 0, "tried_bytes": 0, "ended": "passed", "tcp_info": {}}
    async with trip.packets() as packets:
        try:
            async with asyncio.timeout(trip.patience.reply):
                for size in SIZES:
                    end["tried_bytes"] = size
                    if not await pass_one(packets, size, up=up):
                        end["ended"] = _OTHER_ANSWER
                        return end
                    end["passed_bytes"] = size
        except TimeoutError:
            end["ended"] = "stalled"
        except RelayError as error:
            end["ended"] = str(error.failure.reason)
        finally:
            end["tcp_info"] = full_tcp_info(packets.stream.fileno_socket())
    return end


async def pass_one(packets: PacketStream, size: int, *, up: bool) -> bool:
    """One packet of about `size` bytes on the wire: random, so that gzip does not make it small."""
    data = os.urandom(size)
    await packets.send(Packet.sink(data) if up else Packet.source(size))
    reply = await packets.receive()
    if reply is None:
        return False
    return reply.body == sink_reply(data).body if up else reply.argument == source_bytes(size, 0)
