"""A report of a whole suite: the contract, and what several forms share. The forms: relay/suite_reports/."""

from collections.abc import Callable
from typing import Any, Final

from relay import __version__
from relay.report import document
from relay.suite_outcome import Outcome, Result, SuiteRun

SCHEMA_VERSION: Final = 1
"""Of the JSON report (docs/suite.schema.json)."""

Write = Callable[[SuiteRun], str]
SUITE_REPORTS: dict[str, Write] = {}
"""Every form of report by its name; filled when relay.suite_reports is imported."""

MARKS: Final = {
    Outcome.EXPECTED: "ok",
    Outcome.BROKEN: "BROKEN",
    Outcome.OPEN: "OPEN",
    Outcome.OTHER_CAUSE: "OTHER",
    Outcome.UNTESTED: "UNTESTED",
    Outcome.NOT_RUN: "not run",
}
"""How an outcome is marked in a line."""


def suite_report(name: str) -> Callable[[Write], Write]:
    """Enter a form of report into the catalogue."""

    def enter(write: Write) -> Write:
        SUITE_REPORTS[name] = write
        return write

    return enter


def result_line(result: Result) -> str:
    """One check in one line, as it is printed where there is no terminal."""
    again = f" [{result.run}]" if result.run > 1 else ""
    seconds = f" ({result.seconds:.2f} s)" if result.told is not None else ""
    return f"{MARKS[result.outcome]:<9}{result.sentence}{again}{seconds}"


def suite_document(run: SuiteRun) -> dict[str, Any]:
    """All of it for machines (docs/suite.schema.json); each `check` is a report of `relay check`."""
    return {
        "schema_version": SCHEMA_VERSION,
        "tool": f"framework-relay {__version__}",
        "suite": run.name,
        "file": run.file,
        "began": run.began,
        "seconds": round(run.seconds, 3),
        "good": run.is_good,
        "headline": run.headline,
        "baseline": run.baseline or None,
        "changes": [
            {"path": one.cell.name, "kind": one.kind, "words": one.words} for one in run.changes
        ],
        "notes": list(run.notes),
        "results": [_result(one) for one in run.results],
    }


def _result(one: Result) -> dict[str, Any]:
    return {
        "path": one.cell.name,
        "route": one.cell.route_name,
        "target": one.cell.target_name,
        "run": one.run,
        "expect": list(one.cell.expect),
        "outcome": str(one.outcome),
        "cause": one.cause,
        "place": one.place,
        "sentence": one.sentence,
        "check": document(one.told) if one.told is not None else None,
    }
