"""Room: namespaces of processes, mounts and networks in which one scenario is played.

Nothing of it can stay behind: its networks have no name outside, all its processes live in one PID namespace
whose first process dies with its owner (prctl(2), PR_SET_PDEATHSIG), and the kernel ends a PID namespace with
its first process. So an owner that was killed by SIGKILL leaves nothing, and there is nothing to sweep up.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from relay.lab import kernel
from relay.lab.forked import Forked, start
from relay.leaving import leave

FOLDER = Path("/run/relay-lab")
"""What the programs of a scenario write; below /run, which is empty memory in a room."""

PLACES_FOLDER = Path("/run/netns")
"""Where ip-netns(8) looks, so that `ip netns exec client ...` works in a room."""

NOBODY = 65534
RUN_SECONDS = 20.0
"""One command that prepares a scenario (ip, nft, sysctl); they take milliseconds."""

SETTINGS = ("_proxy", "_PROXY")
"""Variables of the user that tell programs of a proxy: there is none in a room but the scenario's."""

TEST_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class CannotPlay(Exception):
    """This machine cannot play the scenario; the message says what is missing."""


class StagingFailed(Exception):
    """The scenario could not be set up although everything is there: a defect of the lab or its data."""


def find(program: str, package: str) -> str:
    """The path of a program. Raises: CannotPlay that names the Debian package."""
    path = shutil.which(program, path=f"{os.environ.get('PATH', '')}:{TEST_PATH}")
    if path is None:
        raise CannotPlay(f"{program} is not installed (Debian package {package})")
    return path


def in_a_room(work: Callable[[], int]) -> int:
    """Run `work` in a new room and return its status. For processes with one thread only.

    Raises: CannotPlay where this machine, or this user, may have no namespaces.
    """
    if not sys.platform.startswith("linux"):
        raise CannotPlay("namespaces of networks are a thing of Linux")
    readable, writable = os.pipe()
    outer = os.fork()
    if outer == 0:
        os.close(readable)
        _enter(work, writable)
    os.close(writable)
    with os.fdopen(readable, "rb") as pipe:
        why = pipe.read().decode("utf-8", "replace")
    _, status = os.waitpid(outer, 0)
    if why:
        raise CannotPlay(why)
    return os.waitstatus_to_exitcode(status)


def _enter(work: Callable[[], int], complaints: int) -> NoReturn:
    """In the outer of the two processes of a room: make the namespaces, and wait for the inner one."""
    status = 1
    try:
        if os.geteuid() != 0:
            kernel.become_root_of_a_user_namespace()
        # After the change of user: that takes the setting away (prctl(2))
        kernel.die_with_parent()
        kernel.unshare(kernel.CLONE_NEWNS | kernel.CLONE_NEWPID | kernel.CLONE_NEWNET)
        inner = os.fork()
        if inner == 0:
            _begin(work, complaints)
        os.close(complaints)
        # ^C is for who works in the room
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        status = os.waitstatus_to_exitcode(os.waitpid(inner, 0)[1])
    except OSError as error:
        os.write(complaints, f"namespaces are refused here: {error.strerror}".encode())
    finally:
        os._exit(status if 0 <= status < 256 else 1)


def _begin(work: Callable[[], int], complaints: int) -> NoReturn:
    """In the first process of the new PID namespace."""
    status = 1
    try:
        kernel.die_with_parent()
        try:
            _mount_all()
        except OSError as error:
            os.write(complaints, f"a private /run is refused here: {error.strerror}".encode())
        else:
            os.close(complaints)
            status = work()
    except KeyboardInterrupt:
        status = 130
    finally:
        leave(status)


def _mount_all() -> None:
    """A /proc of our own processes, and an empty /run and /dev/shm, seen by nobody else."""
    kernel.mount("none", Path("/"), None, kernel.MS_REC | kernel.MS_PRIVATE)
    kernel.mount("proc", Path("/proc"), "proc")
    for path in (Path("/run"), Path("/dev/shm")):  # noqa: S108 - nobody else can see this one
        if path.is_dir():
            kernel.mount("tmpfs", path, "tmpfs")
    FOLDER.mkdir(mode=0o755)
    PLACES_FOLDER.mkdir(mode=0o755)


@dataclass
class Room:
    """What a scenario is staged with, in the first process of a room."""

    processes: list[subprocess.Popen[bytes] | Forked] = field(default_factory=list)

    def add_place(self, name: str) -> None:
        """Make a network namespace that has a name inside this room. Source: ip-netns(8)."""
        home = PLACES_FOLDER / "home"
        if not home.exists():
            home.touch()
            kernel.mount("/proc/self/ns/net", home, None, kernel.MS_BIND)
        kernel.unshare(kernel.CLONE_NEWNET)
        (PLACES_FOLDER / name).touch()
        kernel.mount("/proc/self/ns/net", PLACES_FOLDER / name, None, kernel.MS_BIND)
        kernel.enter_network(home)

    @contextlib.contextmanager
    def inside(self, place: str) -> Any:
        """Let this process be in a place for a while."""
        kernel.enter_network(PLACES_FOLDER / place)
        try:
            yield
        finally:
            kernel.enter_network(PLACES_FOLDER / "home")

    def set_file(self, path: Path, text: str) -> None:
        """Have everybody in this room find `text` in a file of the system, which itself stays as it is."""
        ours = FOLDER / path.name
        ours.write_text(text, "utf-8")
        real = path.resolve()
        if not real.exists() and real.is_relative_to("/run"):
            # /etc/resolv.conf is often a link into /run, which is empty here
            real.parent.mkdir(parents=True, exist_ok=True)
            real.touch()
        if not real.exists():
            raise CannotPlay(f"{path} does not exist")
        kernel.mount(str(ours), real, None, kernel.MS_BIND)

    def command(self, place: str, *arguments: str) -> list[str]:
        """What runs `arguments` in a place."""
        return [find("nsenter", "util-linux"), f"--net={PLACES_FOLDER / place}", *arguments]

    def as_nobody(self, *arguments: str) -> list[str]:
        """What runs `arguments` without the rights of root, which real servers do not want."""
        if is_real_root():
            drop = [f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--no-new-privs"]
            return [find("setpriv", "util-linux"), *drop, *arguments]
        mapped = ["--user", f"--map-user={NOBODY}", f"--map-group={NOBODY}"]
        return [find("unshare", "util-linux"), *mapped, *arguments]

    def run(self, place: str, arguments: Sequence[str], text: str = "") -> str:
        """Run a command of the staging to its end. Raises: StagingFailed with its words."""
        done = subprocess.run(
            self.command(place, *arguments), input=text, capture_output=True, text=True, timeout=RUN_SECONDS
        )
        if done.returncode:
            raise StagingFailed(
                f"{place}: {' '.join(arguments)}: {done.stderr.strip() or done.stdout.strip()}"
            )
        return done.stdout

    def start_ours(self, place: str, arguments: Sequence[str], folder: Path) -> Forked:
        """Start a `relay` command; what it says is in `folder`: output and errors."""
        where, environment = PLACES_FOLDER / place, clean_environment()
        started = start(arguments, where, folder / "output", folder / "errors", environment)
        self.processes.append(started)
        return started

    def start(self, place: str, arguments: Sequence[str], folder: Path, **environment: str) -> None:
        """Start a program that runs as long as the room; what it says is in `folder`/output."""
        with (folder / "output").open("ab") as output:
            process = subprocess.Popen(
                self.command(place, *arguments),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=folder,
                env={**clean_environment(), **environment},
                start_new_session=True,
            )
        self.processes.append(process)


def clean_environment(source: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Ours, without a user's proxies, in English, with a resolver that gives up after a second."""
    kept = {
        name: value
        for name, value in source.items()
        if not name.endswith(SETTINGS) and not name.startswith("RELAY_")
    }
    return {**kept, "LC_ALL": "C.UTF-8", "RES_OPTIONS": "timeout:1 attempts:1"}


def is_real_root() -> bool:
    """Whether we are root where others exist: not where one user is mapped to root (user_namespaces(7))."""
    try:
        lines = Path("/proc/self/uid_map").read_text("ascii").split()
    except OSError:
        return True
    return len(lines) != 3 or int(lines[2]) > 1
