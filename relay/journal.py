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
# So many first bytes are looked at: a CONNECT head shows what it is only behind the name in it.
LOOK_BYTES = 256
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
    TOO_MANY = "too-many-connections"
    OUT_OF_MEMORY = "memory-budget"
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
    head: bytes = field(default=b"", repr=False)
    looks_like: str | None = None
    last_packet_seconds: float | None = None
    ended: Ended | None = None
    detail: str = ""
    seconds: float | None = None

    @property
    def first_bytes(self) -> str:
        """The first 16 bytes of the connection, in hexadecimal."""
        return self.head[:FIRST_BYTES].hex()

    def saw(self, data: bytes) -> None:
        """Count what arrived, and look at how the connection begins."""
        if len(self.head) < LOOK_BYTES:
            self.head += data[: LOOK_BYTES - len(self.head)]
            self.looks_like = resembles(self.head)
        self.bytes_received += len(data)

    def as_dict(self) -> dict[str, Any]:
        """For JSON: the journal operation, the journal file."""
        fields = asdict(self)
        del fields["began_monotonic"], fields["head"]
        fields["first_bytes"] = self.first_bytes
        if self.last_packet_seconds is not None:
            fields["last_packet_seconds"] = round(self.last_packet_seconds, 6)
        if self.seconds is None:
            fields["seconds"] = round(time.monotonic() - self.began_monotonic, 6)
        return fields


class Journal:
    """All open connections and the last MAX_RECORDS ended ones, found by nonce."""

    def __init__(self, limit_records: int = MAX_RECORDS) -> None:
        self._limit_records = limit_records
        self._open: dict[int, Record] = {}
        self._ended: OrderedDict[int, Record] = OrderedDict()
        self._last_id = 0

    @property
    def records(self) -> list[Record]:
        """Ended connections in the order of their end, then open ones in the order of their start."""
        return [*self._ended.values(), *self._open.values()]

    @property
    def open_records(self) -> list[Record]:
        """Those of open connections, in the order of their start."""
        return list(self._open.values())

    def open(self, sock: socket.socket) -> Record:
        """Begin the record of a connection that was just accepted."""
        self._last_id += 1
        record = Record(
            id=self._last_id,
            peer=_name(sock, "getpeername"),
            local=_name(sock, "getsockname"),
            began=datetime.now(UTC).isoformat(timespec="milliseconds"),
            began_monotonic=time.monotonic(),
        )
        self._open[record.id] = record
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
        """The records of the connections that identified themselves with this nonce, oldest first."""
        wanted = nonce.hex()
        return sorted((r for r in self.records if r.nonce == wanted), key=lambda record: record.id)


def _name(sock: socket.socket, which: str) -> str:
    try:
        host, port = getattr(sock, which)()[:2]
    except (OSError, ValueError):
        # Reset before we looked
        return "unknown"
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
