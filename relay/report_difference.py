"""What has changed between two reports of one path. Pure."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from relay.diagnosis import Diagnosis, Verdict
from relay.finding import Findings
from relay.report import Told

VERSION: Final = 1
SLOWER: Final = 2.0
"""So many times longer is worth a word; less is how networks are."""

NOTEWORTHY_SECONDS: Final = 0.05
"""A difference below it is no matter, however many times longer."""

_RANK: Final = {Verdict.GOOD: 0, Verdict.UNTESTED: 1, Verdict.BROKEN: 2}


@dataclass(frozen=True)
class StepDifference:
    """One question that was answered differently, or at another speed. "" and None: not asked."""

    question: str
    before: str
    after: str
    before_seconds: float | None
    after_seconds: float | None

    @property
    def is_other_answer(self) -> bool:
        """Whether the answers differ, not the time alone."""
        return self.before != self.after


@dataclass(frozen=True)
class Difference:
    """What has changed.

    Attributes:
        appeared, vanished: ids of causes and notices. steps: questions answered differently or much slower.
    """

    before: Told
    after: Told
    appeared: tuple[str, ...]
    vanished: tuple[str, ...]
    steps: tuple[StepDifference, ...]

    @property
    def is_same_path(self) -> bool:
        """Whether both reports are of the same target and proxies."""
        one, other = self.before.found, self.after.found
        return (one.target, one.hops) == (other.target, other.hops)

    @property
    def is_worse(self) -> bool:
        """A verdict that is worse, or another fault on a path that stays broken."""
        one, other = self.before.diagnosis, self.after.diagnosis
        if one.verdict is other.verdict is Verdict.BROKEN:
            return _first(one) != _first(other)
        return _RANK[other.verdict] > _RANK[one.verdict]


def difference(before: Told, after: Told) -> Difference:
    """Compare two reports."""
    old, new = _ids(before.diagnosis), _ids(after.diagnosis)
    return Difference(
        before,
        after,
        appeared=tuple(one for one in new if one not in old),
        vanished=tuple(one for one in old if one not in new),
        steps=tuple(_steps(before.found, after.found)),
    )


def _steps(before: Findings, after: Findings) -> list[StepDifference]:
    questions = dict.fromkeys(one.question for one in (*before.findings, *after.findings))
    made = [_step(question, before, after) for question in questions]
    return [one for one in made if one.is_other_answer or is_slower(one.before_seconds, one.after_seconds)]


def _step(question: str, before: Findings, after: Findings) -> StepDifference:
    one, other = before.of(question), after.of(question)
    return StepDifference(
        question,
        one.outcome if one is not None else "",
        other.outcome if other is not None else "",
        one.seconds if one is not None else None,
        other.seconds if other is not None else None,
    )


def is_slower(before: float | None, after: float | None) -> bool:
    """Whether one of two times is so much longer than the other that it is worth a word."""
    if before is None or after is None:
        return False
    least, most = sorted((before, after))
    return most - least >= NOTEWORTHY_SECONDS and most >= SLOWER * least


def _ids(diagnosis: Diagnosis) -> Sequence[str]:
    return [cause.id for cause in (*diagnosis.causes, *diagnosis.notices)]


def _first(diagnosis: Diagnosis) -> str:
    return diagnosis.first.id if diagnosis.first is not None else ""


def round_trip_milliseconds(found: Findings) -> float | None:
    """The time of one answer on this path: of the ping, else of the connect; None when there was none."""
    times = [
        answer.evidence.get("milliseconds")
        for question in ("ping", "connect")
        if (answer := found.of(question)) is not None and answer.outcome in ("answered", "open")
    ]
    known = [float(one) for one in times[:1] if isinstance(one, int | float)]
    return statistics.median(known) if known else None


def as_dict(made: Difference) -> dict[str, Any]:
    """For JSON."""
    return {
        "version": VERSION,
        "same_path": made.is_same_path,
        "worse": made.is_worse,
        "before": _side(made.before),
        "after": _side(made.after),
        "appeared": list(made.appeared),
        "vanished": list(made.vanished),
        "steps": [
            {
                "question": one.question,
                "before": one.before or None,
                "after": one.after or None,
                "before_seconds": one.before_seconds,
                "after_seconds": one.after_seconds,
            }
            for one in made.steps
        ],
    }


def _side(told: Told) -> dict[str, Any]:
    return {
        "began": told.found.began,
        "path": told.path,
        "verdict": str(told.diagnosis.verdict),
        "headline": told.headline,
        "causes": [cause.id for cause in told.diagnosis.causes],
        "round_trip_milliseconds": round_trip_milliseconds(told.found),
    }


def text(made: Difference) -> str:
    """For people."""
    lines = []
    if not made.is_same_path:
        lines += [f"These are two paths: {made.before.path}, and {made.after.path}.", ""]
    for name, told in (("before", made.before), ("after", made.after)):
        time = round_trip_milliseconds(told.found)
        shown = "" if time is None else f" ({time:.1f} ms)"
        lines.append(f"{name:<8}{told.found.began}  {told.diagnosis.verdict!s:<9} {told.headline}{shown}")
    lines += [f"  new   {one}" for one in made.appeared]
    lines += [f"  gone  {one}" for one in made.vanished]
    if made.steps:
        lines.append("")
    for one in made.steps:
        change = f"{one.before or 'not asked'} -> {one.after or 'not asked'}"
        lines.append(
            f"  {one.question:<13} {change:<34} {_time(one.before_seconds)} -> {_time(one.after_seconds)}"
        )
    if not made.steps and not made.appeared and not made.vanished:
        lines.append("  nothing has changed")
    return "\n".join(lines) + "\n"


def _time(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds * 1000:.1f} ms"
