"""The metrics of all workers together, as Prometheus reads them: of the proxy, and of the server."""

from collections import Counter
from collections.abc import Iterable, Mapping

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from relay.metrics import DIAL_BUCKETS, TUNNEL_BUCKETS, Snapshot

Family = CounterMetricFamily | GaugeMetricFamily | HistogramMetricFamily


def exposition(snapshots: Iterable[Snapshot], workers_silent: int = 0) -> bytes:
    """The text format, version 0.0.4, of the snapshots of all workers together."""
    return generate_latest(registry_of(_families(list(snapshots), workers_silent)))


def server_exposition(snapshots: Iterable[Snapshot], workers_silent: int = 0) -> bytes:
    """The same of the emulated server (relay.server_answers), which has no workers."""
    parts = list(snapshots)

    def both(key: str) -> dict[str, float]:
        return {way: float(sum(part[f"{key}_{way}"] for part in parts)) for way in ("received", "sent")}

    return generate_latest(registry_of([
        _gauge("relay_server_connections_open", "Connections that are open.",
               float(sum(part["connections_open"] for part in parts))),
        _counter("relay_server_connections", "Connections that have ended, by how; all but the client's own "
                 "ends are errors.", "ended", _added(parts, "ended")),
        _counter("relay_server_packets", "Packets, those of open connections included.", "direction",
                 both("packets")),
        _counter("relay_server_bytes", "Bytes of TCP payload, those of open connections included.",
                 "direction", both("bytes")),
        CounterMetricFamily("relay_server_pings", "Pings that were answered.",
                            value=float(sum(part["pings"] for part in parts))),
        _histogram("relay_server_connection_seconds", "How long a connection was open.", parts, "seconds",
                   TUNNEL_BUCKETS),
    ]))  # fmt: skip


def registry_of(families: Iterable[Metric]) -> CollectorRegistry:
    """A registry that holds them, for an encoder."""

    class Once(Collector):
        def collect(self) -> Iterable[Metric]:
            return families

    registry = CollectorRegistry(auto_describe=False)
    registry.register(Once())
    return registry


def _families(parts: list[Snapshot], workers_silent: int) -> list[Family]:
    def total(key: str) -> float:
        return float(sum(part[key] for part in parts))

    carried = {"up": total("bytes_up"), "down": total("bytes_down")}
    return [
        _gauge("relay_tunnels_open", "Tunnels that are open or being opened.", total("tunnels_open")),
        _gauge("relay_connections_open", "Client connections, tunnels included.", total("connections_open")),
        _gauge("relay_workers_silent", "Workers whose numbers are missing here.", workers_silent),
        _requests(parts),
        _counter("relay_bytes", "Bytes carried, those of open tunnels included.", "direction", carried),
        _counter("relay_logins", "Logins, by how they were judged.", "outcome", _added(parts, "logins")),
        _counter("relay_reloads", "Times the profile was read again.", "outcome", _added(parts, "reloads")),
        _counter(
            "relay_connections_cut", "Clients without a whole head in time.", "reason", _added(parts, "cut")
        ),
        CounterMetricFamily(
            "relay_connections_turned_away", "Connections ended before asking.", value=total("turned_away")
        ),
        _histogram("relay_dial_seconds", "Name lookup and connect.", parts, "dials", DIAL_BUCKETS),
        _histogram("relay_tunnel_seconds", "How long a tunnel was open.", parts, "tunnels", TUNNEL_BUCKETS),
    ]


def _gauge(name: str, words: str, value: float) -> Family:
    return GaugeMetricFamily(name, words, value=value)


def _counter(name: str, words: str, label: str, counts: Mapping[str, float]) -> Family:
    family = CounterMetricFamily(name, words, labels=[label])
    for key in sorted(counts):
        family.add_metric([key], counts[key])
    return family


def _requests(parts: list[Snapshot]) -> Family:
    counts: Counter[tuple[str, str, str]] = Counter()
    for method, status, how, count in (row for part in parts for row in part["requests"]):
        counts[method, str(status), how] += count
    family = CounterMetricFamily(
        "relay_requests", "Tunnels and requests that have ended.", labels=["method", "status", "outcome"]
    )
    for row in sorted(counts):
        family.add_metric(list(row), counts[row])
    return family


def _histogram(name: str, words: str, parts: list[Snapshot], key: str, bounds: tuple[float, ...]) -> Family:
    columns = zip(*(part[key]["counts"] for part in parts), strict=True)
    running, buckets = 0, []
    for bound, column in zip((*map(str, bounds), "+Inf"), columns, strict=True):
        running += sum(column)
        buckets.append((bound, running))
    total = sum(part[key]["total"] for part in parts)
    return HistogramMetricFamily(name, words, buckets=buckets, sum_value=total)


def _added(parts: list[Snapshot], key: str) -> Counter[str]:
    counts: Counter[str] = Counter()
    for part in parts:
        counts.update(part[key])
    return counts
