"""For wikis, merge requests, and the step summary of GitHub."""

from relay.reports.markdown import plain
from relay.suite_outcome import Outcome, Result, SuiteRun
from relay.suite_report import suite_report

_SIGNS = {Outcome.EXPECTED: "✅", Outcome.UNTESTED: "❔", Outcome.NOT_RUN: "⏭"}


@suite_report("markdown")
def markdown(run: SuiteRun) -> str:
    """The headline, the matrix, and what is not as expected."""
    lines = [f"## {plain(run.name)}: {plain(run.headline)}", "", f"{run.began}, {run.seconds:.1f} s", ""]
    targets = list(dict.fromkeys(one.cell.target_name for one in run.results))
    lines += [_row("route", [plain(name) for name in targets]), "| --- |" + " --- |" * len(targets)]
    for route in dict.fromkeys(one.cell.route_name for one in run.results):
        on_route = [one for one in run.results if one.cell.route_name == route]
        row = [_cell(run, [one for one in on_route if one.cell.target_name == target]) for target in targets]
        lines.append(_row(route, row))
    bad = run.first_of_each(Outcome.EXPECTED, Outcome.NOT_RUN)
    lines += ["", *(f"- {plain(one.sentence)}{_send(one)}" for one in bad)]
    lines += [f"- **{plain(one.cell.name)}** is worse: {plain(one.words)}" for one in run.changes]
    lines += [f"- {plain(note)}" for note in run.notes]
    return "\n".join(lines).rstrip() + "\n"


def _row(head: str, cells: list[str]) -> str:
    return f"| {plain(head)} | {' | '.join(cells)} |"


def _cell(run: SuiteRun, results: list[Result]) -> str:
    """The runs of one path; the worst stands for all, and what a baseline says for what is as expected."""
    if not results:
        return ""
    worst = next((one for one in results if one.outcome is not Outcome.EXPECTED), results[0])
    if worst.outcome is Outcome.EXPECTED and run.changes_of(worst.cell):
        return f"❌ {plain(worst.cause)}, worse"
    return f"{_SIGNS.get(worst.outcome, '❌')} {plain(worst.cause)}"


def _send(result: Result) -> str:
    sentence = result.told.sentence if result.told is not None else ""
    return f"\n  > {plain(sentence)}" if sentence else ""
