"""Send and fetch packets of growing size: one that never arrives tells how much passes, and which way not."""

import asyncio
import contextlib
import os
import socket
import time
from collections.abc import Mapping
from typing import Any

from protocol.packet import Packet, sink_reply, source_bytes
from relay.check import BudgetSpent, Trip, check, found
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
    "slow": "packets pass, but large ones take too long to wait for",
}
_OTHER_ANSWER = "another answer came"
_CHANGED = (_OTHER_ANSWER, str(Reason.SEAL_BROKEN))
"""The server could not open what it got, or we could not."""

SIZES = (200, 1_300, 9_000, 120_000)
"""In one segment; just below what Ethernet carries; several segments; more than one window."""


_PROGRESS_SECONDS = 1.2
"""A limit of the rate lets something through each second (squid delay_pools); what stalls gets on never."""


_NEGOTIATED = 1 | 2 | 4
"""TCPI_OPT_TIMESTAMPS, _SACK, _WSCALE of linux/tcp.h: today's systems agree on one of them at least."""


_LARGEST_MTU = 9_216
"""Beyond it is no network but this machine itself, where the window limits a segment, not the path."""


_LOST = 3
"""A machine that stood still for a moment sends again, once or twice, what was not lost (RFC 6298)."""

_LOST_SHARE = 0.05
"""Of the segments with data: below that TCP hardly loses pace."""


@check("sizes", WORDS, needs={"ping": "answered"}, connections=4)
async def sizes(trip: Trip) -> Finding:
    """Do packets of every size pass, both ways?"""
    up, down = await asyncio.gather(_sweep(trip, up=True), _sweep(trip, up=False))
    evidence: dict[str, Any] = {
        "up": up,
        "down": down,
        "up_bytes": up["passed_bytes"],
        "down_bytes": down["passed_bytes"],
        "line": "lossy" if is_lossy(up) or is_lossy(down) else "clean",
    }
    if not trip.route.hops:
        evidence["mtu"] = mtu_of(up["tcp_info"], is_v6=":" in trip.route.target.host)
    for way, end in (("up", up), ("down", down)):
        if end["ended"] == "stalled":
            words = f"{WORDS[f'{way}-stalls']}: {end['passed_bytes']} bytes pass, {end['tried_bytes']} do not"
            return found("sizes", f"{way}-stalls", words, **evidence)
    for end in (up, down):
        if end["ended"] == "slow":
            words = f"{end['passed_bytes']} bytes pass at once, {end['tried_bytes']} are still on their way"
            return found("sizes", "slow", words, **evidence)
        if end["ended"] in _CHANGED:
            words = f"{WORDS['changed']}: {end['tried_bytes']} bytes ({end['ended']})"
            return found("sizes", "changed", words, **evidence)
        if end["ended"] != "passed":
            return found(
                "sizes", "cut", f"{WORDS['cut']}: {end['tried_bytes']} bytes ({end['ended']})", **evidence
            )
    return found("sizes", "all", **evidence)


def mtu_of(info: Mapping[str, int], *, is_v6: bool) -> str:
    """What TCP_INFO says of the path: "plain", "lowered", "clamped", "options-gone", or "unknown"."""
    whole, segment, advertised = (info.get(key, 0) for key in ("pmtu", "snd_mss", "advmss"))
    if not (whole and segment and advertised) or whole > _LARGEST_MTU:
        return "unknown"
    headers = 60 if is_v6 else 40
    if not info.get("options", 0) & _NEGOTIATED:
        return "options-gone"
    # Ours as we have told it to the peer: smaller than that, a router has said so by ICMP (RFC 1191)
    if whole < advertised + headers:
        return "lowered"
    stamped = 12 if info.get("options", 0) & 1 else 0
    return "clamped" if segment + stamped + headers < whole else "plain"


def is_lossy(end: Mapping[str, Any]) -> bool:
    """Whether a sweep got through by sending again, which a limit or a black hole never allows."""
    info: Mapping[str, int] = end["tcp_info"]
    again, sent = info.get("total_retrans", 0), info.get("data_segs_out", 0)
    return end["ended"] == "passed" and again >= _LOST and again >= _LOST_SHARE * sent


async def _sweep(trip: Trip, *, up: bool) -> dict[str, Any]:
    end = await _sweep_once(trip, up=up)
    if end["ended"] == _OTHER_ANSWER:
        # A server that cannot open a packet ends the connection, and so does a proxy with a short limit of
        # silence when this machine was busy for as long: only the first does it again
        with contextlib.suppress(BudgetSpent):
            end = await _sweep_once(trip, up=up)
    return end


async def _sweep_once(trip: Trip, *, up: bool) -> dict[str, Any]:
    end: dict[str, Any] = {"passed_bytes": 0, "tried_bytes": 0, "ended": "passed", "tcp_info": {}}
    async with trip.packets() as packets:
        try:
            async with asyncio.timeout(trip.patience.reply):
                for size in SIZES:
                    end["tried_bytes"] = size
                    began = time.monotonic()
                    if not await pass_one(packets, size, up=up):
                        end["ended"] = _OTHER_ANSWER
                        return end
                    end["passed_bytes"] = size
                    end["bytes_per_second"] = round(size / max(time.monotonic() - began, 1e-6))
        except TimeoutError:
            end["ended"] = "slow" if await _gets_on(packets.stream.fileno_socket()) else "stalled"
        except RelayError as error:
            end["ended"] = str(error.failure.reason)
        finally:
            end["tcp_info"] = full_tcp_info(packets.stream.fileno_socket())
    return end


async def _gets_on(sock: socket.socket) -> bool:
    """Whether bytes still move: a limit of the rate, which no black hole is."""
    before = _moved(sock)
    await asyncio.sleep(_PROGRESS_SECONDS)
    return _moved(sock) > before


def _moved(sock: socket.socket) -> int:
    info: Mapping[str, int] = full_tcp_info(sock)
    return info.get("bytes_received", 0) + info.get("bytes_acked", 0)


async def pass_one(packets: PacketStream, size: int, *, up: bool) -> bool:
    """One packet of about `size` bytes on the wire: random, so that gzip does not make it small."""
    data = os.urandom(size)
    await packets.send(Packet.sink(data) if up else Packet.source(size))
    reply = await packets.receive()
    if reply is None:
        return False
    return reply.body == sink_reply(data).body if up else reply.argument == source_bytes(size, 0)
