"""For people and logs: one line for each check, and what to do about those that are not as expected."""

from relay.report import cause_lines
from relay.suite_outcome import Result, SuiteRun
from relay.suite_report import result_line, suite_report


@suite_report("text")
def text(run: SuiteRun) -> str:
    """Every check, then the failures with who mends them, then the headline."""
    lines = [result_line(one) for one in run.results]
    return "\n".join([*lines, *summary_lines(run)]) + "\n"


def summary_lines(run: SuiteRun) -> list[str]:
    """What comes behind the lines of the checks."""
    lines = [line for one in run.failed for line in _failure_lines(one)]
    lines += [f"WORSE    {one.cell.name}: {one.words}" for one in run.changes]
    lines += [f"note     {note}" for note in run.notes]
    ending = "as expected" if run.is_good else "NOT as expected"
    return [*lines, f"{run.name}: {ending}: {run.headline} ({run.seconds:.1f} s)"]


def _failure_lines(result: Result) -> list[str]:
    told = result.told
    assert told is not None
    lines = ["", f"{result.cell.name} ({told.path})"]
    lines += [f"  {line}" for cause in told.diagnosis.causes[:1] for line in cause_lines(cause, told)]
    if told.sentence:
        lines.append(f"  send: {told.sentence}")
    return lines if len(lines) > 2 else [*lines, f"  {told.headline}"]
