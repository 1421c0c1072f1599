"""Trial: one scenario played, `relay check` run in it, and its verdict compared with the one expected."""

import json
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from relay.check import MAX_CONNECTIONS
from relay.lab.room import FOLDER, CannotPlay, Room, StagingFailed
from relay.lab.scenario import Scenario
from relay.lab.staging import stage

CHECK_SECONDS: Final = 60.0
"""One `relay check`, where many run at once; its own limit is 10 s unless an option says more."""

ALLOWED_SECONDS: Final = {"healthy": 1.0, "at-once": 3.0, "silent": 10.0, "asked": 60.0}
"""What one check may take with default settings, on a machine that has nothing else to do."""


class Outcome(StrEnum):
    """How a trial ended."""

    RIGHT = "right"
    WRONG = "wrong"
    IMPOSSIBLE = "impossible here"
    FAILED = "failed"


@dataclass(frozen=True)
class Trial:
    """What came of one scenario.

    Attributes:
        named: causes in the order in which they were named. why: what was expected, where it is WRONG.
        seconds: of each run, as `relay check` itself measured them.
        tries: how often it was played: more than once where the machine was too busy the first time.
        reports: what `relay check --json` printed, once for each run.
    """

    scenario: Scenario
    outcome: Outcome
    named: tuple[str, ...] = ()
    why: str = ""
    seconds: tuple[float, ...] = ()
    reports: tuple[Mapping[str, Any], ...] = field(default=(), repr=False)
    tries: int = 1

    @property
    def is_slow(self) -> bool:
        """Whether it took longer than such a path may take."""
        return any(one > ALLOWED_SECONDS[self.scenario.speed] for one in self.seconds)

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "id": self.scenario.id, "kind": self.scenario.kind, "broken": self.scenario.broken,
            "expect": self.scenario.expect, "outcome": str(self.outcome), "named": list(self.named),
            "tries": self.tries, "why": self.why, "seconds": list(self.seconds),
            "reports": list(self.reports),
        }  # fmt: skip


def play(scenario: Scenario, runs: int) -> dict[str, Any]:
    """Stage it in this room and run `relay check` in it; for `judge`, as JSON values."""
    room = Room()
    try:
        stage(scenario, room)
        return {"reports": [_check(scenario, room, number) for number in range(runs)]}
    except CannotPlay as error:
        return {"impossible": str(error)}
    except (StagingFailed, subprocess.TimeoutExpired) as error:
        return {"failed": str(error)}


def _check(scenario: Scenario, room: Room, number: int) -> dict[str, Any]:
    folder = FOLDER / f"check-{number}"
    folder.mkdir()
    began = time.monotonic()
    checking = room.start_ours("client", ["check", "--json", *scenario.arguments()], folder)
    status = checking.wait(CHECK_SECONDS)
    took = time.monotonic() - began
    said = (folder / "errors").read_text("utf-8", "replace")
    try:
        report: dict[str, Any] = json.loads((folder / "output").read_text("utf-8"))
    except ValueError:
        raise StagingFailed(f"relay check printed no report: {said.strip()[:500]}") from None
    return {**report, "status": status, "stderr": said, "command_seconds": round(took, 3)}


def judge(scenario: Scenario, played: Mapping[str, Any]) -> Trial:
    """Compare what was played with what is expected."""
    if "impossible" in played:
        return Trial(scenario, Outcome.IMPOSSIBLE, why=str(played["impossible"]))
    if "failed" in played:
        return Trial(scenario, Outcome.FAILED, why=str(played["failed"]))
    reports = played["reports"]
    wrong = [why for report in reports if (why := misses(scenario, report))]
    shown = next((report for report in reports if misses(scenario, report)), reports[0])
    return Trial(
        scenario,
        Outcome.WRONG if wrong else Outcome.RIGHT,
        named=tuple(cause["id"] for cause in shown["diagnosis"]["causes"]),
        why=wrong[0] if wrong else "",
        seconds=tuple(report["record"]["seconds"] for report in reports),
        reports=tuple(reports),
    )


def misses(scenario: Scenario, report: Mapping[str, Any]) -> str:
    """What is wrong with a report, "" when nothing is."""
    diagnosis, record = report["diagnosis"], report["record"]
    named = [cause["id"] for cause in diagnosis["causes"]]
    notices = {cause["id"] for cause in diagnosis["notices"]}
    status = 0 if scenario.is_healthy else 1
    # A warning is for people, and no mistake: of a password without TLS
    if said := [line for line in report["stderr"].splitlines() if not line.startswith("warning: ")]:
        return f"stderr: {' '.join(said)[:300]}"
    if status != report["status"]:
        return f"exit {report['status']}, expected {status}"
    if not scenario.is_healthy and not _is_named(scenario, named):
        return f"expected {scenario.expect}"
    if unnamed := set(scenario.also) - set(named):
        return f"expected {', '.join(sorted(unnamed))} as well"
    if surplus := set(scenario.never) & set(named):
        return f"it cannot be {', '.join(sorted(surplus))}"
    if scenario.note and scenario.note not in notices:
        return f"expected the note {scenario.note}"
    if scenario.is_healthy and (surprising := notices - {scenario.note, *scenario.notes}):
        return f"unexpected note {', '.join(sorted(surprising))}"
    told = " ".join(str(diagnosis[key]) for key in ("headline", "sentence", "causes"))
    if unsaid := [text for text in scenario.says if text not in told]:
        return f"it does not say {unsaid[0]!r}"
    if record["connections"] > MAX_CONNECTIONS:
        return f"{record['connections']} connections, at most {MAX_CONNECTIONS} may be"
    return ""


def _is_named(scenario: Scenario, named: list[str]) -> bool:
    return scenario.expect in named and named[0] in (scenario.expect, *scenario.alike, *scenario.also)
