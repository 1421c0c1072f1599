"""`relay lab`, really: how it behaves. All of its scenarios run in `make lab`."""

import json
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.lacking import lacking
from tests.path.real import RUN_SECONDS, SCRIPTS, STOP_SECONDS, Tool, environment

IMPOSSIBLE = 3


@pytest.fixture
def lab(tool: Tool) -> None:
    """What every scenario needs; where namespaces are refused the test is skipped, in CI it fails."""
    for name, package in (("nft", "nftables"), ("nsenter", "util-linux"), ("setpriv", "util-linux")):
        tool(name, package)
    done = relay_lab("shell", "healthy-direct", "--", "true")
    if done.returncode == IMPOSSIBLE:
        lacking(f"no network namespaces here: {done.stderr}")


def relay_lab(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [SCRIPTS / "relay", "lab", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=RUN_SECONDS, env=environment())


def names_of_networks() -> set[str]:
    """The network namespaces that some process of this machine is in."""
    found = set()
    for path in Path("/proc").glob("[0-9]*/ns/net"):
        try:
            found.add(str(path.readlink()))
        except OSError:
            continue  # it has ended meanwhile, or is somebody else's
    return found


def test_scenarios_are_played_and_judged(lab: None, tmp_path: Path) -> None:
    """One that is broken and one that is not, side by side: right, exit 0, and all that was seen is kept."""
    seen, page, vectors = tmp_path / "seen.json", tmp_path / "accuracy.md", tmp_path / "vectors.json"
    files = ["--json", seen, "--accuracy", page, "--record", vectors]
    done = relay_lab("run", "reject-admin-prohibited", "healthy-direct", "--healthy-runs", "1", *files)
    assert (0, "2 of 2 right") == (done.returncode, done.stdout[:12]), done.stderr
    trials: dict[str, Any] = {one["id"]: one for one in json.loads(seen.read_text())}
    assert ["fw-reject-admin"] == trials["reject-admin-prohibited"]["named"]
    assert ("right", []) == (trials["healthy-direct"]["outcome"], trials["healthy-direct"]["named"])
    assert "**2 of 2 scenarios right**" in page.read_text()
    assert ["", "fw-reject-admin"] == [vector["cause"] for vector in json.loads(vectors.read_text())]


WRONG = """
[mine]
broken = "nothing at all"
expect = "fw-drop-syn"
"""


def test_a_wrong_verdict_is_told(lab: None, tmp_path: Path) -> None:
    """A scenario of one's own, whose verdict is not the one expected: exit 1 and both are named."""
    file = tmp_path / "mine.toml"
    file.write_text(WRONG)
    done = relay_lab("run", "mine", "--scenarios", file)
    assert 1 == done.returncode
    assert "expected fw-drop-syn, named nothing: 1" in done.stdout
    assert "wrong: mine: exit 0, expected 1" in done.stdout


def test_a_command_runs_on_the_client(lab: None) -> None:
    """It sees the scenario's network and names, and its status is ours; relay itself is on PATH."""
    done = relay_lab("shell", "nxdomain", "--", "sh", "-c", "ip -br addr show eth0; relay --version; exit 7")
    assert 7 == done.returncode, done.stderr
    assert "10.231.1.2/24" in done.stdout
    assert "framework-relay" in done.stdout
    assert "server 10.231.3.2" in done.stderr


def test_an_ordinary_user_may_play(lab: None, tool: Tool) -> None:
    """Without root the rooms are made in a user namespace: firewalls and real proxies work."""
    tool("squid", "squid")
    somebody = [tool("unshare", "util-linux"), "--user", "--map-user=1000", "--map-group=1000"]
    command = [*somebody, SCRIPTS / "relay", "lab", "run", "reject-reset", "port-squid"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=RUN_SECONDS, env=environment())
    assert (0, "2 of 2 right") == (done.returncode, done.stdout[:12]), done.stderr


@pytest.fixture
def held_room(lab: None) -> Iterator[subprocess.Popen[str]]:
    """A room in which a program waits for ever."""
    held = [SCRIPTS / "relay", "lab", "shell", "healthy-direct", "--", "sh", "-c", "echo ready; exec cat"]
    with subprocess.Popen(
        held, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stdout is not None
        assert "ready\n" == process.stdout.readline()
        yield process
        process.kill()


def test_nothing_stays_after_kill_9(held_room: subprocess.Popen[str]) -> None:
    """The kernel ends all processes of a room with its owner, and its networks with them."""
    theirs = {str(path.readlink()) for path in children_networks(held_room.pid)}
    assert theirs <= names_of_networks()
    assert theirs
    held_room.send_signal(signal.SIGKILL)
    assert held_room.stdout is not None
    # The end of the pipe is the end of the last process that held it
    assert "" == held_room.stdout.read()
    held_room.wait(STOP_SECONDS)
    # Those that held no end of the pipe are ended by the same kernel, a moment later
    end = time.monotonic() + STOP_SECONDS
    while (left := theirs & names_of_networks()) and time.monotonic() < end:
        threading.Event().wait(0.01)
    assert set() == left


def children_networks(pid: int) -> list[Path]:
    """The network namespaces of all descendants of a process."""
    found = []
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        found += [Path(f"/proc/{child}/ns/net"), *children_networks(int(child))]
    own = Path("/proc/self/ns/net").readlink()
    return [path for path in found if path.readlink() != own]


def test_an_unknown_scenario_is_a_wrong_usage() -> None:
    """Exit 2 and one line."""
    done = relay_lab("run", "no-such-thing")
    assert (2, 1) == (done.returncode, done.stderr.count("\n"))
    assert "there is no scenario 'no-such-thing'" in done.stderr


def test_the_list_names_all() -> None:
    """At least 70 broken networks, with what is wrong and what must be said."""
    done = relay_lab("list", "--json")
    rows = json.loads(done.stdout)
    assert 70 <= len([row for row in rows if row["expect"]])
    assert {"drop", "port-squid"} <= {row["id"] for row in rows}
    assert "fw-drop-syn" in relay_lab("list", "drop").stdout
