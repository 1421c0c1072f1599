"""Runs a suite: the checks of `relay check`, so many at the same time."""

import asyncio
import contextlib
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Final

from relay.baseline import WAYS
from relay.catalogue import causes
from relay.check import Extras
from relay.checks.sizes import SIZES, pass_one
from relay.diagnosis import diagnose
from relay.failure import RelayError
from relay.packet_stream import PacketStream
from relay.report import Told
from relay.suite import OK, Cell, Suite
from relay.suite_outcome import Measurement, Outcome, Result, SuiteRun, judge
from relay.survey import survey
from relay.tunnel import open_tunnel

Tell = Callable[[Result], None]


LEAST_PINGS: Final = 5
"""Of one measurement: a median of fewer is mostly the noise of a scheduler."""

RATE_SECONDS: Final = 0.5
RATE_PACKET_BYTES: Final = max(SIZES)
"""`sizes` has found that it passes."""


async def run_suite(
    suite: Suite, *, fail_fast: bool = False, on_result: Tell | None = None, measure: bool = False
) -> SuiteRun:
    """Check every path of a suite `suite.repeat` times; the results in the order of the file.

    Args: fail_fast: begin no more checks after the first that is not as expected. on_result: told of each
          check as it ends. measure: then measure each path that works, one after the other.
    """
    began_utc = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    began = time.monotonic()
    runner = _Runner(suite, fail_fast, on_result)
    results = tuple(await runner.run())
    measurements = await _measure_all(results, max(LEAST_PINGS, suite.repeat)) if measure else {}
    seconds = time.monotonic() - began
    return SuiteRun(suite.name, suite.file, began_utc, seconds, results, measurements=measurements)


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


async def _measure_all(results: Sequence[Result], pings: int) -> dict[str, Measurement]:
    """Each path that has always worked, alone: several at a time would wait for each other."""
    cells = {one.cell.name: one.cell for one in results}
    broken = {one.cell.name for one in results if one.cause != OK}
    return {name: await _measure(cell, pings) for name, cell in cells.items() if name not in broken}


async def _measure(cell: Cell, pings: int) -> Measurement:
    answered = []
    for _ in range(pings):
        found = await survey(cell.route, cell.key, timeout_seconds=cell.timeout_seconds, qualities=False)
        ping = found.of("ping")
        if ping is not None and ping.outcome == "answered":
            answered.append(ping)
    return Measurement(tuple(answered), {way: await _rate(cell, way) for way in WAYS})


async def _rate(cell: Cell, way: str) -> float:
    """Bytes per second, one large packet after the other; what ends or stalls early has been slow."""
    passed, began = 0, time.monotonic()
    with contextlib.suppress(RelayError, OSError, TimeoutError):
        stream = await open_tunnel(cell.route, timeout_seconds=cell.timeout_seconds)
        began = time.monotonic()
        async with contextlib.aclosing(stream), asyncio.timeout(cell.timeout_seconds):
            packets = PacketStream(stream, cell.key, str(cell.route.target))
            while time.monotonic() - began < RATE_SECONDS:
                if not await pass_one(packets, RATE_PACKET_BYTES, up=way == "up"):
                    break
                passed += RATE_PACKET_BYTES
    return round(passed / max(time.monotonic() - began, 1e-6))
