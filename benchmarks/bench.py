"""One run: the codec, the idle tunnels, the rounds; its figures as one JSON document."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.codec import REPEAT_SECONDS, measure_codec
from benchmarks.field import Entrant, entrants, running, split_cpus
from benchmarks.idle import FEW, MANY, measure_idle, possible_tunnels
from benchmarks.load import Load, build
from benchmarks.machine import describe
from benchmarks.peers import BY_KEY as PEER_BY_KEY
from benchmarks.peers import DESCRIPTOR_LIMIT, PEERS, SERVERS, Peer
from benchmarks.rounds import Plan, Rounds
from benchmarks.workloads import BY_KEY, WORKLOADS
from protocol import Direction, Packet, PacketConnection

WARM_UP_SCALE = 0.05
"""A first round of so much, not counted: the interpreters have seen every path before a clock is read."""


@dataclass(frozen=True)
class Settings:
    """What a run consists of.

    Args:
        idle_counts: numbers of idle tunnels; empty leaves that part out.
        idle_peers: keys of those that hold idle tunnels.
        limit_seconds: for the whole run; rounds that would exceed it are left out.
    """

    kind: str
    plan: Plan
    peers: tuple[Peer, ...] = (*PEERS, *SERVERS)
    idle_counts: tuple[int, ...] = (FEW, MANY)
    idle_peers: tuple[str, ...] = ()
    idle_seconds: float = 20.0
    with_codec: bool = True
    codec_seconds: float = REPEAT_SECONDS
    pin: bool = True
    warm_up: bool = True
    limit_seconds: float = 570.0


FULL = Settings(
    "full",
    Plan(13, WORKLOADS),
    idle_peers=tuple(peer.key for peer in PEERS if peer.key not in ("direct", "haproxy_splice", "relay_log")),
)
QUICK = Settings(
    "quick",
    Plan(7, WORKLOADS, scale=0.6),
    peers=tuple(PEER_BY_KEY[key] for key in ("squid", "relay", "relay_log", "streams_asyncio", "server")),
    idle_counts=(MANY,),
    idle_peers=("relay",),
    idle_seconds=3.0,
    with_codec=False,
    limit_seconds=55.0,
)


def run(
    settings: Settings, output: Path, command: str, tell: Callable[[str], None] = lambda line: None
) -> dict[str, Any]:
    """Measure everything; `output` takes what is built.

    Raises: FileNotFoundError without a C compiler; OSError, subprocess.SubprocessError.
    """
    began = time.monotonic()
    machine = describe()
    program = build(output)
    found, left_out = entrants(settings.peers, output)
    cpus = split_cpus(settings.pin)
    codec = measure_codec(settings.codec_seconds) if settings.with_codec else []
    idle = _idle(settings, found, program, cpus, tell)
    with Load(program, len(found), cpus=cpus[1], descriptor_limit=DESCRIPTOR_LIMIT) as load:
        with running(found, load, cpus[0]) as (instances, failed):
            left_out |= failed
            tell("left out: " + ("; ".join(left_out.values()) or "nobody"))
            rounds = Rounds(instances, load, settings.plan, sealed_pings(output, settings.plan), tell)
            if settings.warm_up:
                replace(rounds, plan=replace(settings.plan, rounds=1, scale=WARM_UP_SCALE)).run()
            rounds.deadline = began + settings.limit_seconds
            cells = rounds.run()
    return {
        "kind": settings.kind,
        "command": command,
        "seconds": time.monotonic() - began,
        "machine": machine,
        "plan": {
            "rounds": len({cell["round"] for cell in cells}),
            "scale": settings.plan.scale,
            "seed": settings.plan.seed,
            "pinned": cpus[0] is not None,
        },
        "peers": {one.peer.key: _about(one) for one in found},
        "left_out": left_out,
        "workloads": {
            one.key: {
                "title": one.title,
                "unit": one.unit,
                "reference": one.reference,
                "options": dict(one.options),
            }
            for one in settings.plan.workloads
        },
        "cells": cells,
        "idle": idle,
        "codec": codec,
    }


def _about(entrant: Entrant) -> dict[str, Any]:
    return {"label": entrant.peer.label, "version": entrant.version, "is_slow": entrant.peer.is_slow}


def _idle(
    settings: Settings,
    found: Sequence[Entrant],
    program: Path,
    cpus: tuple[set[int] | None, set[int] | None],
    tell: Callable[[str], None],
) -> list[dict[str, Any]]:
    most = possible_tunnels()
    counts = sorted({min(count, most) for count in settings.idle_counts})
    takers = [one for one in found if one.peer.key in settings.idle_peers]
    if not counts or not takers:
        return []
    if most < max(settings.idle_counts):
        tell(f"a process may have too few files open for more than {most} tunnels")
    return measure_idle(takers, program, cpus, counts, settings.idle_seconds, tell)


def sealed_pings(output: Path, plan: Plan) -> Path:
    """Write the pings of one connection, sealed: the generator need not know the codec.

    Every connection begins with number 0, so each can be sent the same ones.
    """
    connection = PacketConnection(Direction.CLIENT)
    count = max((int(BY_KEY[key].options["count"]) for key in ("ping_1", "ping_64")), default=0)
    path = output / "pings"
    path.write_bytes(b"".join(connection.send(Packet.ping()) for _ in range(count)))
    return path
