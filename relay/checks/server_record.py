"""Ask the far end by the other way what it has seen of us on this one."""

import asyncio
import secrets

from protocol.packet import NONCE_BYTES, Operation, Packet, read_document
from relay.check import CannotTest, Trip, check, found
from relay.checks.direct import addresses_of
from relay.failure import RelayError
from relay.far_record import QUESTION, WORDS
from relay.finding import Finding
from relay.packet_stream import PacketStream
from relay.stream import SocketStream

_WORDS = {**WORDS, "no-journal": "the server keeps no journal that can be asked"}


@check(
    QUESTION,
    _WORDS,
    needs={"tunnel": "opened", "direct": "answered"},
    connections=2,
    routes=("proxy",),
)
async def server_record(trip: Trip) -> Finding:
    """Has the server, asked without the proxy, seen a packet that we send through it?"""
    nonce = secrets.token_bytes(NONCE_BYTES)
    answered = await _send_through(trip, nonce)
    address = (await addresses_of(trip.route.target))[0]
    dialled = await trip.dial(address, trip.patience.control)
    if dialled.sock is None:
        raise CannotTest(f"{trip.route.target} {dialled.word} now")
    packets = PacketStream(SocketStream(dialled.sock), trip.key, str(trip.route.target))
    try:
        async with asyncio.timeout(trip.patience.reply):
            await packets.send(Packet.journal(nonce))
            reply = await packets.receive()
    finally:
        await packets.aclose()
    if reply is None or reply.is_ping:
        return found(QUESTION, "no-journal")
    if reply.operation is not Operation.JOURNAL:
        return found(QUESTION, "never-arrived")
    record = read_document(reply.argument)
    return found(QUESTION, "fine" if answered else "answered", record=record)


async def _send_through(trip: Trip, nonce: bytes) -> bool:
    """Whether the packet that names the session was answered."""
    async with trip.packets() as packets:
        try:
            async with asyncio.timeout(trip.patience.control):
                await packets.send(Packet.identify(nonce))
                return await packets.receive() is not None
        except (RelayError, TimeoutError):
            return False
