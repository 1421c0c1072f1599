"""Run a long-lived service until SIGINT or SIGTERM, and say where it listens."""

import asyncio
import signal
import sys
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

from relay.commands import EXIT_GOOD
from relay.failure import SettingsError
from relay.route import Endpoint


class Service(Protocol):
    """What listens."""

    @property
    def endpoints(self) -> list[Endpoint]: ...


def say(program: str, text: str) -> None:
    """One line on stderr: stdout belongs to what a command produces."""
    print(f"{program}: {text}", file=sys.stderr, flush=True)


def serve(program: str, service: AbstractAsyncContextManager[Any]) -> int:
    """Start `service`, print one line per listener, and end cleanly on SIGINT and SIGTERM.

    Raises: SettingsError when it cannot listen.
    """
    try:
        asyncio.run(_serve(program, service))
    except OSError as error:
        raise SettingsError(f"--listen: {error.strerror or error}") from None
    return EXIT_GOOD


async def _serve(program: str, service: AbstractAsyncContextManager[Any]) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    async with service as started:
        for endpoint in started.endpoints:
            say(program, f"listening on {endpoint}")
        await stop.wait()
    say(program, "stopped")
