"""What a conversation of the emulated server does with one packet, in whatever thread."""

from protocol.connection import PacketConnection
from protocol.errors import (
    BodyMalformed,
    FrameTooLarge,
    InflateTooLarge,
    LocalWireError,
    PeerWireError,
    SealBroken,
    StreamTruncated,
)
from protocol.packet import Packet
from relay.journal import Ended
from relay.operations import is_large, payload_reply

ENDED_BY: dict[type[PeerWireError], Ended] = {
    FrameTooLarge: Ended.FRAME_TOO_LARGE,
    SealBroken: Ended.SEAL_BROKEN,
    StreamTruncated: Ended.STREAM_TRUNCATED,
    InflateTooLarge: Ended.INFLATE_TOO_LARGE,
    BodyMalformed: Ended.BODY_MALFORMED,
}
"""How a connection ends for what its client sent."""


def sealed(connection: PacketConnection, packet: Packet) -> bytes:
    """The bytes of an answer, or of the words why it cannot be given."""
    try:
        return connection.send(packet)
    except LocalWireError as error:
        # It came to us packed tighter than we can pack it
        return connection.send(Packet.error(str(error)))


def open_and_answer(connection: PacketConnection) -> Packet | bytes | None:
    """The next packet, or the answer to it where that takes long, too. Raises: PeerWireError.

    Both in one go: what waits for a thread is packed, and seldom large.
    """
    packet = connection.next_packet()
    try:
        if packet is not None and not packet.is_ping and is_large(packet):
            return sealed(connection, payload_reply(packet))
    except (BodyMalformed, LocalWireError):
        # Whoever takes the packet finds out, and says so
        return packet
    return packet
