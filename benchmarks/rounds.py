"""Interleaved rounds: every peer does every workload once a round, in an order that is shuffled each time."""

import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.field import Instance
from benchmarks.load import Load, LoadFailed
from benchmarks.workloads import Workload

Cell = dict[str, Any]
MAX_FAILURES = 2
"""A peer that failed a workload so often is not asked again."""

SLOW_EVERY = 4
"""Slow peers take part in every fourth round."""


@dataclass(frozen=True)
class Plan:
    """How much is measured.

    Args:
        scale: part of each workload's amount.
        seed: of the shuffled orders.
        verify: whether the sinks compare every byte (slower; the bulk figures are then not comparable).
    """

    rounds: int
    workloads: tuple[Workload, ...]
    scale: float = 1.0
    seed: int = 1
    verify: bool = False


def measure(instance: Instance, workload: Workload, load: Load, plan: Plan) -> Cell:
    """Do one workload once, and return what it took. The tunnels stand before the clocks are read.

    Raises: LoadFailed
    """
    options = workload.options_for(scale=plan.scale, is_slow=instance.peer.is_slow)
    try:
        load.ask(workload.command, **instance.way(), **options, verify=int(plan.verify))
        load_before, before = load.cpu_nanoseconds(), instance.usage()
        result = load.ask("go")
        after, load_after = instance.usage(), load.cpu_nanoseconds()
    finally:
        # Waits until the proxy has closed its far ends, so that nothing of it reaches into the next cell
        load.ask("end")
    return {
        "units": workload.units(result, options),
        "cpu_ns": after.since(before),
        "load_cpu_ns": load_after - load_before,
        **result,
    }


def takes_part(instance: Instance, workload: Workload) -> bool:
    """Whether a peer does a workload."""
    named = instance.peer.workloads
    return workload.key in named if named else workload.reference == "squid"


@dataclass
class Rounds:
    """The rounds of one run.

    Args:
        messages: a file of sealed pings.
        tell: is told of progress and failures, a line at a time.
        deadline: on the monotonic clock; a round that would not be done by then is not begun.
    """

    instances: Sequence[Instance]
    load: Load
    plan: Plan
    messages: Path
    tell: Callable[[str], None] = lambda line: None
    deadline: float = float("inf")

    def run(self) -> list[Cell]:
        """Return one cell for each round, workload and peer; a failure is a cell with `error`."""
        self._chance = random.Random(self.plan.seed)
        self._failures: dict[tuple[str, str], int] = {}
        workloads = [with_messages(workload, self.messages) for workload in self.plan.workloads]
        cells: list[Cell] = []
        # Those with the slow peers take longer
        longest = {True: 0.0, False: 0.0}
        for number in range(self.plan.rounds):
            began = time.monotonic()
            has_slow = number % SLOW_EVERY == 0
            if began + longest[has_slow] > self.deadline:
                self.tell(f"time is up: only {number} of {self.plan.rounds} rounds, the machine is too busy")
                break
            for workload in workloads:
                cells += self._turn(number, workload)
            seconds = time.monotonic() - began
            longest[has_slow] = max(longest[has_slow], seconds)
            self.tell(f"round {number + 1} of {self.plan.rounds}: {seconds:.0f} s")
        return cells

    def _turn(self, number: int, workload: Workload) -> Iterator[Cell]:
        order = [one for one in self.instances if takes_part(one, workload)]
        for visit in range(workload.visits):
            self._chance.shuffle(order)
            for instance in order:
                place = (instance.peer.key, workload.key)
                is_its_round = not instance.peer.is_slow or (number % SLOW_EVERY == 0 and visit == 0)
                if is_its_round and self._failures.get(place, 0) < MAX_FAILURES:
                    yield self._cell(number, instance, workload) | {"visit": visit}

    def _cell(self, number: int, instance: Instance, workload: Workload) -> Cell:
        cell: Cell = {"round": number, "workload": workload.key, "peer": instance.peer.key}
        try:
            return cell | measure(instance, workload, self.load, self.plan)
        except LoadFailed as error:
            place = (instance.peer.key, workload.key)
            self._failures[place] = self._failures.get(place, 0) + 1
            self.tell(f"{instance.peer.label}: {workload.title}: {error}")
            return cell | {"error": str(error)}


def with_messages(workload: Workload, messages: Path) -> Workload:
    """Fill in the file of sealed pings, where a workload needs it."""
    options = {
        name: str(messages) if value == "{messages}" else value for name, value in workload.options.items()
    }
    return replace(workload, options=options)
