"""What came of a suite: each check of each path, judged by what was expected. Pure, as the diagnosis is."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from relay.diagnosis import Diagnosis, Verdict
from relay.finding import Finding
from relay.report import Told
from relay.suite import OK, Cell


class Outcome(StrEnum):
    """How a check compares with what was expected."""

    EXPECTED = "expected"
    BROKEN = "broken"
    OPEN = "unexpected-success"
    OTHER_CAUSE = "other-cause"
    UNTESTED = "untested"
    NOT_RUN = "not-run"


FAILED = (Outcome.BROKEN, Outcome.OPEN, Outcome.OTHER_CAUSE)


def judge(expect: Sequence[str], diagnosis: Diagnosis) -> Outcome:
    """Compare a verdict with what was expected of the path.

    Where several causes cannot be told apart from here, it is enough that an expected one is among them.
    """
    if diagnosis.verdict is Verdict.UNTESTED:
        return Outcome.UNTESTED
    is_good = diagnosis.verdict is Verdict.GOOD
    if OK in expect:
        return Outcome.EXPECTED if is_good else Outcome.BROKEN
    if is_good:
        return Outcome.OPEN
    is_named = any(cause.id in expect for cause in diagnosis.causes)
    return Outcome.EXPECTED if is_named else Outcome.OTHER_CAUSE


@dataclass(frozen=True)
class Result:
    """One check of one path.

    Attributes: run: from 1 to how often each path is checked. told: None when it was not run.
    """

    cell: Cell
    run: int
    outcome: Outcome
    told: Told | None = None

    @property
    def seconds(self) -> float:
        """How long the check took."""
        return self.told.found.seconds if self.told is not None else 0.0

    @property
    def cause(self) -> str:
        """What is wrong with the path, by its id: "ok" where it works, "unknown" where no cause fits."""
        if self.told is None:
            return "not-run"
        diagnosis = self.told.diagnosis
        if diagnosis.verdict is Verdict.UNTESTED:
            return "untested"
        first = diagnosis.first
        return OK if diagnosis.verdict is Verdict.GOOD else first.id if first is not None else "unknown"

    @property
    def expected(self) -> str:
        """For people."""
        return " or ".join(self.cell.expect)

    @property
    def place(self) -> str:
        """Which hop it is about: "http://a:3128 (proxy 1 of 2)"; "" where nothing is broken."""
        return place_of(self.told) if self.told is not None else ""

    @property
    def sentence(self) -> str:
        """The outcome in one line."""
        if self.told is None:
            return f"{self.cell.name} was not checked: the run had ended"
        if self.outcome is Outcome.EXPECTED:
            return f"{self.cell.name}: {self.cause}, as expected"
        if self.outcome is Outcome.OPEN:
            return f"{self.cell.name} works; it must not: expected {self.expected}"
        where = f" at {self.place}" if self.place else ""
        return f"{self.cell.name}: {self.cause}{where}; expected {self.expected}: {self.told.headline}"


def place_of(told: Told) -> str:
    """Which part of a broken path it is about, for people; "" when it is not broken."""
    hops, target, first = told.found.hops, told.found.target, told.diagnosis.first
    if told.diagnosis.verdict is not Verdict.BROKEN:
        return ""
    stage = first.stage if first is not None else "connect"
    if stage == "local":
        return "this machine"
    is_proxys = stage in ("login", "proxy", "tunnel") or (first is not None and first.mender == "proxy")
    if hops and (is_proxys or stage in ("resolve", "connect", "tls")):
        suspects = told.suspects if is_proxys else (0,)
        which = f"proxy {suspects[0] + 1} of {len(hops)}" if len(hops) > 1 else "the proxy"
        which = "one of these proxies" if len(suspects) > 1 else which
        return f"{', '.join(hops[index] for index in suspects)} ({which})"
    return f"{target} (the target)"


@dataclass(frozen=True)
class Change:
    """What is worse than in the baseline. `kind`: verdict, latency or throughput."""

    cell: Cell
    kind: str
    words: str


@dataclass(frozen=True)
class Measurement:
    """What one path that works takes while nothing else runs.

    Attributes: pings: the answers to `ping` of several surveys. bytes_per_second: by way, "up" and "down".
    """

    pings: tuple[Finding, ...]
    bytes_per_second: Mapping[str, float]


@dataclass(frozen=True)
class SuiteRun:
    """All that came of a suite: what every report of it is made from.

    Attributes:
        began: UTC, ISO 8601. seconds: from the first check to the last.
        changes: what is worse than in the baseline. notes: what else there is to say about the baseline.
        baseline: the name of its file, "" when there was none.
        measurements: by the name of the path; only for a baseline, and only of paths that work.
    """

    name: str
    file: str
    began: str
    seconds: float
    results: tuple[Result, ...]
    changes: tuple[Change, ...] = ()
    notes: tuple[str, ...] = ()
    baseline: str = ""
    measurements: Mapping[str, Measurement] = field(default_factory=dict)

    @property
    def failed(self) -> tuple[Result, ...]:
        """For each path the first result that is not as expected."""
        return self.first_of_each(Outcome.EXPECTED, Outcome.UNTESTED, Outcome.NOT_RUN)

    def first_of_each(self, *but: Outcome) -> tuple[Result, ...]:
        """For each path the first result whose outcome is none of `but`: to be told once, not each run."""
        found: dict[str, Result] = {}
        for one in self.results:
            if one.outcome not in but:
                found.setdefault(one.cell.name, one)
        return tuple(found.values())

    def count(self, *outcomes: Outcome) -> int:
        """How many results came out so."""
        return sum(one.outcome in outcomes for one in self.results)

    @property
    def is_good(self) -> bool:
        """All as expected, nothing worse than in the baseline, all checked."""
        return not self.changes and self.count(Outcome.EXPECTED) == len(self.results)

    @property
    def headline(self) -> str:
        """The whole in one line."""
        good = self.count(Outcome.EXPECTED)
        words = [f"{good} of {len(self.results)} as expected"]
        for outcomes, said in (
            (FAILED, "not as expected"),
            ((Outcome.UNTESTED,), "could not be tested"),
            ((Outcome.NOT_RUN,), "not run"),
        ):
            if number := self.count(*outcomes):
                words.append(f"{number} {said}")
        if self.changes:
            words.append(f"{len(self.changes)} worse than the baseline")
        return ", ".join(words)

    def changes_of(self, cell: Cell) -> list[Change]:
        """What is worse on one path."""
        return [change for change in self.changes if change.cell.name == cell.name]
