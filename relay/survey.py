"""Survey: run checks along a route, each chosen by what the answers so far leave open."""

import asyncio
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

import relay.checks  # noqa: F401 - enters every check into CHECKS
from protocol.sealing import Key
from relay.catalogue import causes
from relay.check import CHECKS, Check, Patience, Trip, ask, untested
from relay.diagnosis import next_questions
from relay.finding import Finding, Findings
from relay.route import Route

SPINE = {
    "resolve": ("literal", "found", "sinkhole"),
    "connect": ("open",),
    "tunnel": ("opened",),
    "ping": ("answered",),
}
"""The way itself, step by step, and the answers with which it goes on."""

HEALTHY = ("sizes", "half-close", "early-bytes", "binary-clean")
"""What is tried on a path that works."""

AT_A_TIME = 4
"""Questions put together, so that several waits cost one; more would look like a flood."""

Tell = Callable[[Finding], None]


async def survey(
    route: Route,
    key: Key,
    *,
    timeout_seconds: float = 10.0,
    idle_seconds: float = 0.0,
    qualities: bool = True,
    on_finding: Tell | None = None,
) -> Findings:
    """Put questions to a route until it is clear what stops it, or nothing more can be learnt from here.

    Args: timeout_seconds: for all of it, the rest for an idle connection apart.
          idle_seconds: also leave a connection alone for so long. qualities: try those of a path that works.
          on_finding: told each answer as it comes.
    """
    trip = Trip(route, key, Patience.within(timeout_seconds), idle_seconds=idle_seconds)
    run = _Run(trip, on_finding)
    try:
        async with asyncio.timeout(timeout_seconds):
            await run.walk(qualities)
            await run.narrow()
        if idle_seconds and trip.answers.get("ping") == "answered":
            await run.put([CHECKS["idle"]])
    except TimeoutError:
        pass  # what was found until now is judged
    return run.findings()


class _Run:
    """The questions of one survey, and their answers in the order in which they came."""

    def __init__(self, trip: Trip, on_finding: Tell | None) -> None:
        self._trip = trip
        self._tell = on_finding
        self._found: list[Finding] = []
        self._tried: set[str] = set()
        self._began_utc = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        self._began = time.monotonic()
        kind = "proxy" if trip.route.hops else "direct"
        self._take(Finding("route", kind, str(trip.route), {"hops": len(trip.route.hops)}))

    def findings(self) -> Findings:
        route = self._trip.route
        seconds = time.monotonic() - self._began
        hops = tuple(str(hop) for hop in route.hops)
        answered = tuple(self._found)
        return Findings(str(route.target), hops, self._began_utc, seconds, self._trip.connections, answered)

    async def walk(self, qualities: bool) -> None:
        """Go along the way until a step fails; then try the qualities of a path that works."""
        for question, good in SPINE.items():
            if not self._may(question):
                continue
            await self.put([CHECKS[question]])
            if self._trip.answers.get(question) not in good:
                return
        if qualities:
            await self.put([CHECKS[question] for question in HEALTHY if self._may(question)])

    async def narrow(self) -> None:
        """Ask what tells the causes apart that are still possible, until nothing does."""
        while True:
            askable = [
                one.question for one in CHECKS.values() if not one.on_request and self._may(one.question)
            ]
            wanted = next_questions(self._found, causes(), askable)
            if not wanted:
                return
            await self.put([CHECKS[question] for question in wanted[:AT_A_TIME]])

    async def put(self, checks: Sequence[Check]) -> None:
        """Put questions side by side, and keep each answer as it comes."""
        self._tried |= {check.question for check in checks}
        asked = [asyncio.create_task(self._ask(check)) for check in checks]
        try:
            await asyncio.gather(*asked)
        finally:
            for task in asked:
                task.cancel()
            await asyncio.gather(*asked, return_exceptions=True)

    async def _ask(self, check: Check) -> None:
        try:
            answer = await ask(check, self._trip, self._began)
        except Exception as error:  # noqa: BLE001 - one check that fails must not take the verdict with it
            answer = untested(check.question, f"the check itself failed: {type(error).__name__}: {error}")
        self._take(answer)

    def _take(self, answer: Finding) -> None:
        self._found.append(answer)
        if answer.is_answered:
            self._trip.answers[answer.question] = answer.outcome
        if self._tell is not None:
            self._tell(answer)

    def _may(self, question: str) -> bool:
        return question not in self._tried and CHECKS[question].is_askable(self._trip)
