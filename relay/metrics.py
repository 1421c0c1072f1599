"""Metrics: what the proxy counts while it works. Counting is additions to plain numbers."""

from bisect import bisect_left
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

# Seconds: from a loopback dial to a connect timeout, and from a ping's tunnel to one that is open for a day.
DIAL_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
TUNNEL_BUCKETS = (0.01, 0.1, 1.0, 10.0, 60.0, 300.0, 1800.0, 3600.0, 21_600.0, 86_400.0)

Snapshot = dict[str, Any]


class Histogram:
    """Counts of what was seen, by the first bucket that holds it."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def see(self, value: float) -> None:
        """Count one."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    def snapshot(self) -> Snapshot:
        """As numbers that can be added up."""
        return {"counts": list(self.counts), "total": self.total}


@dataclass
class Metrics:
    """The counts of one process. `requests` is by method, status and how it ended.

    cut: clients that never came to the end of a head: silent, slow, or endless.
    """

    requests: Counter[tuple[str, int, str]] = field(default_factory=Counter)
    bytes_up: int = 0
    bytes_down: int = 0
    dials: Histogram = field(default_factory=lambda: Histogram(DIAL_BUCKETS))
    tunnels: Histogram = field(default_factory=lambda: Histogram(TUNNEL_BUCKETS))
    logins: Counter[str] = field(default_factory=Counter)
    turned_away: int = 0
    cut: Counter[str] = field(default_factory=Counter)
    reloads: Counter[str] = field(default_factory=Counter)

    def ended(self, method: str, status: int, how: str, bytes_up: int, bytes_down: int) -> None:
        """One tunnel or request has ended, or was refused. `how` is a word of ours, from a closed list."""
        self.requests[method, status, how] += 1
        self.bytes_up += bytes_up
        self.bytes_down += bytes_down

    def passed(self, how: str, bytes_up: int, bytes_down: int, seconds: float) -> None:
        """As `ended`, of a tunnel that was open for so long."""
        self.requests["CONNECT", 200, how] += 1
        self.bytes_up += bytes_up
        self.bytes_down += bytes_down
        tunnels = self.tunnels
        tunnels.counts[bisect_left(tunnels.bounds, seconds)] += 1
        tunnels.total += seconds

    def snapshot(self) -> Snapshot:
        """All of it, fit for JSON."""
        return {
            "requests": [[*key, count] for key, count in self.requests.items()],
            "bytes_up": self.bytes_up,
            "bytes_down": self.bytes_down,
            "dials": self.dials.snapshot(),
            "tunnels": self.tunnels.snapshot(),
            "logins": dict(self.logins),
            "turned_away": self.turned_away,
            "cut": dict(self.cut),
            "reloads": dict(self.reloads),
        }
