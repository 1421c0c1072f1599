"""What `relay suite` shows while it runs: a bar on a terminal, a line for each check elsewhere."""

import os
import sys
from types import TracebackType
from typing import Self

from relay.suite import Suite
from relay.suite_outcome import Outcome, Result
from relay.suite_report import MARKS, result_line

_STYLES = {Outcome.EXPECTED: "green", Outcome.UNTESTED: "yellow", Outcome.NOT_RUN: "dim"}


class Progress:
    """Tells each result as it comes; nothing at all when stdout is for a report."""

    def __init__(self, suite: Suite, is_quiet: bool) -> None:
        self._is_quiet = is_quiet
        self._total = len(suite.cells) * suite.repeat
        self._bar = None
        if not is_quiet and sys.stdout is not None and sys.stdout.isatty():
            from rich.console import Console
            from rich.progress import Progress as Bar

            console = Console(highlight=False, no_color=bool(os.environ.get("NO_COLOR")))
            self._bar = Bar(console=console, transient=True)
            self._task = self._bar.add_task(suite.name, total=self._total)

    def __enter__(self) -> Self:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def take(self, result: Result) -> None:
        """Show one result."""
        line = result_line(result)
        if self._bar is not None:
            from rich.text import Text

            mark = MARKS[result.outcome]
            style = _STYLES.get(result.outcome, "bold red")
            self._bar.console.print(Text.assemble((mark, style), line[len(mark) :]))
            self._bar.advance(self._task)
        elif not self._is_quiet:
            print(line, flush=True)
