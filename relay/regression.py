"""Regression: what of a run is worse than in a baseline, beyond a tolerance, and at which hop. Pure."""

from collections.abc import Collection, Mapping
from dataclasses import replace

from relay.baseline import Measured, Stretch, Tolerance, by_cell, measured
from relay.suite import OK, Cell
from relay.suite_outcome import Change, Outcome, SuiteRun


def compared(
    run: SuiteRun, before: Mapping[str, Measured], name: str, tolerance: Tolerance, known: Collection[str]
) -> SuiteRun:
    """The same run with what is worse than `before`.

    Args: name: of the baseline's file, for the reports. known: every path of the suite, also those left out.
    """
    changes: list[Change] = []
    notes: list[str] = []
    now_by_cell = by_cell(run.results)
    for cell_name, results in now_by_cell.items():
        then = before.get(cell_name)
        if then is None or any(one.outcome is Outcome.UNTESTED for one in results):
            continue
        now = measured(results, run.measurements.get(cell_name))
        is_expected = all(one.outcome is Outcome.EXPECTED for one in results)
        if is_expected and now.cause != then.cause:
            notes.append(f"{cell_name}: was {then.cause}, is {now.cause}, as expected")
        else:
            changes += _worse(results[0].cell, then, now, tolerance)
    notes += [f"{one}: is not in the baseline" for one in now_by_cell if one not in before]
    notes += [f"{one}: is in the baseline only" for one in before if one not in known]
    return replace(run, changes=tuple(changes), notes=(*run.notes, *notes), baseline=name)


def _worse(cell: Cell, then: Measured, now: Measured, tolerance: Tolerance) -> list[Change]:
    if then.cause != now.cause:
        where = now.place or then.place
        words = f"was {then.cause}, is {now.cause}" + (f": changed at {where}" if where else "")
        return [Change(cell, "verdict", words)]
    if then.cause != OK:
        return []
    return [*_slower(cell, then, now, tolerance), *_thinner(cell, then, now, tolerance)]


def _slower(cell: Cell, then: Measured, now: Measured, tolerance: Tolerance) -> list[Change]:
    old, new = then.latency_milliseconds, now.latency_milliseconds
    if old is None or new is None:
        return []
    if new <= old * (1 + tolerance.latency) or new - old <= tolerance.floor_milliseconds:
        return []
    words = f"latency was {old:.1f} ms, is {new:.1f} ms (+{_percent(new, old)})"
    return [Change(cell, "latency", f"{words}; tolerated {_limit(tolerance)}; {_grown(then, now)}")]


def _thinner(cell: Cell, then: Measured, now: Measured, tolerance: Tolerance) -> list[Change]:
    found = []
    for way, old in (then.bytes_per_second or {}).items():
        new = (now.bytes_per_second or {}).get(way, 0.0)
        if new < old * (1 - tolerance.throughput):
            words = f"throughput {way} was {old / 1e6:.2f} MB/s, is {new / 1e6:.2f} MB/s"
            words += f" (-{_percent(old, new, of=old)}); tolerated {tolerance.throughput * 100:.0f} %"
            found.append(Change(cell, "throughput", f"{words}; {_grown(then, now)}"))
    return found


def _percent(more: float, less: float, of: float | None = None) -> str:
    base = less if of is None else of
    return f"{(more - less) / base * 100:.0f} %" if base else "from nothing"


def _limit(tolerance: Tolerance) -> str:
    return f"{tolerance.latency * 100:.0f} % and {tolerance.floor_milliseconds:g} ms"


def _grown(then: Measured, now: Measured) -> str:
    """Which part of the way has grown the most, in milliseconds.

    Parts are matched by stage and by their place among those, so that a proxy that has moved is compared.
    """
    old = _in_order(then.stretches)
    grown = [(one.milliseconds - old[key], one, old[key]) for key, one in _keyed(now.stretches) if key in old]
    if not grown:
        return "no part of the way can be compared"
    growth, one, before = max(grown, key=lambda row: row[0])
    if growth <= 0:
        return "no part of the way takes longer"
    return f"the most at {one.name}: {before:.1f} ms, now {one.milliseconds:.1f} ms"


def _keyed(stretches: tuple[Stretch, ...]) -> list[tuple[tuple[str, int], Stretch]]:
    seen: dict[str, int] = {}
    keyed = []
    for one in stretches:
        seen[one.stage] = seen.get(one.stage, 0) + 1
        keyed.append(((one.stage, seen[one.stage]), one))
    return keyed


def _in_order(stretches: tuple[Stretch, ...]) -> dict[tuple[str, int], float]:
    return {key: one.milliseconds for key, one in _keyed(stretches)}
