"""Leave an open connection alone for a while, then use it again. Only on request: it takes that long."""

import asyncio
from typing import Any

from protocol.packet import Packet
from relay.check import Trip, check, found
from relay.failure import Reason, RelayError
from relay.finding import Finding

WORDS = {
    "alive": "the connection is still there after its rest",
    "closed": "the connection was closed while it rested",
    "reset": "the connection is reset when it is used again",
    "silent": "the connection looks open, but nothing passes any more",
    "rejected": "a router rejects the first packet after the rest by ICMP",
}


@check("idle", WORDS, needs={"ping": "answered"}, on_request="idle_seconds")
async def idle(trip: Trip) -> Finding:
    """Does an idle connection stay usable?"""
    async with trip.packets() as packets:
        await packets.send(Packet.ping())
        await packets.receive()
        loop = asyncio.get_running_loop()
        began = loop.time()
        waiting = asyncio.ensure_future(packets.stream.read())
        try:
            done, _ = await asyncio.wait({waiting}, timeout=trip.extras.idle_seconds)
        finally:
            waiting.cancel()
        lasted = round(loop.time() - began, 3)
        evidence: dict[str, Any] = {"idle_seconds": trip.extras.idle_seconds, "lasted_seconds": lasted}
        if done:
            error = waiting.exception()
            return found("idle", "reset" if error else "closed", **evidence)
        try:
            async with asyncio.timeout(trip.patience.reply):
                await packets.send(Packet.ping())
                answer = await packets.receive()
        except TimeoutError:
            return found("idle", "silent", **evidence)
        except RelayError as error:
            word = {Reason.RESET: "reset", Reason.UNREACHABLE: "rejected"}.get(error.failure.reason, "closed")
            return found("idle", word, error.failure.sentence, **evidence)
    return found("idle", "alive" if answer is not None else "closed", **evidence)
