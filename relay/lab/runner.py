"""Play many scenarios side by side: each in a process and a room of its own, with a limit on its time."""

import multiprocessing
import signal
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from multiprocessing import forkserver
from multiprocessing.connection import Connection, wait
from typing import Any, Final

from relay.lab.forked import MODULES
from relay.lab.kernel import die_with_parent
from relay.lab.room import CannotPlay, in_a_room
from relay.lab.scenario import Scenario
from relay.lab.trial import Outcome, Trial, judge, play

MAX_JOBS: Final = 64
TRIAL_SECONDS: Final = 120.0
"""One scenario with all its runs, on a busy machine; healthy ones get `RUN_SECONDS` more for each run."""
RUN_SECONDS: Final = 20.0
MAX_SECOND_TRIES: Final = 8


@dataclass
class _Running:
    """A scenario in its process."""

    scenario: Scenario
    process: Any
    told: Connection
    deadline: float


def play_all(scenarios: Iterable[Scenario], jobs: int, healthy_runs: int) -> Iterator[Trial]:
    """Give each trial as it ends. Closing the iterator ends what still runs, and its rooms."""
    runs_of: Callable[[Scenario], int] = lambda one: healthy_runs if one.is_healthy else 1  # noqa: E731
    waiting, running = list(scenarios)[::-1], list[_Running]()
    # A server that has no threads, and has all that a scenario needs imported, forks each process
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(MODULES))
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        # It and its children inherit this: ^C is for us alone, who end them then
        forkserver.ensure_running()
    finally:
        signal.signal(signal.SIGINT, before)
    try:
        while waiting or running:
            while waiting and len(running) < min(jobs, MAX_JOBS):
                running.append(_begin(context, waiting.pop(), runs_of))
            limit = max(0.0, min(one.deadline for one in running) - time.monotonic())
            ready = wait([one.told for one in running], timeout=limit)
            for one in [one for one in running if one.told in ready or one.deadline <= time.monotonic()]:
                running.remove(one)
                yield _end(one)
    finally:
        for one in running:
            _end(one)


def _begin(context: Any, scenario: Scenario, runs_of: Callable[[Scenario], int]) -> _Running:
    ours, theirs = context.Pipe(duplex=False)
    runs = runs_of(scenario)
    process = context.Process(target=_work, args=(scenario, runs, theirs), daemon=True)
    process.start()
    theirs.close()
    return _Running(scenario, process, ours, time.monotonic() + TRIAL_SECONDS + RUN_SECONDS * runs)


def _work(scenario: Scenario, runs: int, told: Connection) -> None:
    """In the forked process: make the room and send what was played in it."""
    die_with_parent()

    def inside() -> int:
        try:
            told.send(play(scenario, runs))
        except Exception:  # noqa: BLE001 - the process ends here: a defect is told, not lost
            told.send({"failed": traceback.format_exc()})
        return 0

    try:
        in_a_room(inside)
    except CannotPlay as error:
        told.send({"impossible": str(error)})


def _end(one: _Running) -> Trial:
    """Read what a process has told; end it if it has not ended."""
    try:
        played = one.told.recv() if one.told.poll() else {"failed": "it did not end in time"}
    except EOFError:
        played = {"failed": "its process died"}
    finally:
        one.told.close()
        # The kernel takes the room with it
        one.process.kill()
        one.process.join()
    return judge(one.scenario, played)


def play_again(wrong: Iterable[Trial], healthy_runs: int) -> Iterator[Trial]:
    """Play what went wrong once more, with nothing beside it: a machine may have stood still."""
    for one in wrong:
        for trial in play_all([one.scenario], 1, healthy_runs):
            yield replace(trial, tries=one.tries + 1)


@dataclass
class Tally:
    """What came of all trials so far."""

    trials: list[Trial] = field(default_factory=list)

    def doubtful(self) -> list[Trial]:
        """Those to be played again; none when they are so many that it is not the machine's fault."""
        found = [*self.of(Outcome.WRONG), *self.of(Outcome.FAILED)]
        return found if len(found) <= MAX_SECOND_TRIES else []

    def replace(self, trial: Trial) -> None:
        """Take what came of a second try."""
        self.trials = [one for one in self.trials if one.scenario != trial.scenario] + [trial]

    def of(self, outcome: Outcome) -> list[Trial]:
        """Those that ended so."""
        return [one for one in self.trials if one.outcome is outcome]

    def confusion(self) -> dict[tuple[str, str], int]:
        """(expected, named first) -> how many; "" is no cause at all."""
        counts: dict[tuple[str, str], int] = {}
        for one in (*self.of(Outcome.RIGHT), *self.of(Outcome.WRONG)):
            # An expected cause that stands in the named set is as good as named first
            first = one.scenario.expect if one.outcome is Outcome.RIGHT else next(iter(one.named), "")
            counts[one.scenario.expect, first] = counts.get((one.scenario.expect, first), 0) + 1
        return counts


def chosen(scenarios: Sequence[Scenario], names: Sequence[str], kinds: Sequence[str]) -> list[Scenario]:
    """Those named, or all of some kinds, or all."""
    return [one for one in scenarios if (not names or one.id in names) and (not kinds or one.kind in kinds)]
