"""For wikis, chats and issue trackers."""

import re

from relay.report import Told, cause_lines, report


@report("markdown")
def markdown(told: Told) -> str:
    """Verdict, causes, sentence, and a table of all that was asked."""
    lines = [f"## {plain(told.headline)}", "", f"`{told.path}`, {told.found.began}", ""]
    for cause in told.diagnosis.causes:
        first, *rest = cause_lines(cause, told)
        lines += [f"- **{plain(first)}**", *(f"  - {plain(line)}" for line in rest)]
    if told.sentence:
        lines += ["", "> " + plain(told.sentence)]
    lines += ["", "| question | answer | seen | seconds |", "| --- | --- | --- | --- |"]
    lines += [
        f"| {one.question} | {one.outcome} | {plain(one.words)} | {one.seconds:.3f} |"
        for one in told.found.findings
    ]
    return "\n".join(lines) + "\n"


def plain(text: str) -> str:
    """What a stranger said must stay text in a table."""
    return re.sub(r"([\\`*_{}\[\]<>|#])", r"\\\1", " ".join(text.split()))
