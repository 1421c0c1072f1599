"""The HTTP API of toxiproxy 2: clients that were written for toxiproxy drive this proxy while it runs.

A proxy of its own, named `relay`, stands for the CONNECT proxy: its toxics are for every tunnel. Others are
made as in toxiproxy: a listener, an upstream, and toxics between them. Toxics work on connections that are
open, too; for that every tunnel passes through user space while there is this API.
"""

import json
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any, Self

from aiohttp import web

from relay.failure import SettingsError
from relay.fault_plan import BoundFaults, JoinedFaults
from relay.fault_rule import TunnelFacts
from relay.faults import FAULTS
from relay.proxy import ConnectProxy
from relay.route import Endpoint
from relay.toxic_proxy import ToxicProxy, Toxics
from relay.toxics import ToxicRefused, read_toxic, updated

# The version whose API this is; some clients ask before they go on.
VERSION = "2.12.0"
OUR_NAME = "relay"
MAX_PROXIES = 1000
MAX_BODY_BYTES = 1 << 20

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class _OurProxy:
    """The CONNECT proxy, as one proxy of toxiproxy's. Disabled, it resets who asks for a tunnel."""

    def __init__(self, proxy: ConnectProxy) -> None:
        self.name = OUR_NAME
        self.toxics = Toxics()
        self.is_enabled = True
        self._proxy = proxy
        self._faults = JoinedFaults(proxy.faults, self.toxics)
        proxy.faults = self

    @property
    def listen(self) -> Endpoint:
        return self._proxy.endpoint

    @property
    def upstream(self) -> str:
        return "CONNECT"

    def bind(self, tunnel: TunnelFacts) -> BoundFaults | None:
        if not self.is_enabled:
            return BoundFaults(down=(FAULTS["answer_reset"],), changes_answer=True)
        return self._faults.bind(tunnel)

    def start(self) -> None:
        self.is_enabled = True

    async def stop(self) -> None:
        self.is_enabled = False


class ToxiproxyApi:
    """Serves the API; entering starts it, leaving stops it and every proxy that was made through it.

    Args: proxy: the running CONNECT proxy, made with `faults`, if only FaultPlan(). Its policy holds.
    """

    def __init__(self, proxy: ConnectProxy, listen: Endpoint) -> None:
        if proxy.faults is None:
            raise ValueError("a proxy made without faults takes a way on which there are none")
        self._proxy = proxy
        self._listen = listen
        self._ours = _OurProxy(proxy)
        self._proxies: dict[str, ToxicProxy | _OurProxy] = {OUR_NAME: self._ours}
        self._runner: web.AppRunner | None = None

    @property
    def endpoint(self) -> Endpoint:
        """Where it really listens."""
        assert self._runner is not None
        return Endpoint(*self._runner.addresses[0][:2])

    async def __aenter__(self) -> Self:
        app = web.Application(client_max_size=MAX_BODY_BYTES, middlewares=[_guard])
        app.router.add_get("/version", self._version)
        app.router.add_post("/reset", self._reset)
        app.router.add_post("/populate", self._populate)
        app.router.add_get("/proxies", self._list)
        app.router.add_post("/proxies", self._create)
        one, toxics, toxic = "/proxies/{proxy}", "/proxies/{proxy}/toxics", "/proxies/{proxy}/toxics/{toxic}"
        app.router.add_get(one, self._show)
        app.router.add_post(one, self._update)
        app.router.add_patch(one, self._update)
        app.router.add_delete(one, self._delete)
        app.router.add_get(toxics, self._list_toxics)
        app.router.add_post(toxics, self._add_toxic)
        app.router.add_get(toxic, self._show_toxic)
        app.router.add_post(toxic, self._update_toxic)
        app.router.add_patch(toxic, self._update_toxic)
        app.router.add_delete(toxic, self._remove_toxic)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, self._listen.host, self._listen.port).start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._runner is not None
        await self._runner.cleanup()
        for proxy in self._proxies.values():
            await proxy.stop()

    def _get(self, request: web.Request) -> ToxicProxy | _OurProxy:
        found = self._proxies.get(request.match_info["proxy"])
        if found is None:
            raise ToxicRefused("proxy not found", 404)
        return found

    async def _version(self, request: web.Request) -> web.Response:
        return web.json_response({"version": VERSION})

    async def _reset(self, request: web.Request) -> web.Response:
        for proxy in self._proxies.values():
            _start(proxy)
            proxy.toxics.clear()
        return web.Response(status=204)

    async def _list(self, request: web.Request) -> web.Response:
        return web.json_response({name: _as_dict(proxy) for name, proxy in self._proxies.items()})

    async def _create(self, request: web.Request) -> web.Response:
        proxy, is_enabled = self._read(await _body(request))
        if proxy.name in self._proxies:
            raise ToxicRefused("proxy already exists", 409)
        self._add(proxy, is_enabled)
        return web.json_response(_as_dict(proxy), status=201)

    async def _populate(self, request: web.Request) -> web.Response:
        body = await _body(request)
        if not isinstance(body, list):
            raise ToxicRefused("bad request body: expected a list")
        wanted = [self._read(each) for each in body]
        made: list[ToxicProxy | _OurProxy] = []
        for proxy, is_enabled in wanted:
            old = self._proxies.get(proxy.name)
            if old is not None and (old.listen, old.upstream) == (proxy.listen, proxy.upstream):
                made.append(old)
                continue
            if isinstance(old, ToxicProxy):
                await old.stop()
                del self._proxies[old.name]
            elif old is not None:
                raise ToxicRefused("proxy already exists", 409)
            self._add(proxy, is_enabled)
            made.append(proxy)
        return web.json_response({"proxies": [_as_dict(proxy) for proxy in made]}, status=201)

    def _add(self, proxy: ToxicProxy, is_enabled: bool) -> None:
        if len(self._proxies) >= MAX_PROXIES:
            raise ToxicRefused(f"more than {MAX_PROXIES} proxies", 403)
        if is_enabled:
            _start(proxy)
        self._proxies[proxy.name] = proxy

    def _read(self, body: Any) -> tuple[ToxicProxy, bool]:
        if not isinstance(body, dict):
            raise ToxicRefused("bad request body: expected an object")
        for field in ("name", "upstream"):
            if not body.get(field):
                raise ToxicRefused(f"missing required field: {field}")
        if not isinstance(body["name"], str) or "/" in body["name"]:
            raise ToxicRefused("bad request body: name: expected a text without /")
        listen = _endpoint(body.get("listen") or "127.0.0.1:0", "listen")
        upstream = _endpoint(body["upstream"], "upstream")
        return ToxicProxy(body["name"], listen, upstream, self._proxy.dial), _flag(body, True)

    async def _show(self, request: web.Request) -> web.Response:
        return web.json_response(_as_dict(self._get(request)))

    async def _update(self, request: web.Request) -> web.Response:
        proxy, body = self._get(request), await _body(request)
        if not isinstance(body, dict):
            raise ToxicRefused("bad request body: expected an object")
        is_enabled = _flag(body, proxy.is_enabled)
        if isinstance(proxy, ToxicProxy):
            listen = _endpoint(body.get("listen") or str(proxy.listen), "listen")
            upstream = _endpoint(body.get("upstream") or str(proxy.upstream), "upstream")
            if (listen, upstream) != (proxy.listen, proxy.upstream):
                await proxy.stop()
                proxy.listen, proxy.upstream = listen, upstream
        if is_enabled:
            _start(proxy)
        else:
            await proxy.stop()
        return web.json_response(_as_dict(proxy))

    async def _delete(self, request: web.Request) -> web.Response:
        proxy = self._get(request)
        if proxy is self._ours:
            raise ToxicRefused(f"{OUR_NAME} is the CONNECT proxy itself, and stays", 403)
        await proxy.stop()
        del self._proxies[proxy.name]
        return web.Response(status=204)

    async def _list_toxics(self, request: web.Request) -> web.Response:
        return web.json_response([toxic.as_dict() for toxic in self._get(request).toxics])

    async def _add_toxic(self, request: web.Request) -> web.Response:
        toxic = read_toxic(await _body(request))
        self._get(request).toxics.add(toxic)
        return web.json_response(toxic.as_dict())

    async def _show_toxic(self, request: web.Request) -> web.Response:
        return web.json_response(self._get(request).toxics.get(request.match_info["toxic"]).as_dict())

    async def _update_toxic(self, request: web.Request) -> web.Response:
        toxics = self._get(request).toxics
        toxic = updated(toxics.get(request.match_info["toxic"]), await _body(request))
        toxics.put(toxic)
        return web.json_response(toxic.as_dict())

    async def _remove_toxic(self, request: web.Request) -> web.Response:
        self._get(request).toxics.remove(request.match_info["toxic"])
        return web.Response(status=204)


@web.middleware
async def _guard(request: web.Request, handler: Handler) -> web.StreamResponse:
    """No web page may drive this; errors are JSON."""
    is_browser = request.headers.get("User-Agent", "").startswith("Mozilla/") or "Origin" in request.headers
    if is_browser:
        return _error("User agent not allowed", 403)
    try:
        return await handler(request)
    except ToxicRefused as error:
        return _error(str(error), error.status)
    except web.HTTPException as error:
        return _error(error.reason, error.status)


def _error(words: str, status: int) -> web.Response:
    return web.json_response({"error": words, "status": status}, status=status)


async def _body(request: web.Request) -> Any:
    try:
        return json.loads(await request.read())
    except (ValueError, RecursionError):
        raise ToxicRefused("bad request body: this is no JSON") from None


def _flag(body: dict[str, Any], default: bool) -> bool:
    value = body.get("enabled", default)
    if not isinstance(value, bool):
        raise ToxicRefused("bad request body: enabled: expected true or false")
    return value


def _endpoint(text: Any, what: str) -> Endpoint:
    if not isinstance(text, str):
        raise ToxicRefused(f"bad request body: {what}: expected HOST:PORT")
    try:
        # As Go has it: no host is every address
        return Endpoint.parse(f"0.0.0.0{text}" if text.startswith(":") else text, what)
    except SettingsError as error:
        raise ToxicRefused(f"bad request body: {error}") from None


def _start(proxy: ToxicProxy | _OurProxy) -> None:
    try:
        proxy.start()
    except OSError as error:
        raise ToxicRefused(f"cannot listen: {error.strerror or error}", 500) from None


def _as_dict(proxy: ToxicProxy | _OurProxy) -> dict[str, Any]:
    return {
        "name": proxy.name,
        "listen": str(proxy.listen),
        "upstream": str(proxy.upstream),
        "enabled": proxy.is_enabled,
        "toxics": [toxic.as_dict() for toxic in proxy.toxics],
    }
