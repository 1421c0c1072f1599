"""What the emulated server answers to the operations of docs/wire.md, section 8."""

import socket
from typing import Final

from protocol.packet import (
    Operation,
    Packet,
    document_reply,
    read_nonce,
    read_source,
    sink_reply,
    source_reply,
)
from relay.evidence import damaged_segments, tcp_info
from relay.journal import Journal, Record

LARGE_BYTES: Final = 16 * 1024
"""From here on, packing or opening takes longer than starting a thread (benchmarks: codec, large packets)."""

QUICK_BYTES: Final = 65_536
"""Of plaintext: what is opened at once; a frame below LARGE_BYTES may hold a thousand times as much."""

# A journal answer must fit one packet; a nonce is one session, but its client may have reconnected often.
MAX_JOURNAL_RECORDS = 100


def is_large(packet: Packet) -> bool:
    """Whether an answer takes so long that other connections would feel it.

    Raises: BodyMalformed for an operation that is not known, or a SOURCE that cannot be read.
    """
    match packet.operation:
        case Operation.SOURCE:
            return read_source(packet.argument)[0] >= LARGE_BYTES
        case Operation.ECHO | Operation.SINK:
            return len(packet.body) >= LARGE_BYTES
    return False


def payload_reply(packet: Packet) -> Packet:
    """Answer ECHO, SOURCE or SINK: those that only need the packet. Raises: LocalWireError, BodyMalformed."""
    match packet.operation:
        case Operation.SOURCE:
            return source_reply(*read_source(packet.argument))
        case Operation.SINK:
            return sink_reply(packet.argument)
    return packet


def record_reply(packet: Packet, record: Record, journal: Journal, sock: socket.socket) -> Packet:
    """Answer what asks for, or changes, the record of a connection. Raises: LocalWireError, BodyMalformed."""
    match packet.operation:
        case Operation.OBSERVED:
            seen = {**record.as_dict(), "tcp_info": tcp_info(sock), "damaged_segments": damaged_segments()}
            return document_reply(packet.operation, seen)
        case Operation.IDENTIFY:
            record.nonce = read_nonce(packet.argument).hex()
            return packet
        case Operation.JOURNAL:
            return _journal_reply(journal, read_nonce(packet.argument))
    return Packet.error("ERROR is an answer, not a request")


def _journal_reply(journal: Journal, nonce: bytes) -> Packet:
    records = journal.of(nonce)
    if not records:
        return Packet.error("no session with this nonce is in the journal")
    shown = [record.as_dict() for record in records[-MAX_JOURNAL_RECORDS:]]
    return document_reply(Operation.JOURNAL, {"count": len(records), "records": shown})
