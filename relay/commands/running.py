"""Run a long-lived service until SIGINT or SIGTERM, and say where it listens."""

import asyncio
import contextlib
import functools
import os
import signal
import sys
from collections.abc import Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

from relay.commands import EXIT_GOOD
from relay.failure import SettingsError
from relay.line_log import LineLog
from relay.route import Endpoint
from relay.tunnel_loop import TunnelLoop

STDERR = 2


class Service(Protocol):
    """What listens."""

    @property
    def endpoints(self) -> list[Endpoint]: ...


@functools.cache
def _stderr(program: str) -> LineLog:
    return LineLog(STDERR, lambda _: None, lambda lost: f"{program}: {lost} lines lost")


def say(program: str, text: str) -> None:
    """One line on stderr: stdout belongs to what a command produces.

    A reader that has gone stops nothing, and while we serve, one that is slow does not either.
    """
    say_line(program, f"{program}: {text}")


def say_line(program: str, line: str) -> None:
    """As `say`, but the line as it is, for programs that read it."""
    try:
        is_ours = sys.stderr.fileno() == STDERR
    except (AttributeError, OSError, ValueError):
        is_ours = False  # closed, or taken by somebody who runs us inside a program of theirs
    with contextlib.suppress(OSError):
        if is_ours:
            _stderr(program).write(line)
        else:
            print(line, file=sys.stderr, flush=True)


def serve(
    program: str,
    service: AbstractAsyncContextManager[Any],
    *,
    is_quiet: bool = False,
    drain: Callable[[], Coroutine[Any, Any, None]] | None = None,
    grace_seconds: float = 0.0,
    last_words: Callable[[], None] | None = None,
    carries_tunnels: bool = False,
) -> int:
    """Start `service`, print one line per listener unless quiet, and end cleanly on SIGINT and SIGTERM.

    Args:   drain: run at SIGTERM, for at most `grace_seconds`; a second signal, or another, ends it at once.
            last_words: called when the service has ended, before the last line.
    Raises: SettingsError when it cannot listen.
    """
    try:
        with asyncio.Runner(loop_factory=_loop_factory(carries_tunnels)) as runner:
            runner.run(_serve(program, service, is_quiet, drain, grace_seconds, last_words))
    except OSError as error:
        raise SettingsError(f"--listen: {error.strerror or error}") from None
    return EXIT_GOOD


def _loop_factory(carries_tunnels: bool) -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Our own loop for tunnels, where there is splice(2); else uvloop where it is installed (extra `fast`).

    RELAY_LOOP=uvloop or asyncio has its way with tunnels too: the same tests run on all of them.
    """
    wanted = os.environ.get("RELAY_LOOP", "")
    if wanted == "asyncio":
        return None
    if carries_tunnels and wanted != "uvloop" and hasattr(os, "splice"):
        return TunnelLoop
    try:
        import uvloop
    except ImportError:
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory


async def _serve(
    program: str,
    service: AbstractAsyncContextManager[Any],
    is_quiet: bool,
    drain: Callable[[], Coroutine[Any, Any, None]] | None,
    grace_seconds: float,
    last_words: Callable[[], None] | None,
) -> None:
    stop, stop_now = asyncio.Event(), asyncio.Event()

    def tell(number: int) -> None:
        if number != signal.SIGTERM or stop.is_set():
            stop_now.set()
        stop.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # A closed terminal (SIGHUP) must not look like a clean end to those behind open tunnels; nohup(1)
        # has it ignored
        if signal.getsignal(number) is not signal.SIG_IGN or number is not signal.SIGHUP:
            loop.add_signal_handler(number, tell, number)
    async with service as started:
        for endpoint in () if is_quiet else started.endpoints:
            say(program, f"listening on {endpoint}")
        await stop.wait()
        if drain is not None and not stop_now.is_set():
            await _drained(drain, stop_now, grace_seconds)
    if last_words is not None:
        last_words()
    if not is_quiet:
        say(program, "stopped")
    with contextlib.suppress(OSError):
        _stderr(program).close()


async def _drained(
    drain: Callable[[], Coroutine[Any, Any, None]], stop_now: asyncio.Event, grace_seconds: float
) -> None:
    waiting = [asyncio.create_task(drain()), asyncio.create_task(stop_now.wait())]
    await asyncio.wait(waiting, timeout=grace_seconds, return_when=asyncio.FIRST_COMPLETED)
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
