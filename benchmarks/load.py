"""The load generator of load.c: compiled here, driven line by line."""

import json
import os
import shutil
import subprocess
import threading
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from benchmarks.processes import cpu_nanoseconds, inherited

SOURCES = ("load.c", "commands.c", "near.c", "far.c")
FLAGS = ("-O2", "-std=gnu11", "-Wall", "-Wextra")
COMPILE_SECONDS = 120
ANSWER_SECONDS = 90.0
"""The generator ends every command by itself after its own `seconds`; this is for a generator that hangs."""


class LoadFailed(RuntimeError):
    """The workload could not be carried out; the words say what the generator saw."""


def compiler() -> str | None:
    """The C compiler to use, or None."""
    return os.environ.get("CC") or shutil.which("cc") or shutil.which("gcc")


def build(folder: Path) -> Path:
    """Compile the generator into `folder`, if its sources are newer than what is there.

    Raises: subprocess.CalledProcessError, FileNotFoundError
    """
    here = Path(__file__).parent
    program = folder / "load"
    sources = [here / name for name in SOURCES]
    newest = max(path.stat().st_mtime for path in [*sources, here / "load.h"])
    if not program.exists() or program.stat().st_mtime < newest:
        command = compiler()
        if command is None:
            raise FileNotFoundError("no C compiler (cc): the load generator cannot be built")
        folder.mkdir(parents=True, exist_ok=True)
        subprocess.run(
            [command, *FLAGS, "-o", str(program), *map(str, sources)], check=True, timeout=COMPILE_SECONDS
        )
    return program


class Load:
    """A running generator. Its targets listen on one port of 127.0.1.1 to 127.0.1.`addresses`."""

    def __init__(
        self,
        program: Path,
        addresses: int,
        *,
        cpus: set[int] | None = None,
        descriptor_limit: int | None = None,
    ) -> None:
        with inherited(cpus, descriptor_limit):
            self._popen = subprocess.Popen(
                [str(program), "0", str(addresses)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
        self.port = int(self._answer()["port"])

    def target(self, number: int) -> str:
        """Address and port of target `number`, from 1."""
        return f"127.0.1.{number}:{self.port}"

    def cpu_nanoseconds(self) -> int:
        """What the generator has used so far."""
        return cpu_nanoseconds(self._popen.pid)

    def ask(self, command: str, **options: str | int) -> dict[str, Any]:
        """Send one command and return its answer. Raises: LoadFailed."""
        words = [command, *(f"{key}={value}" for key, value in options.items())]
        assert self._popen.stdin is not None
        self._popen.stdin.write(" ".join(words) + "\n")
        self._popen.stdin.flush()
        answer = self._answer()
        if "error" in answer:
            raise LoadFailed(answer["error"])
        return answer

    def _answer(self) -> dict[str, Any]:
        assert self._popen.stdout is not None
        guard = threading.Timer(ANSWER_SECONDS, self._popen.kill)
        guard.start()
        try:
            line = self._popen.stdout.readline()
        finally:
            guard.cancel()
            guard.join()
        if not line:
            raise LoadFailed(f"the load generator ended with status {self._popen.wait(5)}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._popen.stdin is not None
        assert self._popen.stdout is not None
        self._popen.stdin.close()
        try:
            self._popen.wait(5)
        except subprocess.TimeoutExpired:
            self._popen.kill()
            self._popen.wait(5)
        self._popen.stdout.close()
