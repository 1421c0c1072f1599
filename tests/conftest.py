"""What every test gets: a guard against leaks, and programs from Debian that may be missing."""

import asyncio
import contextlib
import gc
import os
import select
import shutil
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests.lacking import lacking

# A busy machine is no failure: pytest's timeout finds what hangs. The rest is as hypothesis has it.
settings.register_profile("relay", settings.default, deadline=None)
settings.load_profile("relay")

GRACE_SECONDS = 2.0
"""A thread that was told to stop, or a server whose client has gone, needs a moment for it; what was not told
is still there after this."""

TASK_GRACE_TURNS = 20
"""Turns of the event loop in which cancelled tasks and closing transports come to their end."""


PROCESS_THREADS = ("_run_safe_shutdown_loop",)
"""Names of threads that a library starts once and keeps for the whole process; this one is of pycares."""


@pytest.fixture(scope="session")
def tool() -> Callable[[str, str], str]:
    """Give `tool(name, package)`: the path of a program that `package` of Debian brings.

    Where it is missing the test is skipped with a reason that names the package; in CI (CI=true) it fails.
    """

    def find(name: str, package: str) -> str:
        # Debian keeps servers in sbin, which is not on every user's PATH.
        path = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/local/sbin:/usr/sbin:/sbin")
        return path or lacking(f"{name} is not installed (Debian package {package})")

    return find


@pytest.fixture(scope="session", autouse=True)
def process_pipe() -> None:
    """Make uvloop open the pipe that it keeps for the whole process, before a test counts what is open."""
    with contextlib.suppress(ImportError):
        import uvloop

        uvloop.new_event_loop().close()


@pytest.fixture(autouse=True)
def no_leaks() -> Iterator[None]:
    """Every test, its fixtures and its event loop put away all their threads, sockets and files."""
    threads, files = running_threads(), open_files()
    yield
    deadline = time.monotonic() + GRACE_SECONDS
    for thread in running_threads() - threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    left_threads = [thread.name for thread in running_threads() - threads]
    left_files = open_files() - files
    if left_files:
        # Held by a reference cycle only: collecting it warns ("unclosed ..."), and warnings are errors here.
        # It is this test's warning then, not that of whichever test the collector happens to run in.
        gc.collect()
        left_files = open_files() - files
    while left_files and time.monotonic() < deadline:
        # A server that other tests use as well still has to hear that this test's client has gone
        select.select([], [], [], 0.01)
        left_files = open_files() - files
    assert ([], set()) == (left_threads, left_files), "left behind: threads, open files"


@pytest.fixture(autouse=True)
def no_task_leaks(request: pytest.FixtureRequest, no_leaks: None) -> None:
    """Every coroutine test and its fixtures end all the tasks that they began."""
    # Set up before the test's own fixtures, so torn down after them, when only the loop is left to be closed.
    if request.node.get_closest_marker("asyncio") is not None:
        request.getfixturevalue("task_guard")


@pytest.fixture
async def task_guard() -> AsyncIterator[None]:
    """Compare the event loop's tasks after the test with those before it."""
    before = asyncio.all_tasks()
    yield
    for _ in range(TASK_GRACE_TURNS):
        left = asyncio.all_tasks() - before - {asyncio.current_task()}
        if not left:
            return
        await asyncio.sleep(0)
    pytest.fail(f"left behind: {[task.get_coro() for task in left]}")


def running_threads() -> set[threading.Thread]:
    """Return the threads of this process that somebody has to end."""
    return {
        thread for thread in threading.enumerate() if not any(name in thread.name for name in PROCESS_THREADS)
    }


def open_files() -> set[tuple[str, str]]:
    """Return descriptor and target of all that this process has open but devices; nothing without /proc."""
    found = set()
    for entry in Path("/proc/self/fd").glob("*"):
        try:
            target = str(entry.readlink())
        except FileNotFoundError:  # the listing's own descriptor
            continue
        if not target.startswith("/dev/"):
            found.add((entry.name, target))
    return found
