"""Baseline: what a suite has measured once, kept in a file, to see later what has become worse."""

import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from relay.finding import Finding, printable
from relay.suite import OK
from relay.suite_outcome import FAILED, Measurement, Outcome, Result, SuiteRun

VERSION: Final = 2
"""1 had measured beside the other checks of a run, and the first 120 kB only."""

MAX_STEPS: Final = 64
"""Of one path: a chain of eight proxies has some twenty-five."""

MAX_NAME_CHARACTERS: Final = 400
MAX_TOLD: Final = 6
WAYS: Final = ("up", "down")


class BaselineMalformed(ValueError):
    """A file is no baseline; the message names the key and what was expected."""


@dataclass(frozen=True)
class Tolerance:
    """How much worse is not worse.

    Attributes: latency, throughput: as a share (0.5 is 50 %). floor_milliseconds: a latency must also have
    grown by so much, because the shortest of them are mostly the noise of a scheduler.
    """

    latency: float = 0.5
    throughput: float = 0.5
    floor_milliseconds: float = 10.0


@dataclass(frozen=True)
class Stretch:
    """One part of the way, and the median of what it took."""

    stage: str
    peer: str
    milliseconds: float

    @property
    def name(self) -> str:
        """For people: "proxy http://a:3128"."""
        return f"{self.stage} {self.peer}"


@dataclass(frozen=True)
class Measured:
    """What one path has shown: medians over all its runs.

    Attributes:
        cause: "ok", or the first cause named. latency_milliseconds: from the first packet of the first
            connection to the answer of the ping. bytes_per_second: for each way, of packets in turn.
    """

    cause: str
    place: str = ""
    latency_milliseconds: float | None = None
    stretches: tuple[Stretch, ...] = ()
    bytes_per_second: Mapping[str, float] | None = None

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "cause": self.cause,
            "place": self.place,
            "latency_milliseconds": self.latency_milliseconds,
            "stretches": [
                {"stage": one.stage, "peer": one.peer, "milliseconds": one.milliseconds}
                for one in self.stretches
            ],
            "bytes_per_second": dict(self.bytes_per_second or {}),
        }


def measured(results: Sequence[Result], measurement: Measurement | None) -> Measured:
    """What the runs of one path have shown together; the worst of the verdicts is kept."""
    worst = next((one for one in results if one.cause != OK), results[0])
    if measurement is None or not measurement.pings:
        return Measured(worst.cause, worst.place)
    pings = measurement.pings
    return Measured(
        worst.cause,
        worst.place,
        _median([_number(ping, "open_milliseconds") + _number(ping, "milliseconds") for ping in pings]),
        _stretches(pings, str(results[0].cell.route.target)),
        measurement.bytes_per_second,
    )


def _median(values: Sequence[float]) -> float:
    return round(statistics.median(values), 3) if values else 0.0


def _number(finding: Finding, key: str) -> float:
    value = finding.evidence.get(key)
    return float(value) if isinstance(value, int | float) else 0.0


def _stretches(pings: Sequence[Finding], target: str) -> tuple[Stretch, ...]:
    """The steps to the open connection, and the answer to the ping as the last."""
    taken: dict[tuple[str, str, int], list[float]] = {}
    for ping in pings:
        steps = ping.evidence.get("steps") or [
            {"stage": "connect", "peer": target, "milliseconds": _number(ping, "open_milliseconds")}
        ]
        answer = {"stage": "answer", "peer": target, "milliseconds": _number(ping, "milliseconds")}
        seen: dict[tuple[str, str], int] = {}
        for step in [*steps, answer]:
            name = (str(step["stage"]), str(step["peer"]))
            seen[name] = seen.get(name, 0) + 1
            taken.setdefault((*name, seen[name]), []).append(float(step["milliseconds"]))
    return tuple(Stretch(stage, peer, _median(times)) for (stage, peer, _), times in taken.items())


def by_cell(results: Sequence[Result]) -> dict[str, list[Result]]:
    """The results that were run, by the name of the path."""
    found: dict[str, list[Result]] = {}
    for one in results:
        if one.outcome is not Outcome.NOT_RUN:
            found.setdefault(one.cell.name, []).append(one)
    return found


def doubts(run: SuiteRun, file: str) -> list[str]:
    """What makes a run a bad baseline; it is kept all the same, for some paths stay broken for long."""
    found = []
    for words, outcomes in (
        ("keeps what is not as expected", FAILED),
        ("keeps what could not be tested", (Outcome.UNTESTED,)),
        ("may lack what was not run", (Outcome.NOT_RUN,)),
    ):
        names = list(dict.fromkeys(one.cell.name for one in run.results if one.outcome in outcomes))
        if names:
            found.append(f"baseline {file} {words}: {some(names)}")
    if worse := list(dict.fromkeys(one.cell.name for one in run.changes)):
        found.append(f"baseline {file} keeps what is worse than in {run.baseline}: {some(worse)}")
    return found


def some(names: Sequence[str]) -> str:
    """The first of many names, and how many more there are."""
    more = f" and {len(names) - MAX_TOLD} more" if len(names) > MAX_TOLD else ""
    return ", ".join(names[:MAX_TOLD]) + more


def baseline_text(run: SuiteRun) -> str:
    """The file of a baseline."""
    cells = {
        name: measured(results, run.measurements.get(name)).as_dict()
        for name, results in by_cell(run.results).items()
    }
    document = {"baseline_version": VERSION, "suite": run.name, "began": run.began, "paths": cells}
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def read_baseline(text: str | bytes) -> dict[str, Measured]:
    """Read what `baseline_text` wrote. Raises: BaselineMalformed."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BaselineMalformed(f"this is no JSON: {str(error)[:100]}") from None
    table = _typed(document, dict, "the file")
    version = _typed(table.get("baseline_version"), int, "baseline_version")
    if version != VERSION:
        raise BaselineMalformed(f"baseline_version: {version}; this program reads version {VERSION}")
    paths = _typed(table.get("paths"), dict, "paths")
    return {str(printable(name)): _measured(value, f"paths.{name[:80]!a}") for name, value in paths.items()}


def _measured(value: Any, where: str) -> Measured:
    table = _typed(value, dict, where)
    steps = _typed(table.get("stretches"), list, f"{where}.stretches")
    if len(steps) > MAX_STEPS:
        raise BaselineMalformed(f"{where}.stretches: {len(steps)}; expected at most {MAX_STEPS}")
    latency = table.get("latency_milliseconds")
    speeds = _typed(table.get("bytes_per_second"), dict, f"{where}.bytes_per_second")
    return Measured(
        _name(table, "cause", where),
        _name(table, "place", where),
        None if latency is None else _positive(latency, f"{where}.latency_milliseconds"),
        tuple(_stretch(step, f"{where}.stretches[{index}]") for index, step in enumerate(steps)),
        {way: _positive(speeds[way], f"{where}.bytes_per_second") for way in WAYS if way in speeds},
    )


def _stretch(value: Any, where: str) -> Stretch:
    table = _typed(value, dict, where)
    milliseconds = _positive(table.get("milliseconds"), f"{where}.milliseconds")
    return Stretch(_name(table, "stage", where), _name(table, "peer", where), milliseconds)


def _typed(value: Any, kind: type, what: str) -> Any:
    if not isinstance(value, kind) or isinstance(value, bool):
        raise BaselineMalformed(f"{what}: {type(value).__name__}; expected {kind.__name__}")
    return value


def _name(table: Mapping[str, Any], key: str, where: str) -> str:
    text = str(printable(_typed(table.get(key), str, f"{where}.{key}")))
    if len(text) > MAX_NAME_CHARACTERS:
        raise BaselineMalformed(f"{where}.{key}: over {MAX_NAME_CHARACTERS} characters")
    return text


def _positive(value: Any, what: str) -> float:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not 0 <= value < 1e15:
        raise BaselineMalformed(f"{what}: expected a number from 0")
    return float(value)
