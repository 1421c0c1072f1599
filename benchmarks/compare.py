"""From cells to figures: CPU per unit, and ratios pair by pair within a round."""

import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

Cell = dict[str, Any]
Metric = Callable[[Cell], float]


def cpu(cell: Cell) -> float:
    """Nanoseconds of the peer's CPU per unit of work."""
    return float(cell["cpu_ns"]) / float(cell["units"])


def wall(cell: Cell) -> float:
    """Nanoseconds on the clock per unit of work."""
    return float(cell["wall_ns"]) / float(cell["units"])


def load_cpu(cell: Cell) -> float:
    """Nanoseconds of the load generator's CPU per unit of work."""
    return float(cell["load_cpu_ns"]) / float(cell["units"])


def load_share(cell: Cell) -> float:
    """How busy the generator was, 0 to 1: near 1 it was the limit."""
    return float(cell["load_cpu_ns"]) / float(cell["wall_ns"])


def p50(cell: Cell) -> float:
    """Median latency in nanoseconds."""
    return float(cell["p50_ns"])


def p99(cell: Cell) -> float:
    """The latency that one in a hundred exceeds, in nanoseconds."""
    return float(cell["p99_ns"])


def fairness(cell: Cell) -> float:
    """The slowest bulk tunnel's bytes, as a part of the mean, when the first was done or time was up."""
    return float(cell["slowest_share"])


@dataclass(frozen=True)
class Spread:
    """A median, its quartiles, and how many values it is of."""

    median: float
    low: float
    high: float
    count: int


def spread(values: Iterable[float]) -> Spread | None:
    """Summarize; None of nothing."""
    known = sorted(values)
    if not known:
        return None
    if len(known) == 1:
        return Spread(known[0], known[0], known[0], 1)
    low, middle, high = statistics.quantiles(known, n=4, method="inclusive")
    return Spread(middle, low, high, len(known))


def good_cells(cells: Sequence[Cell], workload: str, peer: str) -> list[Cell]:
    """The cells of one line and column that did not fail."""
    return [
        cell
        for cell in cells
        if cell["workload"] == workload and cell["peer"] == peer and "error" not in cell and cell["units"] > 0
    ]


def _turn(cell: Cell) -> tuple[int, int]:
    return cell["round"], cell.get("visit", 0)


def absolute(cells: Sequence[Cell], workload: str, peer: str, metric: Metric) -> Spread | None:
    """Summarize one figure of one peer over all rounds."""
    return spread(metric(cell) for cell in good_cells(cells, workload, peer))


def ratio(cells: Sequence[Cell], workload: str, peer: str, reference: str, metric: Metric) -> Spread | None:
    """Summarize a peer's figure over the reference's of the same turn of a round.

    Only pairs are compared: what else the machine did in that round, it did to both.
    """
    others = {_turn(cell): metric(cell) for cell in good_cells(cells, workload, reference)}
    return spread(
        metric(cell) / others[_turn(cell)]
        for cell in good_cells(cells, workload, peer)
        if others.get(_turn(cell), 0) > 0
    )
