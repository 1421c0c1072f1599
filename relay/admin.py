"""Admin: health, metrics and the list of what is open, on a listener of its own."""

import asyncio
import json
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from relay.host_guard import by_address_only, never_cached
from relay.metrics import Snapshot
from relay.siblings import BEGAN, MAX_SHOWN, Siblings

STOP_SECONDS = 1.0
_METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"


@dataclass(frozen=True)
class Subject:
    """What an admin listener tells of.

    answer: of this process, to "numbers" and to the name of the list, whose entries say BEGAN. metrics:
    the text of the numbers of all workers, and of how many gave none. listed: "tunnels", "connections".
    """

    answer: Callable[[str], Any]
    metrics: Callable[[list[Snapshot], int], bytes]
    listed: str


class Admin:
    """Args: siblings: the other workers, if any. sock: bound, ours to close."""

    def __init__(self, subject: Subject, sock: socket.socket, siblings: Siblings | None = None) -> None:
        self._subject = subject
        self._sock = sock
        self._siblings = siblings
        app = web.Application(middlewares=[never_cached, by_address_only], client_max_size=0)
        app.router.add_get("/healthz", self._health)
        app.router.add_get("/metrics", self._metrics)
        app.router.add_get(f"/{subject.listed}", self._list)
        # Slow heads are cut by aiohttp's keep-alive timer
        self._runner = web.AppRunner(
            app, access_log=None, keepalive_timeout=30.0, shutdown_timeout=STOP_SECONDS
        )

    async def start(self) -> None:
        """Answer from now on."""
        if self._siblings is not None:
            await self._siblings.start()
        await self._runner.setup()
        await web.SockSite(self._runner, self._sock).start()

    async def aclose(self) -> None:
        """Stop within a moment."""
        await self._runner.cleanup()
        self._sock.close()
        if self._siblings is not None:
            await self._siblings.aclose()

    async def _ask(self, word: str) -> tuple[list[Any], int]:
        """The answers of all workers, and how many gave none."""
        others = await self._siblings.ask(word) if self._siblings is not None else []
        answers = [self._subject.answer(word), *(answer for answer in others if answer is not None)]
        return answers, sum(answer is None for answer in others)

    async def _health(self, request: web.Request) -> web.StreamResponse:
        numbers, silent = await self._ask("numbers")
        is_draining = any(part["is_draining"] for part in numbers)
        state = "draining" if is_draining else "workers are silent" if silent else "ok"
        is_open = f"{self._subject.listed}_open"
        body = {
            "status": state,
            "workers": len(numbers),
            "workers_silent": silent,
            is_open: sum(part[is_open] for part in numbers),
        }
        return web.json_response(body, status=200 if state == "ok" else 503, dumps=_line)

    async def _metrics(self, request: web.Request) -> web.StreamResponse:
        numbers, silent = await self._ask("numbers")
        text = await asyncio.to_thread(self._subject.metrics, numbers, silent)
        return web.Response(body=text, headers={"Content-Type": _METRICS_TYPE})

    async def _list(self, request: web.Request) -> web.StreamResponse:
        listed = self._subject.listed
        lists, silent = await self._ask(listed)
        shown = _oldest_first(lists)[:MAX_SHOWN]
        return web.json_response({listed: shown, "workers_silent": silent}, dumps=_line)


def _line(body: Any) -> str:
    """JSON for a terminal as well."""
    return json.dumps(body) + "\n"


def _oldest_first(lists: list[list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """Of all workers together, and how many seconds each is open now."""
    shown = sorted((one for part in lists for one in part), key=lambda one: one[BEGAN])
    now = time.monotonic()
    for one in shown:
        one["seconds"] = round(now - one.pop(BEGAN), 6)
    return shown
