"""Annotations of GitHub Actions: a line for each failure, shown beside the line of the suite's file.

Source: GitHub's manual, "Workflow commands": `::error file=,line=,title=::message`, and its escapes.
"""

from relay.suite_outcome import Outcome, SuiteRun
from relay.suite_report import suite_report


@suite_report("github")
def github(run: SuiteRun) -> str:
    """An error for what is not as expected, a warning for what could not be tested."""
    lines = []
    for one in run.first_of_each(Outcome.EXPECTED, Outcome.NOT_RUN):
        kind = "warning" if one.outcome is Outcome.UNTESTED else "error"
        sentence = one.told.sentence if one.told is not None else ""
        lines.append(_command(kind, run.file, one.cell.line, one.cell.name, f"{one.sentence}\n{sentence}"))
    lines += [_command("error", run.file, one.cell.line, one.cell.name, one.words) for one in run.changes]
    return "".join(lines)


def _command(kind: str, file: str, line: int, title: str, message: str) -> str:
    place = f"file={_property(file)},line={line},title={_property(title)}"
    return f"::{kind} {place}::{_data(message.strip())}\n"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
