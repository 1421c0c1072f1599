"""Survey: run checks along a route, each chosen by what the answers so far leave open."""

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime

import relay.checks  # noqa: F401 - enters every check into CHECKS
from protocol.sealing import Key
from relay.catalogue import causes
from relay.check import CHECKS, Check, Extras, Patience, Trip, ask, untested
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

HEALTHY = ("sizes", "half-close", "early-bytes", "binary-clean", "same-server", "many-at-once", "repeat")
"""What is tried on a path that works."""

TAKES_TIME = ("idle", "idle-limit", "age", "load")
"""What takes as long as its user has said, whatever the limit for the rest: one after the other."""

AT_A_TIME = 4
"""Questions put together, so that several waits cost one; more would look like a flood."""

Tell = Callable[[Finding], None]


async def survey(
    route: Route,
    key: Key,
    *,
    timeout_seconds: float = 10.0,
    extras: Extras | None = None,
    settings: Finding | None = None,
    qualities: bool = True,
    on_finding: Tell | None = None,
) -> Findings:
    """Put questions to a route until it is clear what stops it, or nothing more can be learnt from here.

    Args: timeout_seconds: for all of it, what takes time on request apart. extras: what is asked beyond
          the rest. settings: what the settings said of this route. qualities: try those of a path that works.
          on_finding: told each answer as it comes.
    """
    trip = Trip(route, key, Patience.within(timeout_seconds), extras=extras or Extras())
    run = _Run(trip, on_finding, settings)
    # When the time is up, what was found until then is judged
    try:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_seconds):
                await run.walk(qualities)
                await run.narrow()
            await run.take_time()
    finally:
        trip.close()
    return run.findings()


class _Run:
    """The questions of one survey, and their answers in the order in which they came."""

    def __init__(self, trip: Trip, on_finding: Tell | None, settings: Finding | None) -> None:
        self._trip = trip
        self._tell = on_finding
        self._found: list[Finding] = []
        self._tried: set[str] = set()
        self._began_utc = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        self._began = time.monotonic()
        kind = "proxy" if trip.route.hops else "direct"
        self._take(Finding("route", kind, str(trip.route), {"hops": len(trip.route.hops)}))
        if settings is not None:
            self._take(settings)

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
                break
        else:
            if qualities:
                await self.put(self._askable(HEALTHY))
        if self._trip.has_lost:
            # Some connections are taken and some not: by which rule?
            await self.put(self._askable(["source-ports"]))
        asked_for = [one.question for one in CHECKS.values() if one.on_request]
        await self.put(self._askable(one for one in asked_for if one not in TAKES_TIME))

    async def take_time(self) -> None:
        """What was asked for and takes long, one after the other."""
        for question in TAKES_TIME:
            await self.put(self._askable([question]))

    async def narrow(self) -> None:
        """Ask what tells the causes apart that are still possible, until nothing does."""
        while True:
            own = self._askable(one.question for one in CHECKS.values() if not one.on_request)
            wanted = next_questions(self._found, causes(), [one.question for one in own])
            if not wanted:
                break
            await self.put([CHECKS[question] for question in wanted[:AT_A_TIME]])
        if self._trip.answers.get("ping") in ("closed", "reset", "silent"):
            # Nothing says more than the far end itself, asked by another way
            for question in ("direct", "server-record"):
                await self.put(self._askable([question]))

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
            for key, value in answer.evidence.items():
                if isinstance(value, bool | int | str):
                    word = ("yes" if value else "no") if isinstance(value, bool) else str(value)
                    self._trip.answers[f"{answer.question}.{key}"] = word
        if self._tell is not None:
            self._tell(answer)

    def _askable(self, questions: Iterable[str]) -> list[Check]:
        return [CHECKS[question] for question in questions if self._may(question)]

    def _may(self, question: str) -> bool:
        return question not in self._tried and CHECKS[question].is_askable(self._trip)
