"""Admin: health, metrics and the list of open tunnels, on a listener of its own."""

import asyncio
import ipaddress
import socket
import time
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from relay.proxy import ConnectProxy
from relay.siblings import Siblings

# A list for people and scripts; the numbers of all are in the metrics.
MAX_TUNNELS_SHOWN = 10_000
STOP_SECONDS = 1.0
_METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def answers_of(proxy: ConnectProxy, word: str) -> Any:
    """What one worker says to a question of the admin listener."""
    return proxy.snapshot() if word == "numbers" else tunnels_of(proxy)


def tunnels_of(proxy: ConnectProxy) -> list[dict[str, Any]]:
    """The tunnels that are open or being opened, oldest first."""
    now = time.monotonic()
    return [
        {
            "client": tunnel.client,
            "target": str(tunnel.target),
            "user": asking.user,
            "seconds": round(now - tunnel.began_seconds, 3),
            "status": tunnel.status,
            "bytes_up": tunnel.counters.up,
            "bytes_down": tunnel.counters.down,
            "outgoing": tunnel.outgoing or None,
            "path": tunnel.carriage.path if tunnel.carriage is not None else None,
        }
        for tunnel, asking in list(proxy.tunnels.items())[:MAX_TUNNELS_SHOWN]
    ]


class Admin:
    """Args: proxy: of this process. siblings: the other workers, if any. sock: bound, ours to close."""

    def __init__(self, proxy: ConnectProxy, sock: socket.socket, siblings: Siblings | None = None) -> None:
        self._proxy = proxy
        self._sock = sock
        self._siblings = siblings
        self._host = str(sock.getsockname()[0])
        app = web.Application(middlewares=[self._guard], client_max_size=0)
        app.router.add_get("/healthz", self._health)
        app.router.add_get("/metrics", self._metrics)
        app.router.add_get("/tunnels", self._tunnels)
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

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """A web page may let a name of its own lead to loopback; the browser then sends that name as Host."""
        if not _is_plain(request.headers.get("Host", "")):
            raise web.HTTPMisdirectedRequest(text="ask by address, or as localhost\n")
        response = await handler(request)
        response.headers["Cache-Control"] = "no-store"
        response.headers["X-Content-Type-Options"] = "nosniff"
        return response

    async def _ask(self, word: str) -> tuple[list[Any], int]:
        """The answers of all workers, and how many gave none."""
        others = await self._siblings.ask(word) if self._siblings is not None else []
        answers = [answers_of(self._proxy, word), *(answer for answer in others if answer is not None)]
        return answers, sum(answer is None for answer in others)

    async def _health(self, request: web.Request) -> web.StreamResponse:
        numbers, silent = await self._ask("numbers")
        is_draining = any(part["is_draining"] for part in numbers)
        state = "draining" if is_draining else "workers are silent" if silent else "ok"
        body = {
            "status": state,
            "workers": len(numbers),
            "workers_silent": silent,
            "tunnels_open": sum(part["tunnels_open"] for part in numbers),
        }
        return web.json_response(body, status=200 if state == "ok" else 503)

    async def _metrics(self, request: web.Request) -> web.StreamResponse:
        from relay.exposition import exposition

        numbers, silent = await self._ask("numbers")
        text = await asyncio.to_thread(exposition, numbers, silent)
        return web.Response(body=text, headers={"Content-Type": _METRICS_TYPE})

    async def _tunnels(self, request: web.Request) -> web.StreamResponse:
        lists, silent = await self._ask("tunnels")
        tunnels = sorted((one for part in lists for one in part), key=lambda one: -one["seconds"])
        return web.json_response({"tunnels": tunnels[:MAX_TUNNELS_SHOWN], "workers_silent": silent})


def _is_plain(host: str) -> bool:
    name = host.rpartition(":")[0] if not host.endswith("]") and ":" in host else host
    if name.lower() == "localhost":
        return True
    try:
        ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return False
    return True
