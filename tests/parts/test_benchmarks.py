"""The benchmarks' harness on tiny amounts of work: that it measures, not what."""

import json
import os
import socket
import sys
import time
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks import compare, document, terminal
from benchmarks.bench import Settings, run
from benchmarks.figures import lost, seconds_text
from benchmarks.goals import GOALS, Checked, check_all
from benchmarks.idle import spare_the_slow
from benchmarks.load import Load, LoadFailed, build
from benchmarks.peers import BY_KEY as PEERS
from benchmarks.processes import cpu_nanoseconds
from benchmarks.rounds import Plan
from benchmarks.workloads import BY_KEY as WORKLOADS_BY_KEY
from benchmarks.workloads import WORKLOADS

# CI is Linux: there nothing is skipped
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc and CPU-time clocks of Linux")

TAKING_PART = ("direct", "relay_asyncio", "streams_asyncio", "server_asyncio")
TINY = Settings(
    "test",
    Plan(1, WORKLOADS, scale=0.001, verify=True),
    peers=tuple(PEERS[key] for key in TAKING_PART),
    idle_counts=(5,),
    idle_peers=("relay_asyncio",),
    idle_seconds=0.01,
    codec_seconds=0.0001,
    pin=False,
    warm_up=False,
)


@pytest.fixture(scope="module")
def generator(tool: Callable[[str, str], str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The load generator, compiled once."""
    tool("cc", "gcc")
    return build(tmp_path_factory.mktemp("load"))


@pytest.fixture
def load(generator: Path) -> Iterator[Load]:
    """A running generator with one target."""
    with Load(generator, 1) as running:
        yield running


def test_a_tiny_run_has_every_figure(generator: Path, tmp_path: Path) -> None:
    """Each workload through our proxy and directly, each byte compared: the JSON has what the pages need."""
    words: list[str] = []
    # The generator is newer than its sources, so it is not compiled again
    (tmp_path / "load").symlink_to(generator)
    found = run(TINY, tmp_path, "the test", words.append)
    assert {} == found["left_out"]
    assert [] == [cell for cell in found["cells"] if "error" in cell], words
    through = {"direct", "relay_asyncio"}
    served = {"streams_asyncio", "server_asyncio"}
    expected = {
        (one.key, peer) for one in WORKLOADS for peer in (through if one.reference == "squid" else served)
    }
    assert expected == {(cell["workload"], cell["peer"]) for cell in found["cells"]}
    for cell in found["cells"]:
        # In so short a run on a busy machine the small packets may be through before the bulk has begun
        assert cell["units"] > 0 or cell["workload"] == "mixed"
        assert cell["wall_ns"] > 0
        assert cell["load_cpu_ns"] > 0
        assert (cell["cpu_ns"] > 0) == (cell["peer"] != "direct")
    assert [("relay_asyncio", 5, 10)] == [(o["peer"], o["tunnels"], o["descriptors"]) for o in found["idle"]]
    assert all(one["encode_us"] > 0 and one["decode_us"] > 0 for one in found["codec"])
    assert found == json.loads(json.dumps(found))


def test_a_peer_that_is_slow_with_the_first_is_not_asked_for_all() -> None:
    """By what a thousand took: who would need more than 15 s is left out, with the reason; others are not."""
    found = [
        {"peer": "squid", "tunnels": 1_000, "wall_ns": 400_000_000},
        {"peer": "mitmproxy", "tunnels": 1_000, "wall_ns": 3_700_000_000},
        {"peer": "pproxy", "tunnels": 1_000, "error": "failed: refused"},
    ]
    words = "not tried: the first 1,000 took 3.7 s"
    assert [{"peer": "mitmproxy", "tunnels": 9_600, "error": words}] == spare_the_slow(found, 9_600)
    assert [] == spare_the_slow(found, 4_000)
    assert [] == spare_the_slow([], 1_000)


def test_the_amounts_of_work_are_those_asked_for(load: Load) -> None:
    """Bytes, round trips and tunnels are counted by the generator, at both ends, and none is lost."""
    way: dict[str, Any] = {"via": load.target(1), "target": load.target(1), "connect": 0}
    for direction in "DU":
        load.ask("bulk", **way, direction=direction, conns=3, bytes=100_000, verify=1)
        assert 300_000 == load.ask("go")["moved_bytes"]
        assert 0 == load.ask("end")["cut_off"]
    load.ask("rtt", **way, conns=3, count=5, size=44)
    assert 15 == load.ask("go")["latencies"]
    load.ask("end")
    load.ask("setup", **way, count=7, at_once=2)
    result = load.ask("go")
    assert (7, 0) == (result["latencies"], result["resets"])
    assert 0 < result["p50_ns"] <= result["p99_ns"] <= result["max_ns"] <= result["wall_ns"]
    load.ask("end")


def test_the_generator_says_what_went_wrong(load: Load) -> None:
    """A proxy that is not there fails the workload in words, and the next one goes on."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        via = f"127.0.0.1:{closed.getsockname()[1]}"
        with pytest.raises(LoadFailed, match="connect: Connection refused"):
            load.ask("bulk", via=via, target=load.target(1), connect=1, bytes=10)
    load.ask("end")
    load.ask("rtt", via=load.target(1), target=load.target(1), connect=0, count=2)
    assert 2 == load.ask("go")["latencies"]


def test_the_cpu_clock_counts_nanoseconds() -> None:
    """The clock of a process is the one that the process itself reads."""
    before = time.process_time_ns()
    seen = cpu_nanoseconds(os.getpid())
    assert before <= seen <= time.process_time_ns()


def cells_of(workload: str, peer: str, cpus: list[int]) -> list[compare.Cell]:
    figures = {"units": 10, "wall_ns": 100, "load_cpu_ns": 50, "p50_ns": 5, "p99_ns": 9, "latencies": 10,
               "slowest_share": 1.0}  # fmt: skip
    return [
        {"round": number, "workload": workload, "peer": peer, "cpu_ns": cpu, **figures}
        for number, cpu in enumerate(cpus)
    ]


def test_ratios_are_made_within_a_round() -> None:
    """Each round's figure is divided by the reference's of that round; a round without it does not count."""
    cells = cells_of("set_up", "squid", [100, 200, 400]) + cells_of("set_up", "relay", [50, 100, 100, 7])
    assert compare.Spread(0.5, 0.375, 0.5, 3) == compare.ratio(cells, "set_up", "relay", "squid", compare.cpu)
    assert compare.absolute(cells, "set_up", "nobody", compare.cpu) is None
    failed = [{"round": 0, "workload": "set_up", "peer": "relay", "error": "refused"}]
    assert compare.ratio(failed, "set_up", "relay", "squid", compare.cpu) is None


def made_run(our_cpu: int) -> dict[str, Any]:
    cells = cells_of("round_trip_1", "squid", [100, 110, 120])
    cells += cells_of("round_trip_1", "relay", [our_cpu, our_cpu, our_cpu])
    about = {
        "title": "1-byte round trips",
        "unit": "round trip",
        "reference": "squid",
        "options": {"conns": 1},
    }
    machine = dict.fromkeys(
        (
            "date",
            "processor",
            "processors",
            "memory",
            "kernel",
            "system",
            "network",
            "python",
            "libraries",
            "commit",
        ),
        "x",
    )
    idle = {"tunnels": 1_000, "descriptors": 2_000, "idle_cpu_ns": 0, "idle_seconds": 10.0, "wall_ns": 10**9}
    return {
        "command": "the test",
        "seconds": 1.0,
        "machine": {**machine, "load_average": "0 0 0"},
        "plan": {"rounds": 3, "scale": 1.0, "seed": 1, "pinned": True},
        "peers": {
            "squid": {"label": "squid", "version": "5"},
            "relay": {"label": "relay, uvloop", "version": ""},
        },
        "left_out": {"haproxy": "HAProxy is not installed (haproxy)"},
        "workloads": {"round_trip_1": about},
        "cells": cells,
        "idle": [
            {"peer": "squid", "memory_bytes": 30_000_000, "open_cpu_ns": 10**8, **idle},
            {"peer": "relay", "memory_bytes": 400_000, "open_cpu_ns": 10**8, **idle},
        ],
        "codec": [],
    }


def checked_goals(made: dict[str, Any]) -> list[Checked]:
    titles = {key: about["title"] for key, about in made["workloads"].items()}
    return check_all(
        made["cells"], made["idle"], titles, {key: one["label"] for key, one in made["peers"].items()}
    )


@pytest.mark.parametrize(("our_cpu", "verdict"), [(50, "aim"), (110, "ok"), (200, "MISS")])
def test_goals_are_judged_by_the_median(
    our_cpu: int, verdict: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A round trip's CPU must be at most 1.05 of squid's; 10,000 idle tunnels are reckoned from fewer."""
    checked = checked_goals(made_run(our_cpu))
    assert [verdict, "ok", "aim", "aim"] == [one.verdict for one in checked]
    assert checked[2].spread is not None
    assert 4.0 == pytest.approx(checked[2].spread.median)
    terminal.show_goals(checked)
    assert verdict in capsys.readouterr().out


def test_the_document_tells_where_we_lose(tmp_path: Path) -> None:
    """A figure that is worse than a peer's is named, with the reason or without; a better one is not."""
    for our_cpu, losses in ((50, 0), (200, 1)):
        made = made_run(our_cpu)
        assert losses == len(list(lost(made)))
        path = tmp_path / "performance.md"
        document.write(made, checked_goals(made), path, [])
        text = path.read_text()
        assert ("**1-byte round trips, CPU**: 1.82" in text) is bool(losses)
        assert "HAProxy is not installed" in text


def test_remarks_and_goals_speak_of_what_there_is() -> None:
    """No remark or goal is left behind when a workload or peer is renamed."""
    for goal in GOALS:
        assert {goal.peer, goal.reference} <= PEERS.keys()
        assert goal.workload in WORKLOADS_BY_KEY
    for remark in tomllib.loads(document.REMARKS.read_text()).get("remark", []):
        assert remark["workload"] in {*WORKLOADS_BY_KEY, "idle", "*"}
        assert remark.get("peer", "squid") in PEERS
        assert remark.get("what", "CPU") in {"CPU", "wall clock", "p50", "p99", "RSS", "descriptors"}


@pytest.mark.parametrize(
    ("nanoseconds", "text"), [(12, "12 ns"), (1_234, "1.23 us"), (45_600_000, "45.6 ms"), (2.5e9, "2.5 s")]
)
def test_times_have_three_digits(nanoseconds: float, text: str) -> None:
    """A reader compares figures, not digits."""
    assert text == seconds_text(nanoseconds)
