"""Run a long-lived service until SIGINT or SIGTERM, and say where it listens."""

import asyncio
import contextlib
import functools
import gc
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

from relay.commands import EXIT_GOOD
from relay.failure import SettingsError
from relay.line_log import LineLog
from relay.route import Endpoint
from relay.tunnel_loop import TunnelLoop

STDERR = 2
# Objects that are made, less those that are gone again, before the collector looks at them.
COLLECT_AFTER_OBJECTS = 10_000


class Service(Protocol):
    """What listens."""

    @property
    def endpoints(self) -> Sequence[Endpoint | str]: ...


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


Drain = Callable[[asyncio.Event], Awaitable[None]]
Reload = Callable[[], Awaitable[None]]


def serve(
    program: str, service: AbstractAsyncContextManager[Any], *, is_quiet: bool = False,
    carries_tunnels: bool = False, drain: Drain | None = None, reload: Reload | None = None,
    last_words: Callable[[], None] | None = None, named: str = "--listen",
) -> int:  # fmt: skip
    """Start `service`, print one line per listener unless quiet, and end cleanly on SIGINT and SIGTERM.

    Args:   drain: awaited on SIGTERM, before the end; its event is set by SIGINT, and by a second SIGTERM.
            reload: awaited on SIGHUP; without it SIGHUP ends the process, as SIGINT does.
            last_words: called when the service has ended, before the last line.
            named: the option or file that says where to listen, for the error when that fails.
    Raises: SettingsError when it cannot listen.
    """
    try:
        with _collecting_seldom(), asyncio.Runner(loop_factory=_loop_factory(carries_tunnels)) as runner:
            runner.run(_serve(program, service, is_quiet, drain, reload, last_words))
    except OSError as error:
        raise SettingsError(f"{named}: {error.strerror or error}") from None
    return EXIT_GOOD


@contextlib.contextmanager
def _collecting_seldom() -> Iterator[None]:
    """Leave what is loaded by now out of garbage collections, which otherwise look through all of it."""
    before = gc.get_threshold()
    gc.collect()
    gc.freeze()
    gc.set_threshold(COLLECT_AFTER_OBJECTS)
    try:
        yield
    finally:
        # Whoever has called us in a process of theirs has it as before
        gc.set_threshold(*before)
        gc.unfreeze()


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


class _Signals:
    """What signals have asked for."""

    def __init__(self, reload: Reload | None) -> None:
        self.stop = asyncio.Event()
        self.at_once = asyncio.Event()
        self._hangup = asyncio.Event()
        self._reload = reload
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self._terminate)
        loop.add_signal_handler(signal.SIGINT, self._interrupt)
        if reload is not None:
            loop.add_signal_handler(signal.SIGHUP, self._hangup.set)
            # In a worker one may have been waiting for this (relay.workers)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGHUP,))
        elif signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
            # A closed terminal must not look like a clean end to those behind open tunnels; nohup(1) has it
            # ignored
            loop.add_signal_handler(signal.SIGHUP, self._interrupt)

    def _terminate(self) -> None:
        if self.stop.is_set():
            self.at_once.set()
        self.stop.set()

    def _interrupt(self) -> None:
        self.at_once.set()
        self.stop.set()

    async def reload_on_hangup(self) -> None:
        """One reload after the other; hang-ups meanwhile are one more."""
        while self._reload is not None:
            await self._hangup.wait()
            self._hangup.clear()
            try:
                await self._reload()
            except Exception as error:  # noqa: BLE001 - told, and the next hang-up is heard none the less
                told = {"message": "Exception while reloading", "exception": error}
                asyncio.get_running_loop().call_exception_handler(told)


async def _serve(
    program: str, service: AbstractAsyncContextManager[Any], is_quiet: bool,
    drain: Drain | None, reload: Reload | None, last_words: Callable[[], None] | None,
) -> None:  # fmt: skip
    signals = _Signals(reload)
    async with service as started:
        for endpoint in () if is_quiet else started.endpoints:
            say(program, f"listening on {endpoint}")
        reloading = asyncio.create_task(signals.reload_on_hangup())
        try:
            await signals.stop.wait()
            if drain is not None:
                await drain(signals.at_once)
        finally:
            reloading.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await reloading
    if last_words is not None:
        last_words()
    if not is_quiet:
        say(program, "stopped")
    with contextlib.suppress(OSError):
        _stderr(program).close()


def within(work: Callable[[], Coroutine[Any, Any, None]], limit_seconds: float) -> Drain:
    """A drain that awaits `work` for at most so long, and not at all once it is to end at once."""

    async def drain(at_once: asyncio.Event) -> None:
        if at_once.is_set():
            return
        waiting = [asyncio.create_task(work()), asyncio.create_task(at_once.wait())]
        await asyncio.wait(waiting, timeout=limit_seconds, return_when=asyncio.FIRST_COMPLETED)
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)

    return drain
