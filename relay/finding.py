"""Finding: one answer to one question about a path, with its evidence; and the record of a whole run."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

VERSION: Final = 1
"""Of the saved form. It grows when an older reader would misread a newer file, not when a key is added."""

UNTESTED: Final = "untested"
"""The outcome of a question that could not be put: it says nothing about the path."""

MAX_FINDINGS: Final = 200
"""A run asks some thirty questions; a file with more was not written by one."""

MAX_DEPTH: Final = 8
"""Lists and objects inside each other in one finding's evidence."""

MAX_TEXT_CHARACTERS: Final = 20_000


def printable(value: Any) -> Any:
    """The same JSON value with every character replaced that a terminal or XML would not take for text."""
    if isinstance(value, str):
        return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in value)
    if isinstance(value, Mapping):
        return {printable(str(key)): printable(one) for key, one in value.items()}
    return [printable(one) for one in value] if isinstance(value, list | tuple) else value


class RecordMalformed(ValueError):
    """A saved record is not one; the message names the key and what was expected."""


@dataclass(frozen=True)
class Finding:
    """What one check saw.

    Attributes:
        question: the name of the check ("connect").
        outcome: its answer, one word of the check's own list ("refused"), or "untested".
        words: the same for people, one line, with whatever the peer said.
        evidence: what was seen, JSON values only, the unit in each name.
        began_seconds: since the beginning of the run. seconds: how long it took.
    """

    question: str
    outcome: str
    words: str = ""
    evidence: Mapping[str, Any] = field(default_factory=dict)
    began_seconds: float = 0.0
    seconds: float = 0.0

    @property
    def is_answered(self) -> bool:
        """Whether it says anything about the path."""
        return self.outcome != UNTESTED

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "question": self.question,
            "outcome": self.outcome,
            "words": self.words,
            "began_seconds": round(self.began_seconds, 6),
            "seconds": round(self.seconds, 6),
            "evidence": dict(self.evidence),
        }


@dataclass(frozen=True)
class Findings:
    """All that one run has found on one path.

    Attributes:
        target: HOST:PORT. hops: the proxies before it, nearest first, without secrets.
        began: UTC, ISO 8601. seconds: the whole run. connections: how many were opened.
    """

    target: str
    hops: tuple[str, ...]
    began: str
    seconds: float
    connections: int
    findings: tuple[Finding, ...]

    def of(self, question: str) -> Finding | None:
        """The last answer to `question` that says something."""
        answered = [one for one in self.findings if one.question == question and one.is_answered]
        return answered[-1] if answered else None

    def as_dict(self) -> dict[str, Any]:
        """For JSON; `read_findings` reads it again."""
        return {
            "version": VERSION,
            "target": self.target,
            "hops": list(self.hops),
            "began": self.began,
            "seconds": round(self.seconds, 3),
            "connections": self.connections,
            "findings": [finding.as_dict() for finding in self.findings],
        }


def read_findings(document: Any) -> Findings:
    """Read what `Findings.as_dict` wrote, perhaps on another machine.

    Raises: RecordMalformed that names the key.
    """
    table = _typed(document, dict, "the record")
    version = _typed(table.get("version"), int, "version")
    if version != VERSION:
        raise RecordMalformed(f"version: {version}; this program reads version {VERSION}")
    listed = _typed(table.get("findings"), list, "findings")
    if len(listed) > MAX_FINDINGS:
        raise RecordMalformed(f"findings: {len(listed)} of them; expected at most {MAX_FINDINGS}")
    return Findings(
        target=_text(table, "target"),
        hops=tuple(printable(_typed(hop, str, "hops")) for hop in _typed(table.get("hops"), list, "hops")),
        began=_text(table, "began"),
        seconds=_number(table, "seconds"),
        connections=_typed(table.get("connections"), int, "connections"),
        findings=tuple(_finding(one, f"findings[{index}]") for index, one in enumerate(listed)),
    )


def _finding(value: Any, where: str) -> Finding:
    table = _typed(value, dict, where)
    evidence = _typed(table.get("evidence"), dict, f"{where}.evidence")
    if _is_too_deep(evidence, MAX_DEPTH):
        raise RecordMalformed(f"{where}.evidence: nested deeper than {MAX_DEPTH}")
    return Finding(
        _text(table, "question", where),
        _text(table, "outcome", where),
        _text(table, "words", where),
        printable(evidence),
        _number(table, "began_seconds", where),
        _number(table, "seconds", where),
    )


def _typed(value: Any, kind: type, what: str) -> Any:
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise RecordMalformed(f"{what}: {type(value).__name__}; expected {kind.__name__}")
    return value


def _text(table: Mapping[str, Any], key: str, where: str = "") -> str:
    name = f"{where}.{key}" if where else key
    text: str = _typed(table.get(key), str, name)
    if len(text) > MAX_TEXT_CHARACTERS:
        raise RecordMalformed(f"{name}: {len(text)} characters; expected at most {MAX_TEXT_CHARACTERS}")
    cleaned: str = printable(text)
    return cleaned


def _number(table: Mapping[str, Any], key: str, where: str = "") -> float:
    value = table.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise RecordMalformed(f"{f'{where}.' if where else ''}{key}: expected a number of seconds")
    return float(value)


def _is_too_deep(value: Any, levels: int) -> bool:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return levels <= 0 or any(_is_too_deep(one, levels - 1) for one in inner)
