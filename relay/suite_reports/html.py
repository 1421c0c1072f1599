"""One self-contained HTML file of the whole matrix: nothing in it is fetched from anywhere."""

from dataclasses import dataclass

from relay.report import Told, fill
from relay.suite_outcome import Change, Outcome, Result, SuiteRun
from relay.suite_report import MARKS, suite_report


@dataclass(frozen=True)
class Square:
    """One square of the matrix: a path with all its runs. `worst` stands for them all."""

    anchor: str
    worst: Result
    results: tuple[Result, ...]
    changes: tuple[Change, ...]

    @property
    def kind(self) -> str:
        """The class of its colour."""
        if self.changes or self.worst.outcome in (Outcome.BROKEN, Outcome.OPEN, Outcome.OTHER_CAUSE):
            return "bad"
        return {Outcome.EXPECTED: "good", Outcome.UNTESTED: "unsure"}.get(self.worst.outcome, "idle")


    @property
    def sign(self) -> str:
        """What stands before the cause: colours alone are not for everybody."""
        if self.worst.outcome is Outcome.EXPECTED:
            return "✗ WORSE:" if self.changes else "✓"
        sign = "?" if self.kind in ("unsure", "idle") else "✗"
        return f"{sign} {MARKS[self.worst.outcome]}:"


@suite_report("html")
def html(run: SuiteRun) -> str:
    """The page of matrix.html.j2; everything in it is escaped by the template engine."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("relay", "suite_reports"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
    )
    squares = _squares(run)
    return environment.get_template("matrix.html.j2").render(
        run=run,
        routes=list(dict.fromkeys(one.cell.route_name for one in run.results)),
        targets=list(dict.fromkeys(one.cell.target_name for one in run.results)),
        squares={(one.worst.cell.route_name, one.worst.cell.target_name): one for one in squares},
        # What needs reading comes first
        ordered=sorted(squares, key=lambda one: ("bad", "unsure", "idle", "good").index(one.kind)),
        titles=_titles,
    )


def _squares(run: SuiteRun) -> list[Square]:
    found = []
    for number, name in enumerate(dict.fromkeys(one.cell.name for one in run.results)):
        results = tuple(one for one in run.results if one.cell.name == name)
        worst = next((one for one in results if one.outcome is not Outcome.EXPECTED), results[0])
        found.append(Square(f"path-{number}", worst, results, tuple(run.changes_of(worst.cell))))
    return found


def _titles(told: Told) -> list[tuple[str, str, str]]:
    """Id, title and hint of every cause that remains."""
    return [(cause.id, fill(cause.title, told), fill(cause.hint, told)) for cause in told.diagnosis.causes]
