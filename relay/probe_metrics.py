"""The metrics of one probe, by blackbox_exporter's conventions. Pure: findings and their diagnosis go in.

No label has a value that a peer or a person has chosen: they are words of closed lists of ours.
"""

from collections.abc import Iterable
from typing import Final

from prometheus_client.core import GaugeMetricFamily, Metric, StateSetMetricFamily

from relay.catalogue import MENDERS, causes
from relay.cause import Severity
from relay.diagnosis import Diagnosis, Verdict
from relay.finding import Finding, Findings

PHASES: Final = ("resolve", "connect", "tunnel", "ping")
"""The steps of the way. `tunnel` is all of it up to the open tunnel, `ping` one packet and its answer."""

NO_CAUSE, UNKNOWN_CAUSE = "none", "unknown"


def probe_families(found: Findings, diagnosis: Diagnosis, timeout_seconds: float) -> list[Metric]:
    """Everything that is told of one probe."""
    is_good = diagnosis.verdict is Verdict.GOOD
    return [
        GaugeMetricFamily("probe_success", "1 if packets get through as they should.", value=float(is_good)),
        GaugeMetricFamily("probe_duration_seconds", "How long the probe took.", value=found.seconds),
        GaugeMetricFamily("probe_timeout_seconds", "How long it might have taken.", value=timeout_seconds),
        _phases(found),
        GaugeMetricFamily(
            "probe_connections", "TCP connections that the probe opened.", value=float(found.connections)
        ),
        _states("probe_verdict", "What the path is.", Verdict, [diagnosis.verdict]),
        _states("probe_cause", "What breaks it (docs/causes.md); several look the same from here.",
                [NO_CAUSE, UNKNOWN_CAUSE, *_ids(Severity.FAULT)], _named(diagnosis)),
        _states("probe_mender", "Who can mend it.", MENDERS, {one.mender for one in diagnosis.causes}),
        _states("probe_notice", "What is worth knowing about a path that works.", _ids(Severity.NOTICE),
                [one.id for one in diagnosis.notices]),
    ]  # fmt: skip


def _ids(severity: Severity) -> list[str]:
    return [cause.id for cause in causes() if cause.severity is severity]


def _named(diagnosis: Diagnosis) -> list[str]:
    if diagnosis.causes:
        return [cause.id for cause in diagnosis.causes]
    return [NO_CAUSE if diagnosis.verdict is Verdict.GOOD else UNKNOWN_CAUSE]


def _states(name: str, words: str, known: Iterable[str], now: Iterable[str]) -> Metric:
    is_now = set(now)
    return StateSetMetricFamily(name, words, value={str(state): state in is_now for state in known})


def _phases(found: Findings) -> Metric:
    family = GaugeMetricFamily(
        "probe_phase_duration_seconds", "How long each step took; 0 where it was not reached.",
        labels=["phase"],
    )  # fmt: skip
    for phase in PHASES:
        family.add_metric([phase], _seconds(found.of(phase)))
    return family


def _seconds(finding: Finding | None) -> float:
    if finding is None:
        return 0.0
    milliseconds = finding.evidence.get("milliseconds")
    return milliseconds / 1000 if isinstance(milliseconds, int | float) else finding.seconds
