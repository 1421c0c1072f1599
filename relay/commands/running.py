"""Run a long-lived service until SIGINT or SIGTERM, and say where it listens."""

import asyncio
import contextlib
import functools
import os
import signal
import sys
from collections.abc import Callable
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
    line = f"{program}: {text}"
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
    carries_tunnels: bool = False,
) -> int:
    """Start `service`, print one line per listener unless quiet, and end cleanly on SIGINT and SIGTERM.

    Raises: SettingsError when it cannot listen.
    """
    try:
        with asyncio.Runner(loop_factory=_loop_factory(carries_tunnels)) as runner:
            runner.run(_serve(program, service, is_quiet))
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


async def _serve(program: str, service: AbstractAsyncContextManager[Any], is_quiet: bool) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # A closed terminal (SIGHUP) must not look like a clean end to those behind open tunnels; nohup(1)
        # has it ignored
        if signal.getsignal(number) is not signal.SIG_IGN or number is not signal.SIGHUP:
            loop.add_signal_handler(number, stop.set)
    async with service as started:
        for endpoint in () if is_quiet else started.endpoints:
            say(program, f"listening on {endpoint}")
        await stop.wait()
    if not is_quiet:
        say(program, "stopped")
    with contextlib.suppress(OSError):
        _stderr(program).close()
