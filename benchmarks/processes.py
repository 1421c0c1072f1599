"""Programs under test: started with limits, measured from outside, ended by their own id."""

import contextlib
import os
import resource
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

LIFE_SECONDS = 900
"""No program lives longer, even when the harness is killed: `timeout` of coreutils ends it."""

START_SECONDS = 20.0
STOP_SECONDS = 5.0
POLL_SECONDS = 0.01
TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class NotStarted(RuntimeError):
    """A program ended, or did not listen in time."""


@dataclass(frozen=True)
class Usage:
    """CPU nanoseconds of each process of a tree, and of the children that its root has waited for."""

    per_process: dict[int, int]
    reaped_nanoseconds: int

    def since(self, before: "Usage") -> int:
        """Nanoseconds of CPU between two looks; a process that came in between counts from its birth."""
        alive = sum(spent - before.per_process.get(pid, 0) for pid, spent in self.per_process.items())
        return alive + self.reaped_nanoseconds - before.reaped_nanoseconds


def cpu_nanoseconds(pid: int) -> int:
    """CPU of all threads of `pid`, the ended ones included: its CPU-time clock, exact to the nanosecond.

    /proc/PID/stat has the same sum in ticks of 10 ms. Source: clock_getcpuclockid(3).
    Raises: ProcessLookupError
    """
    try:
        return time.clock_gettime_ns((~pid << 3) | 2)
    except OSError:
        raise ProcessLookupError(pid) from None


def tree(root: int) -> list[int]:
    """Return `root` and all that descend from it."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                parent = int(_stat(int(entry.name))[1])
                children.setdefault(parent, []).append(int(entry.name))
    found = [root]
    for pid in found:
        found += children.get(pid, [])
    return found


def _stat(pid: int) -> list[str]:
    """Fields of /proc/PID/stat from the state on: the name before them may hold anything."""
    return Path(f"/proc/{pid}/stat").read_text("utf-8", "replace").rpartition(")")[2].split()


def usage(pids: Sequence[int]) -> Usage:
    """Look at the CPU of `pids`, the first of which is the root."""
    spent = {}
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            spent[pid] = cpu_nanoseconds(pid)
    reaped = 0
    with contextlib.suppress(OSError):
        reaped = sum(map(int, _stat(pids[0])[13:15])) * 1_000_000_000 // TICKS_PER_SECOND
    return Usage(spent, reaped)


def memory_bytes(pids: Sequence[int]) -> int:
    """Resident memory (RSS) of all of `pids` together; shared pages count once per process."""
    total = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            total += int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE_BYTES
    return total


def descriptors(pids: Sequence[int]) -> int:
    """Open descriptors of all of `pids` together."""
    total = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            total += len(os.listdir(f"/proc/{pid}/fd"))  # noqa: PTH208 - ten thousand Path objects for a count
    return total


@contextlib.contextmanager
def inherited(cpus: set[int] | None, descriptor_limit: int | None) -> Iterator[None]:
    """What is started inside inherits these CPUs and this limit; afterwards all is as it was."""
    own_cpus, own_limits = os.sched_getaffinity(0), resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        if cpus:
            os.sched_setaffinity(0, cpus)
        if descriptor_limit:
            raise_descriptor_limit(descriptor_limit)
        yield
    finally:
        os.sched_setaffinity(0, own_cpus)
        # Only root may have raised the hard limit, and only root takes it back
        with contextlib.suppress(ValueError, PermissionError):
            resource.setrlimit(resource.RLIMIT_NOFILE, own_limits)


def raise_descriptor_limit(wanted: int) -> int:
    """Raise RLIMIT_NOFILE as far as allowed, to `wanted` at most; return what it is now."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < wanted:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, max(hard, wanted)))
        except (ValueError, PermissionError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (min(wanted, hard), hard))
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


class Process:
    """A program in a session of its own, with its output in a file.

    Args:
        cpus: the CPUs that it and its children may use; None for all.
        descriptor_limit: its RLIMIT_NOFILE, as far as allowed.
    """

    def __init__(
        self,
        arguments: Sequence[str],
        log: Path,
        *,
        cpus: set[int] | None = None,
        descriptor_limit: int | None = None,
        environment: dict[str, str] | None = None,
    ) -> None:
        self._log = log
        bounded = ["timeout", "--kill-after=2", str(LIFE_SECONDS), *arguments]
        with log.open("wb") as output, inherited(cpus, descriptor_limit):
            self._popen = subprocess.Popen(
                bounded,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env={**os.environ, **(environment or {})},
            )

    @property
    def pid(self) -> int:
        """The root of its tree."""
        return self._popen.pid

    def wait_until_listening(self, host: str, port: int) -> None:
        """Return when a connection is accepted. Raises: NotStarted with the end of the program's output."""
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and self._popen.poll() is None:
            with contextlib.suppress(OSError), socket.create_connection((host, port), 1.0):
                return
            time.sleep(POLL_SECONDS)
        raise NotStarted(self.last_words())

    def last_words(self) -> str:
        """The end of its output, on one line."""
        lines = self._log.read_text("utf-8", "replace").strip().splitlines()
        return " | ".join(lines[-3:])[-300:] or "silent"

    def stop(self) -> None:
        """SIGTERM, and after five seconds SIGKILL; what is left of its session goes with it."""
        if self._popen.returncode is not None:
            return
        self._popen.terminate()
        deadline = time.monotonic() + STOP_SECONDS
        # Not reaped yet, so that its number, which is that of the group too, cannot be somebody else's
        look = os.WEXITED | os.WNOWAIT | os.WNOHANG
        while os.waitid(os.P_PID, self.pid, look) is None and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)
        os.killpg(self.pid, signal.SIGKILL)
        self._popen.wait(STOP_SECONDS)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
