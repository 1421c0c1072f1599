"""Idle tunnels: what a thousand, and ten thousand, cost a proxy in memory, descriptors and CPU."""

import contextlib
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.field import Entrant, Instance, running
from benchmarks.load import Load, LoadFailed
from benchmarks.peers import DESCRIPTOR_LIMIT, SPARE_DESCRIPTORS
from benchmarks.processes import descriptors, memory_bytes, raise_descriptor_limit, usage

FEW, MANY = 1_000, 10_000
OPEN_SECONDS = 40
PATIENCE_SECONDS = 15
"""Who would need longer for the tunnels of a step, by what the last one took, is spared it: a run is to end
in ten minutes, and the memory of each tunnel is known by then."""
SETTLE_SECONDS = 0.5
"""Between the last tunnel's opening and the first look at a clock that should stand still."""

Record = dict[str, Any]


def possible_tunnels() -> int:
    """How many tunnels one process may hold here: two descriptors each."""
    return min(MANY, (raise_descriptor_limit(DESCRIPTOR_LIMIT) - SPARE_DESCRIPTORS) // 2)


def measure_idle(
    entrants: Sequence[Entrant],
    program: Path,
    cpus: tuple[set[int] | None, set[int] | None],
    counts: Sequence[int],
    window_seconds: float,
    tell: Callable[[str], None] = lambda line: None,
) -> list[Record]:
    """Open `counts` tunnels through fresh instances of all, one after the other; watch them idle together.

    An idle proxy does not disturb its neighbour, so they share the time of the CPU window. Each has a
    generator of its own: one process may not have open what all of them need.
    """
    records: list[Record] = []
    with contextlib.ExitStack() as stack:
        loads, instances = {}, []
        for entrant in entrants:
            load = stack.enter_context(Load(program, 1, cpus=cpus[1], descriptor_limit=DESCRIPTOR_LIMIT))
            started, failed = stack.enter_context(running([entrant], load, cpus[0], max(counts)))
            instances += started
            loads[entrant.peer.key] = load
            records += [{"peer": key, "tunnels": 0, "error": words} for key, words in failed.items()]
        before = {}
        for instance in instances:
            # A tunnel beforehand brings in what every later one shares
            _open(loads[instance.peer.key], instance, 1)
            pids = instance.pids()
            before[instance.peer.key] = (memory_bytes(pids), descriptors(pids), instance.usage())
        opened, found = 0, list[Record]()
        for count in counts:
            spared = spare_the_slow(found, count)
            unable = {one["peer"] for one in spared}
            instances = [one for one in instances if one.peer.key not in unable]
            instances, found = _step(instances, loads, count, count - opened, before)
            _watch(instances, found, window_seconds)
            records += spared + found
            opened = count
            tell(f"{count} idle tunnels through each of {len(instances)} peers")
    return records


def spare_the_slow(found: Sequence[Record], count: int) -> list[Record]:
    """Records of those that are not asked for `count` tunnels, by what those of `found` took."""
    spared = []
    for one in found:
        seconds = one.get("wall_ns", 0) / 1e9
        if seconds * count > PATIENCE_SECONDS * one["tunnels"]:
            words = f"not tried: the first {one['tunnels']:,} took {seconds:.1f} s"
            spared.append({"peer": one["peer"], "tunnels": count, "error": words})
    return spared


def _step(
    instances: Sequence[Instance],
    loads: dict[str, Load],
    count: int,
    more: int,
    before: dict[str, Any],
) -> tuple[list[Instance], list[Record]]:
    """Open more tunnels through each; return those that could, and a record for every one."""
    able, records = [], []
    for instance in instances:
        key = instance.peer.key
        record: Record = {"peer": key, "tunnels": count}
        records.append(record)
        try:
            record["wall_ns"] = _open(loads[key], instance, more)
        except LoadFailed as error:
            record["error"] = f"failed: {error}"
            continue
        able.append(instance)
        pids = instance.pids()
        memory, files, spent = before[key]
        record["memory_bytes"] = memory_bytes(pids) - memory
        record["descriptors"] = descriptors(pids) - files
        record["open_cpu_ns"] = usage(pids).since(spent)
    return able, records


def _open(load: Load, instance: Instance, count: int) -> int:
    answer = load.ask("hold", **instance.way(), conns=count, at_once=64, seconds=OPEN_SECONDS)
    load.ask("keep")
    return int(answer["wall_ns"])


def _watch(instances: Sequence[Instance], records: Sequence[Record], window_seconds: float) -> None:
    time.sleep(min(SETTLE_SECONDS, window_seconds))
    pids = {instance.peer.key: instance.pids() for instance in instances}
    before = {key: usage(known) for key, known in pids.items()}
    began = time.monotonic()
    time.sleep(window_seconds)
    seconds = time.monotonic() - began
    for record in records:
        if record["peer"] in pids:
            record["idle_cpu_ns"] = usage(pids[record["peer"]]).since(before[record["peer"]])
            record["idle_seconds"] = seconds
