"""For a person at a terminal, with rich: the path drawn, the broken place marked, what to do."""

import io
import os
import sys

from rich.console import Console
from rich.text import Text

from relay.catalogue import MENDERS
from relay.diagnosis import Verdict
from relay.report import Told, fill, report

WIDTH = 100


@report("text")
def text(told: Told) -> str:
    """Plain text, as in a pipe."""
    return _plain(told, explain=False)


def _plain(told: Told, explain: bool) -> str:
    buffer = io.StringIO()
    draw(told, Console(file=buffer, width=WIDTH, color_system=None, highlight=False), explain)
    # rich leaves the blank at which it has broken a line
    return "".join(f"{line.rstrip()}\n" for line in buffer.getvalue().splitlines())


def show(told: Told, explain: bool = False) -> None:
    """Draw it on stdout; colours only at a terminal, and not when NO_COLOR is set."""
    console = Console(file=sys.stdout, highlight=False, no_color=bool(os.environ.get("NO_COLOR")))
    if console.is_terminal:
        draw(told, console, explain)
    else:
        print(_plain(told, explain), end="", flush=True)


def draw(told: Told, console: Console, explain: bool = False) -> None:
    """Draw it on any console."""
    good = told.diagnosis.verdict is Verdict.GOOD
    console.print(_path(told))
    console.print()
    mark, style = ("OK   ", "bold green") if good else ("BROKEN  ", "bold red")
    if told.diagnosis.verdict is Verdict.UNTESTED:
        mark, style = "UNKNOWN  ", "bold yellow"
    console.print(Text(mark, style).append(told.headline, "bold"))
    _causes(told, console)
    console.print()
    for one in told.found.findings:
        sign = "-" if not one.is_answered else " "
        line = (
            Text(f" {sign} {one.question:<13} ", "dim")
            .append(f"{one.outcome:<20} ")
            .append(_one_line(one.words), "dim")
        )
        console.print(line)
    if explain:
        _explain(told, console)
    seconds, count = told.found.seconds, told.found.connections
    opened = f"{count} connection{'' if count == 1 else 's'}"
    console.print(Text(f"\n{opened}, {seconds:.2f} s, {told.found.began}", "dim"))


def _causes(told: Told, console: Console) -> None:
    causes = told.diagnosis.causes
    if causes:
        first = causes[0]
        console.print(Text("  cause   ", "dim").append(first.id))
        console.print(Text("  who     ", "dim").append(MENDERS[first.mender]))
        console.print(Text("  do      ", "dim").append(fill(first.hint, told)))
        console.print(Text("  send    ", "dim").append(told.sentence))
    if len(causes) > 1:
        console.print(Text("\n  From here these look the same, or nearly so:", "yellow"))
        for cause in causes[1:]:
            console.print(Text(f"    {cause.id:<28} ").append(fill(cause.title, told), "dim"))
        tellers = dict.fromkeys(cause.teller for cause in causes if cause.teller)
        for teller in list(tellers)[:3]:
            console.print(Text(f"    who can tell: {teller}", "dim"))
    for cause in told.diagnosis.notices:
        console.print(Text("  note    ", "dim").append(f"{fill(cause.title, told)} ({cause.id})"))


def _explain(told: Told, console: Console) -> None:
    console.print(Text(f"\n{len(told.diagnosis.excluded)} causes excluded:", "bold"))
    for out in told.diagnosis.excluded:
        console.print(Text(f"  {out.cause.id:<30} ").append(out.because, "dim"))
    for cause in told.diagnosis.consequences:
        console.print(Text(f"  {cause.id:<30} ").append("a consequence of an earlier fault", "dim"))


def _path(told: Told) -> Text:
    at = told.broken_at
    line = Text("this machine", "bold red" if at in ("client", "dns") else "bold")
    parts = [(hop, "proxy") for hop in told.found.hops] + [(told.found.target, "server")]
    is_before = True
    for index, (name, kind) in enumerate(parts):
        broken_link = is_before and at == "way" and index == _link(told)
        line.append(" --X-- " if broken_link else " ----- ", "bold red" if broken_link else "")
        is_broken = at == kind and (kind == "server" or index in told.suspects)
        line.append(f"[{name}]", "bold red" if is_broken else "bold")
        if is_broken:
            line.append(" <- here" if len(told.suspects) < 2 or kind == "server" else " <- here?", "bold red")
        is_before = is_before and not broken_link
    if at in ("client", "dns"):
        line.append("   <- here, on the left" if at == "client" else "   <- name lookup", "bold red")
    return line


def _link(told: Told) -> int:
    """Which link of the path is broken, counted from this machine."""
    cause = told.diagnosis.first
    return (
        0 if cause is None or cause.stage in ("local", "resolve", "connect", "tls") else len(told.found.hops)
    )


def _one_line(words: str) -> str:
    return " ".join(words.split())[:300]
