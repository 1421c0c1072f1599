"""Hostile input: what the proxy holds stays bounded, healthy tunnels go on, and nothing is left of it.

`make hostile` runs it for HOSTILE_SECONDS; without that each kind of client comes once.
"""

import json
import os
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.path.persona_targets import Targets
from tests.path.proxied import SOON_SECONDS, connect_head, read_exactly, read_head

SECONDS = float(os.environ.get("HOSTILE_SECONDS", "0"))
HEAD_SECONDS = 5.0
TUNNELS = 16
QUIET_ROUNDS = 20
PATIENCE_SECONDS = 120.0
MOST_GROWTH_BYTES = 400 * 2**20
"""About 2,500 clients are there at once, and each of them may have a head of 128 KiB read at most."""

MOST_RATIO = 10_000.0
"""Attackers, proxy and healthy clients share two processors: this only finds what stands still."""

BEAT = b"alive" * 20
ROOT = Path(__file__).parents[2]


class Victim:
    """The proxy's process."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.port: int = self._line()["port"]

    def _line(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "the proxy has ended"
        found: dict[str, Any] = json.loads(line)
        return found

    def held(self) -> dict[str, Any]:
        """What it holds now."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return self._line()

    def settled(self, tunnels: int) -> dict[str, Any]:
        """What it holds once only so many tunnels are left, or after all patience."""
        end = time.monotonic() + PATIENCE_SECONDS
        while True:
            held = self.held()
            if (held["connections"], held["tunnels_open"]) == (0, tunnels) or time.monotonic() > end:
                return held
            threading.Event().wait(0.1)  # between two looks


@pytest.fixture
def victim() -> Iterator[Victim]:
    """A proxy that nobody has asked anything yet."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.hostile.victim", str(HEAD_SECONDS)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT,
    )  # fmt: skip
    with process:
        yield Victim(process)
        assert process.stdin is not None
        process.stdin.close()
        assert 0 == process.wait(SOON_SECONDS * 3)


class Healthy:
    """Tunnels that are used all the while."""

    def __init__(self, port: int, target: int) -> None:
        self._tunnels = []
        for _ in range(TUNNELS):
            sock = socket.create_connection(("127.0.0.1", port), PATIENCE_SECONDS)
            sock.sendall(connect_head(f"127.0.0.1:{target}"))
            read_head(sock)
            self._tunnels.append(sock)

    def beat(self) -> float:
        """One exchange over each; the median of the seconds that they took."""
        took = []
        for sock in self._tunnels:
            began = time.monotonic()
            sock.sendall(BEAT)
            assert b"echo:" + BEAT == read_exactly(sock, len(BEAT) + 5)
            took.append(time.monotonic() - began)
        return statistics.median(took)

    def close(self) -> None:
        for sock in self._tunnels:
            sock.close()


def deaf() -> socket.socket:
    """An origin that takes connections and reads nothing."""
    return socket.create_server(("127.0.0.1", 0), backlog=128)


@pytest.mark.timeout(900)
def test_hostile_clients_do_no_harm(victim: Victim, capsys: pytest.CaptureFixture[str]) -> None:
    """Memory is bounded, tunnels answer, all who do not come to an end are cut, and nothing leaks."""
    with Targets() as targets, deaf() as origin:
        before = victim.settled(0)
        healthy = Healthy(victim.port, targets.ports["echo"])
        quiet_seconds = statistics.median(healthy.beat() for _ in range(QUIET_ROUNDS))
        ports = (victim.port, targets.ports["closed"], origin.getsockname()[1])
        attack = subprocess.Popen(
            [sys.executable, "-m", "tests.hostile.attack", *map(str, ports), str(SECONDS)],
            stdout=subprocess.PIPE, text=True, cwd=ROOT,
        )  # fmt: skip
        busy, most_bytes, most_connections = [], 0, 0
        with attack:
            while attack.poll() is None:
                busy.append(healthy.beat())
                held = victim.held()
                most_bytes = max(most_bytes, held["resident_bytes"])
                most_connections = max(most_connections, held["connections_open"])
                threading.Event().wait(0.05)  # the beat of the healthy, not a wait for anything
            assert attack.stdout is not None
            came_to = json.loads(attack.stdout.read())
        busy.append(healthy.beat())
        idle = victim.settled(TUNNELS)
        healthy.close()
        after = victim.settled(0)
    ratio = statistics.median(busy) / quiet_seconds
    growth = most_bytes - before["resident_bytes"]
    figures = {
        "hostile clients": came_to, "at once": most_connections, "cut": after["cut"],
        "memory before, most, after (MiB)": [
            round(size / 2**20, 1)
            for size in (before["resident_bytes"], most_bytes, after["resident_bytes"])
        ],
        "latency before, during (ms)": [
            round(1e3 * seconds, 3) for seconds in (quiet_seconds, statistics.median(busy))
        ],
        "latency ratio": round(ratio, 1),
        "beats": len(busy),
    }  # fmt: skip
    with capsys.disabled():
        print("\n" + json.dumps(figures, indent=1))
    assert [] == [kind for kind in came_to if kind.endswith("never cut")]
    assert growth <= MOST_GROWTH_BYTES, figures
    assert ratio <= MOST_RATIO, figures
    assert {"silent", "slow", "endless"} <= {reason for reason, count in after["cut"].items() if count}
    assert (0, TUNNELS) == (idle["connections"], idle["tunnels_open"])
    kept = ("connections", "tunnels_open", "connections_open", "tasks")
    assert {name: before[name] for name in kept} == {name: after[name] for name in kept}
    # A module that was loaded late may hold one
    assert after["descriptors"] <= before["descriptors"] + 4
