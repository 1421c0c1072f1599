"""Real programs as peers and clients: in the foreground, ready when they accept, ended by their pid."""

import asyncio
import contextlib
import json
import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from relay.route import Endpoint

START_SECONDS = 15.0
"""A peer that does not accept by then will not."""

STOP_SECONDS = 15.0
RUN_SECONDS = 40.0
"""A client that has not ended by then hangs; below pytest's own limit, so that its words are shown."""

SCRIPTS = Path(sys.executable).parent
"""Where `relay` and `TMSS10Ping` stand: beside the Python that runs the tests."""

Tool = Callable[[str, str], str]
"""`tool(name, package)` of tests/conftest.py: the path of a program."""


def loopback_host() -> str:
    """Return a loopback address that only this process listens on, so that parallel tests never meet."""
    pid = os.getpid()
    return f"127.{64 | pid >> 16 & 63}.{pid >> 8 & 255}.{pid & 255}"


def free_endpoint() -> Endpoint:
    """Return an endpoint that a program can be told to listen on."""
    with socket.socket() as sock:
        sock.bind((loopback_host(), 0))
        return Endpoint(*sock.getsockname())


SETTINGS = re.compile(r"(?i).*_proxy|(?:CURL|GIT|PIP|SSL_CERT|TMSS|RELAY)_.*")
"""Variables that tell a client what it would not do by itself."""


def environment(**more: str) -> dict[str, str]:
    """Return ours without a user's settings, in English, with a resolver that gives up after a second."""
    kept = {name: value for name, value in os.environ.items() if not SETTINGS.fullmatch(name)}
    return {**kept, "LC_ALL": "C.UTF-8", "RES_OPTIONS": "timeout:1 attempts:1", **more}


@dataclass(frozen=True)
class Daemon:
    """A real program that listens on `endpoint`; all that it writes is in `folder`."""

    process: subprocess.Popen[bytes]
    endpoint: Endpoint
    folder: Path

    @property
    def url(self) -> str:
        """It as a proxy."""
        return f"http://{self.endpoint}"

    def text(self, name: str) -> str:
        """Return a file of its folder, "" as long as there is none."""
        path = self.folder / name
        return path.read_text("utf-8", "replace") if path.exists() else ""

    @property
    def said(self) -> str:
        """All that it has written so far, for the words of a failure."""
        written = sorted({self.folder / "output", *self.folder.glob("*.log")})
        return "; ".join(f"{path.name}: {self.text(path.name)}" for path in written)

    def stop(self, number: int = signal.SIGKILL) -> None:
        """End it and its children; a mild signal gives it the time to write its logs."""
        with contextlib.suppress(ProcessLookupError):
            if number == signal.SIGKILL:
                os.killpg(self.process.pid, number)  # a session of its own, made by `daemon`
            else:
                self.process.send_signal(number)
        self.process.wait(STOP_SECONDS)


def is_root() -> bool:
    return os.geteuid() == 0


@contextlib.contextmanager
def folder(*, of_nobody: bool = False) -> Iterator[Path]:
    """Give a new folder; `of_nobody`: also a daemon that runs as nobody may read and write there.

    pytest's own folders are closed to every other user.
    """
    path = Path(tempfile.mkdtemp(prefix="relay-test-"))
    try:
        if of_nobody and is_root():
            shutil.chown(path, "nobody", pwd.getpwnam("nobody").pw_gid)
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)  # a child of a killed daemon may still write a line


@contextlib.contextmanager
def daemon(
    arguments: Sequence[str], endpoint: Endpoint, place: Path, *, as_nobody: bool = False, **env: str
) -> Iterator[Daemon]:
    """Start a program that listens on `endpoint`, wait until it accepts; kill it in the end.

    `as_nobody`: root gives up its rights first, so the program behaves as it does for an ordinary user.
    """
    rights: dict[str, Any] = {}
    if as_nobody and is_root():
        rights = {"user": "nobody", "group": pwd.getpwnam("nobody").pw_gid, "extra_groups": []}
    with (place / "output").open("wb") as output:
        process = subprocess.Popen(
            arguments,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd=place,
            env=environment(**env),
            start_new_session=True,
            **rights,
        )
    running = Daemon(process, endpoint, place)
    try:
        wait_until_it_accepts(running)
        yield running
    finally:
        running.stop()


def wait_until_it_accepts(running: Daemon) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        with contextlib.suppress(OSError):
            socket.create_connection((running.endpoint.host, running.endpoint.port), 1.0).close()
            return
        with contextlib.suppress(subprocess.TimeoutExpired):
            status = running.process.wait(0.005)  # the pause between two tries ends at once when it dies
            raise AssertionError(f"it ended with status {status}; {running.said}")
        assert time.monotonic() < deadline, f"nothing listens on {running.endpoint}; {running.said}"


@dataclass
class RelayCommand:
    """A long-lived `relay` command: server, proxy or tunnel, as a process of its own."""

    process: subprocess.Popen[bytes]
    endpoint: Endpoint
    stdout: str = ""
    stderr: str = ""

    @property
    def url(self) -> str:
        """It as a proxy."""
        return f"http://{self.endpoint}"

    @property
    def logged(self) -> list[dict[str, Any]]:
        """The lines of JSON on its stdout (`--access-log -`), once it has stopped."""
        return [json.loads(line) for line in self.stdout.splitlines()]

    def stop(self) -> None:
        """Send SIGTERM, insist on a clean end, keep what it said."""
        self._end(signal.SIGTERM)
        assert 0 == self.process.returncode, self.stderr

    def kill(self) -> None:
        """Send SIGKILL: as a crash."""
        self._end(signal.SIGKILL)

    def _end(self, number: int) -> None:
        if self.process.returncode is None:
            self.process.send_signal(number)
            stdout, stderr = self.process.communicate(timeout=STOP_SECONDS)
            self.stdout += stdout.decode()
            self.stderr += stderr.decode()


@contextlib.contextmanager
def relay_command(
    *arguments: str, listen: Endpoint | str | None = None, **env: str
) -> Iterator[RelayCommand]:
    """Start `relay ARGUMENTS --listen ...`, wait until it says where it listens; `stop` it in the end."""
    listen = listen or Endpoint(loopback_host(), 0)
    process = subprocess.Popen(
        [str(SCRIPTS / "relay"), *arguments, "--listen", str(listen)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(**env),
    )
    command = RelayCommand(process, listen if isinstance(listen, Endpoint) else Endpoint(loopback_host(), 0))
    try:
        assert process.stderr is not None
        for line in process.stderr:
            command.stderr += line.decode()
            _, found, where = command.stderr.rstrip().rpartition(" listening on ")
            if found:
                command.endpoint = Endpoint.parse(where)
                break
        else:
            raise AssertionError(f"it ended: {command.stderr}")
        yield command
        if process.returncode is None:
            command.stop()
    finally:
        command.kill()


@dataclass(frozen=True)
class Ran:
    """What a client program did."""

    status: int
    stdout: bytes
    stderr: str

    @property
    def text(self) -> str:
        return self.stdout.decode()


async def run(
    *arguments: str | Path, stdin: bytes = b"", stays_open: bool = False, cwd: Path | None = None, **env: str
) -> Ran:
    """Run a client to its end, while the peers inside this process go on.

    `stays_open`: its stdin does not end, so it must end by itself, as when a person sits before it.
    """
    process = await asyncio.create_subprocess_exec(
        *map(str, arguments),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd=cwd,
        env=environment(**env),
    )
    try:
        async with asyncio.timeout(RUN_SECONDS):
            if stays_open:
                stdout, stderr = await _ends_by_itself(process, stdin)
            else:
                stdout, stderr = await process.communicate(stdin)
    except TimeoutError:
        process.kill()
        stdout, stderr = await process.communicate()
        raise AssertionError(f"{arguments} hangs; it said {stdout!r} and {stderr!r}") from None
    return Ran(process.returncode or 0, stdout, stderr.decode("utf-8", "replace"))


async def _ends_by_itself(process: asyncio.subprocess.Process, stdin: bytes) -> tuple[bytes, bytes]:
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdin.write(stdin)
    stdout, stderr, _ = await asyncio.gather(process.stdout.read(), process.stderr.read(), process.wait())
    process.stdin.close()
    return stdout, stderr


async def ping(*arguments: str, **env: str) -> Ran:
    """Run TMSS10Ping."""
    return await run(SCRIPTS / "TMSS10Ping", *arguments, **env)


async def relay(*arguments: str, stdin: bytes = b"") -> Ran:
    """Run a `relay` command to its end."""
    return await run(SCRIPTS / "relay", *arguments, stdin=stdin)
