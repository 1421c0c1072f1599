"""Send a packet right behind CONNECT, before the proxy has answered."""

import asyncio

from protocol.connect import ConnectHandshake
from protocol.connection import PacketConnection
from protocol.errors import WireError
from protocol.packet import Packet
from protocol.sealing import Direction
from relay.check import CannotTest, Trip, check, found
from relay.finding import Finding
from relay.stream import SocketStream

WORDS = {
    "kept": "bytes sent before the proxy's answer arrive",
    "lost": "bytes sent before the proxy's answer are lost",
}

LEAST_SECONDS, LONGER = 0.5, 5.0

TIMES = 2
"""A tunnel that ends once has many reasons, and none of them need be the bytes."""


@check("early-bytes", WORDS, needs={"ping": "answered"}, connections=TIMES, routes=("proxy",))
async def early_bytes(trip: Trip) -> Finding:
    """Do bytes survive that are sent before the proxy's answer?"""
    only_plain(trip)
    for _ in range(TIMES):
        if (behind := await _answered(trip)) is not None:
            # What a client must not throw away: the first bytes of the tunnel, in one piece with the 200
            return found("early-bytes", "kept", coalesced=bool(behind))
    return found("early-bytes", "lost")


async def _answered(trip: Trip) -> bytes | None:
    """What came in one piece with the 200, when the packet was answered; None when it was not.

    Raises: CannotTest where there is no tunnel this time: nothing is known of the bytes then.
    """
    handshake = ConnectHandshake(str(trip.route.target))
    connection = PacketConnection(Direction.CLIENT, trip.key)
    # The same steps as the ping's; who loses the bytes would have us wait for ever
    patience = max(LEAST_SECONDS, LONGER * trip.answered_seconds)
    stream = await to_proxy(trip)
    try:
        packet = connection.send(Packet.ping())
        status = await status_of(handshake, stream, min(patience, trip.patience.tunnel), behind=packet)
        if not 200 <= status < 300:
            raise CannotTest(f"the proxy {f'answered {status}' if status else 'did not answer'} this time")
        async with asyncio.timeout(min(patience, trip.patience.reply)):
            connection.receive_data(handshake.leftover)
            while connection.next_packet() is None:
                data = await stream.read()
                if not data:
                    return None
                connection.receive_data(data)
    except (OSError, WireError, TimeoutError):
        return None
    finally:
        await stream.aclose()
    return handshake.leftover


async def to_proxy(trip: Trip) -> SocketStream:
    """A connection to the proxy, counted. Raises: CannotTest, BudgetSpent."""
    dialled = await trip.dial(trip.address, trip.patience.control)
    if dialled.sock is None:
        raise CannotTest(f"the proxy {dialled.word} now")
    return SocketStream(dialled.sock)


async def status_of(
    handshake: ConnectHandshake, stream: SocketStream, limit_seconds: float, *, behind: bytes = b""
) -> int:
    """Ask for a tunnel, with more bytes `behind` the request: the status, once its head is whole; else 0."""
    try:
        async with asyncio.timeout(limit_seconds):
            await stream.write(handshake.data_to_send() + behind)
            while handshake.reply is None:
                handshake.receive_data(await stream.read())
    except (OSError, WireError, TimeoutError):
        return 0
    return handshake.reply.status


def only_plain(trip: Trip) -> None:
    """Raises: CannotTest unless it is one http:// proxy without a login."""
    hop = trip.route.hops[0]
    if not str(hop).startswith("http://") or hop.user is not None or len(trip.route.hops) > 1:
        raise CannotTest("only tried on one plain proxy without a login")
