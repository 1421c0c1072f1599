"""Runs a suite: the checks of `relay check`, so many at the same time."""

import asyncio
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from relay.catalogue import causes
from relay.check import Extras
from relay.diagnosis import diagnose
from relay.report import Told
from relay.suite import Cell, Suite
from relay.suite_outcome import Outcome, Result, SuiteRun, judge
from relay.survey import survey

Tell = Callable[[Result], None]


async def run_suite(suite: Suite, *, fail_fast: bool = False, on_result: Tell | None = None) -> SuiteRun:
    """Check every path of a suite `suite.repeat` times; the results in the order of the file.

    Args: fail_fast: begin no more checks after the first that is not as expected. on_result: told of each
          check as it ends.
    """
    began_utc = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    began = time.monotonic()
    runner = _Runner(suite, fail_fast, on_result)
    results = await runner.run()
    seconds = time.monotonic() - began
    return SuiteRun(suite.name, suite.file, began_utc, seconds, tuple(results))


class _Runner:
    """The checks that are left, and those that take them up one after the other."""

    def __init__(self, suite: Suite, fail_fast: bool, on_result: Tell | None) -> None:
        # All paths once, then all of them again: a fault that comes and goes shows at different times
        self._plan = [(cell, run) for run in range(1, suite.repeat + 1) for cell in suite.cells]
        self._suite = suite
        self._fail_fast = fail_fast
        self._tell = on_result
        self._next = 0
        self._is_stopped = False

    async def run(self) -> Sequence[Result]:
        found: dict[tuple[str, int], Result] = {}
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(min(self._suite.jobs, len(self._plan))):
                    group.create_task(self._work(found))
        except BaseExceptionGroup as several:
            # Who runs a suite knows OSError of a full disk or a closed pipe, and no groups
            raise several.exceptions[0] from None
        return [
            found.get((cell.name, run)) or Result(cell, run, Outcome.NOT_RUN)
            for cell in self._suite.cells
            for run in range(1, self._suite.repeat + 1)
        ]

    async def _work(self, found: dict[tuple[str, int], Result]) -> None:
        while self._next < len(self._plan) and not self._is_stopped:
            cell, run = self._plan[self._next]
            self._next += 1
            result = found[cell.name, run] = await _check(cell, run)
            if self._tell is not None:
                self._tell(result)
            if self._fail_fast and result.outcome is not Outcome.EXPECTED:
                self._is_stopped = True


async def _check(cell: Cell, run: int) -> Result:
    extras = Extras(idle_seconds=cell.idle_seconds)
    found = await survey(cell.route, cell.key, timeout_seconds=cell.timeout_seconds, extras=extras)
    diagnosis = diagnose(found, causes())
    return Result(cell, run, judge(cell.expect, diagnosis), Told(found, diagnosis))
