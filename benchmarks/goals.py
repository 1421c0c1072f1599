"""What the figures must be, and what they aim at; each is checked against the cells of one run."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.compare import Cell, Metric, Spread, cpu, p50, p99, ratio, wall
from benchmarks.idle import MANY


@dataclass(frozen=True)
class Goal:
    """A ratio to a reference, pair by pair, that must be at most so much."""

    workload: str
    metric: Metric
    what: str
    must: float
    aim: float
    reference: str = "squid"
    peer: str = "relay"


@dataclass(frozen=True)
class Checked:
    """A goal with what was measured; `spread` is None when there was nothing to compare."""

    title: str
    spread: Spread | None
    must: float
    aim: float
    unit: str = ""

    @property
    def verdict(self) -> str:
        """ok, aim (reached too), or MISS."""
        if self.spread is None:
            return "-"
        if self.spread.median <= self.aim:
            return "aim"
        return "ok" if self.spread.median <= self.must else "MISS"


PINGS_MUST, PINGS_AIM = 1 / 1.3, 1 / 1.7
"""Pings per CPU-second are to be 1.3 and 1.7 times the reference's: CPU per ping is the inverse."""

GOALS = (
    Goal("bulk_down_1", cpu, "CPU", 0.45, 0.33),
    Goal("bulk_up_1", cpu, "CPU", 0.45, 0.33),
    Goal("bulk_down_64", cpu, "CPU", 0.35, 0.27),
    Goal("bulk_up_64", cpu, "CPU", 0.35, 0.27),
    Goal("bulk_down_64", cpu, "CPU", 0.35, 0.27, "haproxy"),
    Goal("bulk_up_64", cpu, "CPU", 0.35, 0.27, "haproxy"),
    Goal("round_trip_1", cpu, "CPU", 1.05, 0.85),
    Goal("round_trip_1", wall, "wall clock", 1.05, 0.85),
    Goal("round_trip_64", cpu, "CPU", 1.05, 0.85),
    Goal("round_trip_64", wall, "wall clock", 1.05, 0.85),
    Goal("mixed", p50, "p50", 1.0, 0.3),
    Goal("mixed", p99, "p99", 2.0, 1.0),
    Goal("set_up", cpu, "CPU", 0.90, 0.70),
    Goal("set_up", cpu, "CPU", 0.90, 0.70, "tinyproxy"),
    Goal("set_up_1", cpu, "CPU", 0.90, 0.70),
    Goal("ping_1", cpu, "CPU", PINGS_MUST, PINGS_AIM, "streams_asyncio", "server"),
    Goal("ping_64", cpu, "CPU", PINGS_MUST, PINGS_AIM, "streams_asyncio", "server"),
    Goal("set_up", cpu, "CPU, access control, log, metrics on against off", 1.25, 1.10, "relay", "relay_log"),
)

IDLE_MEGABYTES_MUST, IDLE_MEGABYTES_AIM = 20.0, 5.0
IDLE_PERCENT_MUST, IDLE_PERCENT_AIM = 1.0, 0.0
MEASURABLE_PERCENT = 0.005
"""Below this an idle process counts as using no CPU: a tick of the kernel that met it is not its work."""


def check(goal: Goal, cells: Sequence[Cell], titles: dict[str, str], labels: dict[str, str]) -> Checked:
    """Compare one goal with the cells."""
    if {goal.peer, goal.reference} - labels.keys() or goal.workload not in titles:
        return Checked("", None, goal.must, goal.aim)
    title = f"{titles[goal.workload]}: {goal.what}, {labels[goal.peer]} / {labels[goal.reference]}"
    measured = ratio(cells, goal.workload, goal.peer, goal.reference, goal.metric)
    return Checked(title, measured, goal.must, goal.aim)


def check_idle(records: Sequence[dict[str, Any]], labels: dict[str, str]) -> list[Checked]:
    """Compare our idle tunnels, scaled to ten thousand where fewer were possible, with what they may cost."""
    ours = [one for one in records if one["peer"] in ("relay", "relay_asyncio") and "error" not in one]
    checked = []
    for key in ("relay", "relay_asyncio"):
        own = [one for one in ours if one["peer"] == key]
        if not own:
            continue
        most = max(own, key=lambda one: one["tunnels"])
        scale, label = MANY / most["tunnels"], labels[key]
        megabytes = most["memory_bytes"] * scale / 1e6
        percent = most["idle_cpu_ns"] * scale / most["idle_seconds"] / 1e7
        if percent < MEASURABLE_PERCENT:
            percent = 0.0
        name = f"{MANY} idle tunnels (measured with {most['tunnels']})"
        memory_goal, cpu_goal = (
            (IDLE_MEGABYTES_MUST, IDLE_MEGABYTES_AIM),
            (IDLE_PERCENT_MUST, IDLE_PERCENT_AIM),
        )
        checked.append(Checked(f"{name}: RSS added, {label}", _exactly(megabytes), *memory_goal, "MB"))
        checked.append(Checked(f"{name}: CPU, {label}", _exactly(percent), *cpu_goal, "%"))
    return checked


def _exactly(value: float) -> Spread:
    return Spread(value, value, value, 1)


def check_all(
    cells: Sequence[Cell], idle: Sequence[dict[str, Any]], titles: dict[str, str], labels: dict[str, str]
) -> list[Checked]:
    """Every goal for which the run has figures, the idle tunnels last."""
    found = [check(goal, cells, titles, labels) for goal in GOALS]
    return [one for one in found if one.spread is not None] + check_idle(idle, labels)
