"""`relay` commands as children of a process that has their modules already: each starts at once.

A scenario runs two or three of them, and hundreds of scenarios run: starting an interpreter for each would
take more time of the processor than all that they do.
"""

import os
import select
import signal
import subprocess
import sys
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

from relay.commands import main
from relay.lab import kernel
from relay.leaving import leave

MODULES = (
    "pyroute2", "relay.commands.check", "relay.commands.proxy", "relay.commands.server", "relay.emulator",
    "relay.lab.programs", "relay.lab.trial", "relay.proxy", "relay.reports", "relay.survey",
)  # fmt: skip
"""What a process should have imported before it begins to fork."""


@dataclass
class Forked:
    """A `relay` command that runs; the part of subprocess.Popen that the lab uses."""

    pid: int
    returncode: int | None = field(default=None)

    def poll(self) -> int | None:
        """Its exit status, None while it runs."""
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self.returncode = os.waitstatus_to_exitcode(status) if pid else None
        return self.returncode

    def wait(self, limit_seconds: float) -> int:
        """Wait for its end. Raises: subprocess.TimeoutExpired, and has killed it then."""
        handle = os.pidfd_open(self.pid)
        try:
            ready, _, _ = select.select([handle], [], [], limit_seconds)
        finally:
            os.close(handle)
        if not ready:
            os.kill(self.pid, signal.SIGKILL)
        self.returncode = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        if not ready:
            raise subprocess.TimeoutExpired("relay", limit_seconds)
        return self.returncode


def start(
    arguments: Sequence[str], place: Path, output: Path, errors: Path, environment: Mapping[str, str]
) -> Forked:
    """Run `relay ARGUMENTS` in a network namespace, its words in two files. For processes with one thread."""
    pid = os.fork()
    if pid == 0:
        _run(arguments, place, output, errors, environment)
    return Forked(pid)


def _run(
    arguments: Sequence[str], place: Path, output: Path, errors: Path, environment: Mapping[str, str]
) -> NoReturn:
    status = 1
    try:
        os.setsid()
        for number, path, flags in (
            (0, Path(os.devnull), os.O_RDONLY),
            (1, output, _WRITE),
            (2, errors, _WRITE),
        ):
            handle = os.open(path, flags, 0o644)
            os.dup2(handle, number)
            os.close(handle)
        # multiprocessing has closed it, or left another one
        sys.stdin = open(0, closefd=False)  # noqa: SIM115
        os.chdir(output.parent)
        os.environ.clear()
        os.environ.update(environment)
        kernel.enter_network(place)
        status = main(list(arguments))
    except BaseException:  # noqa: BLE001 - the process ends here: a defect is told on its stderr
        traceback.print_exc()
    finally:
        leave(status)


_WRITE = os.O_WRONLY | os.O_CREAT | os.O_APPEND
