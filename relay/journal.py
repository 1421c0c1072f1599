"""The server's journal: per connection, what really arrived and how it ended."""

import socket
import time
from collections import OrderedDict
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from protocol.resemblance import resembles

FIRST_BYTES = 16
# Ended records that are kept; the oldest go first. One takes about 1 KiB.
MAX_RECORDS = 4096


class Ended(StrEnum):
    """How a connection came to its end."""

    CLIENT_CLOSED = "client-closed"
    CLIENT_RESET = "client-reset"
    IDLE_TIMEOUT = "idle-timeout"
    NOT_READING = "client-does-not-read"
    FRAME_TOO_LARGE = "frame-too-large"
    SEAL_BROKEN = "seal-broken"
    STREAM_TRUNCATED = "stream-truncated"
    INFLATE_TOO_LARGE = "inflate-too-large"
    BODY_MALFORMED = "body-malformed"
    CLOSE_REQUESTED = "close-requested"
    SERVER_STOPPED = "server-stopped"


@dataclass
class Record:
    """One connection. Times are UTC (ISO 8601) and seconds since the start; bytes are TCP payload."""

    id: int
    peer: str
    local: str
    began: str
    began_monotonic: float = field(repr=False)
    nonce: str | None = None
    bytes_received: int = 0
    bytes_sent: int = 0
    packets_received: int = 0
    packets_sent: int = 0
    pings: int = 0
    first_bytes: str = ""
    looks_like: str | None = None
    last_packet_seconds: float | None = None
    ended: Ended | None = None
    detail: str = ""
    seconds: float | None = None

    def saw(self, data: bytes) -> None:
        """Count what arrived, and keep the first 16 bytes of the connection."""
        if len(self.first_bytes) < FIRST_BYTES * 2:
            self.first_bytes += data[: FIRST_BYTES - len(self.first_bytes) // 2].hex()
            self.looks_like = resembles(bytes.fromhex(self.first_bytes))
        self.bytes_received += len(data)

    def as_dict(self) -> dict[str, Any]:
        """For JSON: the journal operation, the journal file."""
        fields = asdict(self)
        del fields["began_monotonic"]
        if self.seconds is None:
            fields["seconds"] = round(time.monotonic() - self.began_monotonic, 6)
        return fields


class Journal:
    """All open connections and the last MAX_RECORDS ended ones, found by nonce."""

    def __init__(self, limit_records: int = MAX_RECORDS) -> None:
        self._limit_records = limit_records
        self._open: dict[int, Record] = {}
        self._ended: OrderedDict[int, Record] = OrderedDict()

    @property
    def records(self) -> list[Record]:
        """Ended connections, then open ones, each in the order of their start."""
        return [*self._ended.values(), *self._open.values()]

    def open(self, number: int, sock: socket.socket) -> Record:
        """Begin the record of a connection that was just accepted."""
        record = Record(
            id=number,
            peer=_name(sock, "getpeername"),
            local=_name(sock, "getsockname"),
            began=datetime.now(UTC).isoformat(timespec="milliseconds"),
            began_monotonic=time.monotonic(),
        )
        self._open[number] = record
        return record

    def close(self, record: Record, how: Ended) -> None:
        """End a record."""
        record.ended = how
        record.seconds = round(time.monotonic() - record.began_monotonic, 6)
        self._open.pop(record.id, None)
        self._ended[record.id] = record
        while len(self._ended) > self._limit_records:
            self._ended.popitem(last=False)

    def of(self, nonce: bytes) -> list[Record]:
        """The records of the connections that identified themselves with this nonce."""
        wanted = nonce.hex()
        return [record for record in self.records if record.nonce == wanted]


def _name(sock: socket.socket, which: str) -> str:
    try:
        host, port = getattr(sock, which)()[:2]
    except (OSError, ValueError):
        # Reset before we looked
        return "unknown"
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
