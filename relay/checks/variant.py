"""Send our packet in other forms: what does a box on the way object to? Evidence, no way past it."""

import asyncio
import os

from protocol.connection import PacketConnection
from protocol.errors import PeerWireError
from protocol.packet import Packet
from protocol.sealing import Direction
from relay.check import CannotTest, Trip, check, found
from relay.evidence import full_tcp_info
from relay.finding import Finding
from relay.stream import SocketStream

WORDS = {
    "none-passes": "no other form of it passes either",
    "split-passes": "the same packet passes when it is sent byte by byte: a signature matches its beginning",
    "http-and-tls-pass": "what begins like HTTP or TLS passes, our packet does not",
    "tls-passes": "what begins like TLS passes, our packet does not",
    "others-pass": "other bytes pass, our packet does not",
}
LENGTH_BYTES = 44
"""As long as our ping, so that only the content differs."""


@check(
    "variant",
    WORDS,
    needs={"connect": "open", "ping": "silent reset rejected", "ping.acked": "no"},
    connections=4,
    routes=("direct",),
)
async def variant(trip: Trip) -> Finding:
    """Which form of our first bytes is acknowledged: split, or beginning as TLS, HTTP, or anything does?"""
    rest = os.urandom(LENGTH_BYTES - 6)
    split, tls, http, other = await asyncio.gather(
        _is_answered_split(trip),
        _is_taken(trip, b"\x16\x03\x01\x00\x27\x01" + rest),
        _is_taken(trip, b"GET / " + rest),
        _is_taken(trip, b"\x7f\x7f\x7f\x7f\x7f\x7f" + rest),
    )
    passes = {"split": split, "tls": tls, "http": http, "other": other}
    return found("variant", judge(**passes), passes=passes)


def judge(*, split: bool, tls: bool, http: bool, other: bool) -> str:
    """The word for the forms that pass. A filter of first bytes is told from a signature by other bytes."""
    if tls and not other:
        return "http-and-tls-pass" if http else "tls-passes"
    if split:
        return "split-passes"
    return "others-pass" if other else "none-passes"


async def _open(trip: Trip) -> SocketStream:
    dialled = await trip.dial(trip.address, trip.patience.control)
    if dialled.sock is None:
        raise CannotTest(f"the target {dialled.word} now")
    return SocketStream(dialled.sock)


async def _is_taken(trip: Trip, data: bytes) -> bool:
    """Whether somebody acknowledges it (TCP_INFO; the SYN counts as one byte)."""
    stream = await _open(trip)
    try:
        await stream.write(data)
        async with asyncio.timeout(trip.patience.control):
            await stream.read()
    except (OSError, TimeoutError):
        return _acknowledged(stream) > len(data)
    finally:
        acknowledged = _acknowledged(stream)
        await stream.aclose()
    return acknowledged > len(data)


def _acknowledged(stream: SocketStream) -> int:
    return int(full_tcp_info(stream.fileno_socket()).get("bytes_acked", 0))


async def _is_answered_split(trip: Trip) -> bool:
    stream = await _open(trip)
    connection = PacketConnection(Direction.CLIENT, trip.key)
    try:
        async with asyncio.timeout(trip.patience.control):
            for byte in connection.send(Packet.ping()):
                await stream.write(bytes((byte,)))
            while connection.next_packet() is None:
                data = await stream.read()
                if not data:
                    return False
                connection.receive_data(data)
    except (OSError, PeerWireError, TimeoutError):
        return False
    finally:
        await stream.aclose()
    return True
