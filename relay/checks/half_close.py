"""Say our last word and wait for an answer that comes after it."""

import asyncio

from protocol.packet import Packet
from relay.check import Trip, check, found
from relay.failure import RelayError
from relay.finding import Finding

WORDS = {
    "kept": "replies still arrive after the client has said its last word",
    "lost": "a reply that comes after the client's last word is lost",
}
HOLD_MILLISECONDS = 60
"""So long the server waits with its answer: our FIN is there long before."""


@check("half-close", WORDS, needs={"ping": "answered"})
async def half_close(trip: Trip) -> Finding:
    """Does an answer arrive after our last word?"""
    async with trip.packets() as packets:
        try:
            async with asyncio.timeout(trip.patience.reply):
                await packets.send(Packet.hold(HOLD_MILLISECONDS))
                await packets.half_close()
                reply = await packets.receive()
        except (RelayError, TimeoutError):
            return found("half-close", "lost")
    return found("half-close", "kept" if reply is not None else "lost")
