"""The metrics as Prometheus reads them, of several workers."""

from prometheus_client.parser import text_string_to_metric_families

from relay.exposition import exposition
from relay.metrics import Metrics, Snapshot


def snapshot(metrics: Metrics) -> Snapshot:
    return {**metrics.snapshot(), "tunnels_open": 2, "connections_open": 3}


def samples(*snapshots: Snapshot, silent: int = 0) -> dict[tuple[str, ...], float]:
    text = exposition(snapshots, silent).decode()
    return {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_workers_are_added_up() -> None:
    """Counters, gauges, and histograms bucket by bucket."""
    one, two = Metrics(), Metrics()
    one.ended("CONNECT", 200, "client-closed", 10, 20)
    two.ended("CONNECT", 200, "client-closed", 1, 2)
    two.ended("GET", 403, "http_request_denied", 0, 0)
    one.dials.see(0.001)
    two.dials.see(0.002)
    two.dials.see(99.0)
    two.logins["failed"] += 4
    found = samples(snapshot(one), snapshot(two), silent=1)
    assert 4 == found["relay_tunnels_open",]
    assert 6 == found["relay_connections_open",]
    assert 1 == found["relay_workers_silent",]
    assert 2 == found["relay_requests_total", "200", "CONNECT", "client-closed"]
    assert 1 == found["relay_requests_total", "403", "GET", "http_request_denied"]
    assert (11, 22) == (found["relay_bytes_total", "up"], found["relay_bytes_total", "down"])
    assert 4 == found["relay_logins_total", "failed"]
    buckets = [found["relay_dial_seconds_bucket", bound] for bound in ("0.001", "0.0025", "30.0", "+Inf")]
    assert [1, 2, 2, 3] == buckets
    assert (3, 99.003) == (found["relay_dial_seconds_count",], round(found["relay_dial_seconds_sum",], 3))


def test_a_proxy_that_has_just_begun() -> None:
    """Everything is there, and zero."""
    found = samples(snapshot(Metrics()))
    assert {0, 2, 3} == set(found.values())
