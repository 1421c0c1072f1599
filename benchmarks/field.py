"""The peers that can take part here, and running instances of them."""

import contextlib
import os
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.load import Load
from benchmarks.peers import DESCRIPTOR_LIMIT, Peer, Place
from benchmarks.processes import NotStarted, Process, Usage, tree, usage


@dataclass(frozen=True)
class Entrant:
    """A peer that is installed here."""

    peer: Peer
    program: str
    version: str


def entrants(peers: Sequence[Peer], build: Path) -> tuple[list[Entrant], dict[str, str]]:
    """Return those that can be started, and for each of the others what to install."""
    found, left_out = [], {}
    for peer in peers:
        program = "" if peer.key == "direct" else peer.program(build)
        if program is None:
            left_out[peer.key] = f"{peer.label} is not installed ({peer.package})"
            continue
        try:
            found.append(Entrant(peer, program, peer.version(program)))
        except (OSError, IndexError, subprocess.SubprocessError) as error:
            left_out[peer.key] = f"{peer.label} does not say its version: {error}"
    return found, left_out


@dataclass(frozen=True)
class Instance:
    """A running peer, and the way through it to its own target."""

    peer: Peer
    via: str
    target: str
    process: Process | None

    def pids(self) -> list[int]:
        """Its process tree; empty for the direct connection."""
        return tree(self.process.pid) if self.process else []

    def usage(self) -> Usage:
        """CPU so far."""
        pids = self.pids()
        return usage(pids) if pids else Usage({}, 0)

    def way(self) -> dict[str, str | int]:
        """Options of the load generator that lead through it."""
        return {"via": self.via, "target": self.target, "connect": int(self.peer.speaks_connect)}


def split_cpus(pin: bool) -> tuple[set[int] | None, set[int] | None]:
    """One CPU for the peers and another for the generator: neither disturbs the other."""
    cpus = sorted(os.sched_getaffinity(0))
    if not pin or len(cpus) < 2:
        return None, None
    return {cpus[0]}, {cpus[-1]}


@contextlib.contextmanager
def running(
    entrants: Sequence[Entrant], load: Load, cpus: set[int] | None, tunnels: int = 128
) -> Iterator[tuple[list[Instance], dict[str, str]]]:
    """Start all, give those that listen and the words of those that do not, and end them."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="relay-bench-")))
        # squid and Apache change to a user of their own
        folder.chmod(0o755)
        instances, failed = [], {}
        for number, entrant in enumerate(entrants, 1):
            try:
                instance, process = _start(entrant, folder, load.target(number), cpus, tunnels)
            except NotStarted as error:
                failed[entrant.peer.key] = f"{entrant.peer.label} did not start: {error}"
                continue
            instances.append(instance)
            if process is not None:
                stack.callback(process.stop)
        yield instances, failed


def _start(
    entrant: Entrant, folder: Path, target: str, cpus: set[int] | None, tunnels: int
) -> tuple[Instance, Process | None]:
    peer = entrant.peer
    if not entrant.program:
        return Instance(peer, target, target, None), None
    home = folder / peer.key
    home.mkdir()
    home.chmod(0o777)
    place = Place(home, _free_port(), target, tunnels)
    process = Process(
        [entrant.program, *peer.configure(place)],
        home / "output",
        cpus=cpus,
        descriptor_limit=DESCRIPTOR_LIMIT,
    )
    try:
        process.wait_until_listening("127.0.0.1", place.port)
    except BaseException:
        process.stop()
        raise
    return Instance(peer, f"127.0.0.1:{place.port}", target, process), process


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port
