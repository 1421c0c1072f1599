"""What the emulated server counts while it serves, and says to the questions of the admin listener."""

from collections import Counter
from typing import Any, Final

from relay.journal import Ended, Journal, Record
from relay.metrics import TUNNEL_BUCKETS, Histogram, Snapshot
from relay.siblings import BEGAN, MAX_SHOWN

COUNTED: Final = ("packets_received", "packets_sent", "bytes_received", "bytes_sent", "pings")
"""The numbers of a record that are added up."""


class ServerNumbers:
    """Args: journal: of the server; its ended records may be forgotten there, not here."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._ended: Counter[str] = Counter({str(how): 0 for how in Ended})
        self._seconds = Histogram(TUNNEL_BUCKETS)
        self._carried: Counter[str] = Counter()

    def ended(self, record: Record) -> None:
        """A connection has ended."""
        self._ended[str(record.ended)] += 1
        self._seconds.see(record.seconds or 0.0)
        self._carried.update(_carried(record))

    def answer(self, word: str) -> Any:
        """To "numbers" and "connections"."""
        if word == "numbers":
            return self.snapshot()
        return [
            record.as_dict() | {BEGAN: record.began_monotonic}
            for record in self._journal.open_records[:MAX_SHOWN]
        ]

    def snapshot(self) -> Snapshot:
        """All of it, with the connections that are open, fit for JSON."""
        still_open = self._journal.open_records
        carried = Counter(self._carried)
        for record in still_open:
            carried.update(_carried(record))
        return {
            "ended": dict(self._ended),
            "seconds": self._seconds.snapshot(),
            **{name: carried[name] for name in COUNTED},
            "connections_open": len(still_open),
            "is_draining": False,
        }


def _carried(record: Record) -> dict[str, int]:
    return {name: getattr(record, name) for name in COUNTED}
