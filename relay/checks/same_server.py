"""Name a session on one connection and ask for it on another: do both end at the same server?"""

import asyncio
import secrets

from protocol.packet import NONCE_BYTES, Operation, Packet
from relay.check import CannotTest, Trip, check, found
from relay.finding import Finding
from relay.packet_stream import PacketStream

WORDS = {
    "same": "a second connection ends at the same server",
    "other-server": "a second connection ends at another server, which does not know the first one's session",
}


@check("same-server", WORDS, needs={"ping": "answered"}, connections=2)
async def same_server(trip: Trip) -> Finding:
    """Does a second connection end at the same server?"""
    nonce = secrets.token_bytes(NONCE_BYTES)
    async with trip.packets() as first, trip.packets() as second:
        async with asyncio.timeout(trip.patience.reply):
            await _asked(first, Packet.identify(nonce), Operation.IDENTIFY)
            reply = await _asked(second, Packet.journal(nonce), Operation.JOURNAL, Operation.ERROR)
    return found("same-server", "same" if reply.operation is Operation.JOURNAL else "other-server")


async def _asked(packets: PacketStream, packet: Packet, *expected: Operation) -> Packet:
    await packets.send(packet)
    reply = await packets.receive()
    if reply is None or reply.is_ping or reply.operation not in expected:
        raise CannotTest("this server keeps no journal")
    return reply
