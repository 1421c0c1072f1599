"""Send a packet right behind CONNECT, before the proxy has answered."""

import asyncio

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


@check("early-bytes", WORDS, needs={"ping": "answered"}, routes=("proxy",))
async def early_bytes(trip: Trip) -> Finding:
    """Do bytes survive that are sent before the proxy's answer?"""
    only_plain(trip)
    dialled = await trip.dial(trip.address, trip.patience.control)
    if dialled.sock is None:
        raise CannotTest(f"the proxy {dialled.word} now")
    stream = SocketStream(dialled.sock)
    connection = PacketConnection(Direction.CLIENT, trip.key)
    head = f"CONNECT {trip.route.target} HTTP/1.1\r\nHost: {trip.route.target}\r\n\r\n".encode("ascii")
    got = b""
    # The same steps as the ping's; who loses the bytes would have us wait for ever
    patience = min(max(LEAST_SECONDS, LONGER * trip.answered_seconds), trip.patience.reply)
    try:
        async with asyncio.timeout(patience):
            await stream.write(head + connection.send(Packet.ping()))
            while b"\r\n\r\n" not in got:
                got += await _more(stream)
            behind = got.partition(b"\r\n\r\n")[2]
            connection.receive_data(behind)
            while connection.next_packet() is None:
                connection.receive_data(await _more(stream))
    except (OSError, WireError, EOFError, TimeoutError):
        return found("early-bytes", "lost")
    finally:
        await stream.aclose()
    # What a client must not throw away: the first bytes of the tunnel, in one piece with the 200
    return found("early-bytes", "kept", coalesced=bool(behind))


async def _more(stream: SocketStream) -> bytes:
    data = await stream.read()
    if not data:
        raise EOFError
    return data


def only_plain(trip: Trip) -> None:
    """Raises: CannotTest unless it is one http:// proxy without a login."""
    hop = trip.route.hops[0]
    if not str(hop).startswith("http://") or hop.user is not None or len(trip.route.hops) > 1:
        raise CannotTest("only tried on one plain proxy without a login")
