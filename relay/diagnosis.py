"""What findings mean. Pure: it sees evidence and the catalogue, and nothing of the network.

A cause is *excluded* by the first answer that contradicts it, and nothing brings it back. It is *in play*
once its symptom was seen, and *named* once all that it must show was seen.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import combinations
from typing import Any, Final

from relay.cause import STAGES, Cause, Severity
from relay.finding import Finding, Findings

VERSION: Final = 1
Facts = Mapping[str, frozenset[str]]
PASSING: Final[Mapping[str, tuple[str, ...]]] = {
    "resolve": ("literal", "found"),
    "connect": ("open",),
    "tunnel": ("opened",),
    "ping": ("answered",),
}
"""The steps of the way, and the answers with which it goes on; only the last one proves a path."""

DISJOINT, UNCONFIRMED, HALF = 1.0, 0.5, 0.25
"""What a question is worth: it tells two causes apart for sure; it would confirm one; it may exclude one."""


class Verdict(StrEnum):
    """GOOD: packets pass. BROKEN: they do not, or not as they should. UNTESTED: nothing can be said."""

    GOOD = "good"
    BROKEN = "broken"
    UNTESTED = "untested"


@dataclass(frozen=True)
class Excluded:
    """A cause that it is not, and the observation that says so."""

    cause: Cause
    question: str
    seen: str
    expected: tuple[str, ...]

    @property
    def because(self) -> str:
        """One line for people."""
        wanted = " or ".join(self.expected) if self.expected else "something else"
        return f"{self.question} was {self.seen}; it would be {wanted}"


@dataclass(frozen=True)
class Diagnosis:
    """The judgement.

    Attributes:
        causes: faults that remain, the likeliest first; more than one: they look the same from here.
        notices: what is worth knowing on a path that works.
        consequences: faults that an earlier one explains.
        excluded: what it is not, and why.
        unexplained: what went wrong, where no cause of the catalogue remains.
    """

    verdict: Verdict
    causes: tuple[Cause, ...] = ()
    notices: tuple[Cause, ...] = ()
    consequences: tuple[Cause, ...] = ()
    excluded: tuple[Excluded, ...] = ()
    unexplained: Finding | None = None

    @property
    def first(self) -> Cause | None:
        """The cause named first."""
        return self.causes[0] if self.causes else None


def facts_of(findings: Iterable[Finding]) -> dict[str, frozenset[str]]:
    """Every answer as words: "connect" -> {"refused"}, "connect.sender" -> {"between"}."""
    facts: dict[str, set[str]] = {}
    for finding in findings:
        if not finding.is_answered:
            continue
        facts.setdefault(finding.question, set()).add(finding.outcome)
        for name, value in finding.evidence.items():
            if isinstance(value, bool):
                facts.setdefault(f"{finding.question}.{name}", set()).add("yes" if value else "no")
            elif isinstance(value, str | int):
                facts.setdefault(f"{finding.question}.{name}", set()).add(str(value))
    return {question: frozenset(seen) for question, seen in facts.items()}


def exclusion(cause: Cause, facts: Facts) -> Excluded | None:
    """The first answer that says that it is not this cause, None when all agree with it."""
    for table in (cause.shows, cause.predicts):
        for question, allowed in table.items():
            wrong = facts.get(question, frozenset()) - allowed
            if wrong:
                return Excluded(cause, question, min(wrong), tuple(sorted(allowed)))
    for question, impossible in cause.contradicted_by.items():
        wrong = facts.get(question, frozenset()) & impossible
        if wrong:
            return Excluded(cause, question, min(wrong), ())
    return None


def is_in_play(cause: Cause, facts: Facts) -> bool:
    """Whether its symptom was seen and nothing excludes it."""
    return cause.symptom in facts and exclusion(cause, facts) is None


def is_named(cause: Cause, facts: Facts) -> bool:
    """Whether all that it must show was seen, and nothing excludes it."""
    return bool(cause.shows) and all(key in facts for key in cause.shows) and exclusion(cause, facts) is None


def fit(cause: Cause, facts: Facts) -> float:
    """How exactly the answers match: a cause that leaves few answers open says more."""
    agreed = {key for table in (cause.shows, cause.predicts) for key in table if key in facts}
    return sum(1.0 / len(cause.allowed(key) or "?") for key in agreed) + cause.common / 1.9


def next_questions(findings: Sequence[Finding], causes: Sequence[Cause], askable: Iterable[str]) -> list[str]:
    """The questions of `askable` that tell apart causes still in play, the most telling first."""
    facts = facts_of(findings)
    rivals = _rivals(
        [one for one in causes if one.severity is Severity.FAULT and is_in_play(one, facts)], facts
    )
    worth = {question: _worth(question, rivals, facts) for question in askable}
    return sorted((one for one in worth if worth[one] > 0), key=lambda one: -worth[one])


def _worth(question: str, rivals: Sequence[Cause], facts: Facts) -> float:
    keys = {
        key for cause in rivals for key in (*cause.shows, *cause.predicts) if key.split(".")[0] == question
    }
    worth = 0.0
    for key in keys:
        allowed = {cause.id: cause.allowed(key) for cause in rivals}
        worth += sum(UNCONFIRMED for cause in rivals if key in cause.shows and key not in facts)
        for one, other in combinations(allowed.values(), 2):
            if one is None or other is None:
                worth += HALF if (one or other) is not None else 0.0
            elif not one & other:
                worth += DISJOINT
            elif one != other:
                worth += HALF
    return worth + _worth_against(question, rivals)


def _worth_against(question: str, rivals: Sequence[Cause]) -> float:
    """What a question is worth because an answer to it would contradict one of several."""
    if len(rivals) < 2:
        return 0.0
    return sum(
        HALF for cause in rivals for key in cause.contradicted_by if key.split(".")[0] == question
    )


def _rivals(in_play: Sequence[Cause], facts: Facts) -> list[Cause]:
    """All that are in play, but what an earlier cause that is named already would explain."""
    first = _earliest([cause for cause in in_play if is_named(cause, facts)])
    if not first:
        return list(in_play)
    return [cause for cause in in_play if STAGES.index(cause.stage) <= STAGES.index(first[0].stage)]


def _earliest(causes: Sequence[Cause]) -> list[Cause]:
    """Those of the earliest stage: what comes later on the way is hidden by them."""
    if not causes:
        return []
    first = min(STAGES.index(cause.stage) for cause in causes)
    return [cause for cause in causes if STAGES.index(cause.stage) == first]


def diagnose(found: Findings, causes: Sequence[Cause]) -> Diagnosis:
    """Judge saved or fresh findings by the catalogue."""
    facts = facts_of(found.findings)
    excluded = tuple(out for cause in causes if (out := exclusion(cause, facts)) is not None)
    named = sorted((one for one in causes if is_named(one, facts)), key=lambda one: -fit(one, facts))
    faults = [cause for cause in named if cause.severity is Severity.FAULT]
    first = _earliest(faults)
    later = [cause for cause in faults if cause not in first]
    verdict, unexplained = _verdict(found, bool(faults))
    return Diagnosis(
        verdict=verdict,
        causes=tuple(first),
        notices=tuple(cause for cause in named if cause.severity is Severity.NOTICE),
        consequences=tuple(later),
        excluded=excluded,
        unexplained=unexplained,
    )


def _verdict(found: Findings, has_fault: bool) -> tuple[Verdict, Finding | None]:
    if has_fault:
        return Verdict.BROKEN, None
    answers = {question: found.of(question) for question in PASSING}
    for question, passing in PASSING.items():
        answer = answers[question]
        if answer is not None and answer.outcome not in passing and question != "resolve":
            return Verdict.BROKEN, answer
    if answers["ping"] is not None:
        return Verdict.GOOD, None
    resolved = answers["resolve"]
    if resolved is not None and resolved.outcome not in PASSING["resolve"] and answers["connect"] is None:
        return Verdict.BROKEN, resolved
    return Verdict.UNTESTED, None


def as_dict(diagnosis: Diagnosis) -> dict[str, Any]:
    """For JSON."""
    return {
        "version": VERSION,
        "verdict": str(diagnosis.verdict),
        "causes": [_cause(cause) for cause in diagnosis.causes],
        "notices": [_cause(cause) for cause in diagnosis.notices],
        "consequences": [cause.id for cause in diagnosis.consequences],
        "excluded": [{"id": out.cause.id, "because": out.because} for out in diagnosis.excluded],
        "unexplained": diagnosis.unexplained.question if diagnosis.unexplained else None,
    }


def _cause(cause: Cause) -> dict[str, Any]:
    return {
        "id": cause.id,
        "title": cause.title,
        "stage": cause.stage,
        "mender": cause.mender,
        "hint": cause.hint,
        "distinguishable": str(cause.distinguishable),
        "alike": list(cause.alike),
        "teller": cause.teller,
    }
