"""For wikis, chats and issue trackers."""

import re

from relay.report import Told, cause_lines, report


@report("markdown")
def markdown(told: Told) -> str:
    """Verdict, causes, sentence, and a table of all that was asked."""
    lines = [f"## {_plain(told.headline)}", "", f"`{told.path}`, {told.found.began}", ""]
    for cause in told.diagnosis.causes:
        first, *rest = cause_lines(cause, told)
        lines += [f"- **{_plain(first)}**", *(f"  - {_plain(line)}" for line in rest)]
    if told.sentence:
        lines += ["", "> " + _plain(told.sentence)]
    lines += ["", "| question | answer | seen | seconds |", "| --- | --- | --- | --- |"]
    lines += [
        f"| {one.question} | {one.outcome} | {_plain(one.words)} | {one.seconds:.3f} |"
        for one in told.found.findings
    ]
    return "\n".join(lines) + "\n"


def _plain(text: str) -> str:
    """What a stranger said must stay text in a table."""
    return re.sub(r"([\\`*_{}\[\]<>|#])", r"\\\1", " ".join(text.split()))
