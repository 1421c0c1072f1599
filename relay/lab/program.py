"""Program: something that a scenario runs in a place: a real proxy, a server, or one that misbehaves."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from relay.lab.room import Room, StagingFailed

START_SECONDS: Final = 20.0
"""A program that does not listen by then will not; a busy machine needs a few."""

PAUSE_SECONDS: Final = 0.02
LISTENING: Final = "0A"
"""State of a socket in /proc/net/tcp (linux/tcp_states.h)."""


@dataclass(frozen=True)
class Given:
    """What a program is told: where it is, its port, a folder of its own, lines for its configuration."""

    room: Room
    place: str
    port: int
    folder: Path
    lines: tuple[str, ...]

    def write(self, name: str, *lines: str) -> Path:
        """Write a file of its configuration."""
        path = self.folder / name
        path.write_text("\n".join(lines) + "\n", "utf-8")
        path.chmod(0o644)
        return path


@dataclass(frozen=True)
class Command:
    """How to start it.

    Attributes:
        arguments: a command; with `is_ours` those of `relay`.
        waits: whether it listens on its TCP port before it is ready.
    """

    arguments: list[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    waits: bool = True
    is_ours: bool = False


Make = Callable[[Given], Command]


@dataclass(frozen=True)
class Entry:
    """One program of the catalogue, and the port it takes unless told otherwise."""

    make: Make
    port: int


PROGRAMS: dict[str, Entry] = {}
"""Every program by its name; filled when relay.lab.programs is imported."""


def program(name: str, port: int) -> Callable[[Make], Make]:
    """Enter a program into the catalogue."""

    def enter(make: Make) -> Make:
        PROGRAMS[name] = Entry(make, port)
        return make

    return enter


def wait_until_listening(room: Room, place: str, port: int, folder: Path) -> None:
    """Wait until somebody in a place listens on a TCP port; nobody is disturbed by a connection.

    Raises: StagingFailed with the last words of the program.
    """
    deadline = time.monotonic() + START_SECONDS
    process = room.processes[-1]
    while not _is_listening(process.pid, port):
        if process.poll() is not None or time.monotonic() > deadline:
            words = (folder / "output").read_text("utf-8", "replace")[-1000:]
            raise StagingFailed(f"{place}: nothing listens on port {port}: {words or 'no word'}")
        time.sleep(PAUSE_SECONDS)


def _is_listening(pid: int, port: int) -> bool:
    wanted = f":{port:04X}"
    for name in ("tcp", "tcp6"):
        try:
            lines = Path(f"/proc/{pid}/net/{name}").read_text("ascii").splitlines()[1:]
        except OSError:
            continue
        if any(line.split()[1].endswith(wanted) and line.split()[3] == LISTENING for line in lines):
            return True
    return False
