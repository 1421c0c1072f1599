"""Who may ask a listener on loopback: programs that name it by address, and no web page."""

import ipaddress
from collections.abc import Awaitable, Callable

from aiohttp import web

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@web.middleware
async def by_address_only(request: web.Request, handler: Handler) -> web.StreamResponse:
    """A web page may let a name of its own lead to loopback; the browser then sends that name as Host."""
    if not is_plain(request.headers.get("Host", "")):
        raise web.HTTPMisdirectedRequest(text="ask by address, or as localhost\n")
    return await handler(request)


@web.middleware
async def never_cached(request: web.Request, handler: Handler) -> web.StreamResponse:
    """What is true now is not true later, and is not what a browser may guess it to be."""
    response = await handler(request)
    response.headers["Cache-Control"] = "no-store"
    response.headers["X-Content-Type-Options"] = "nosniff"
    return response


def is_plain(host: str) -> bool:
    """Whether a Host field names an address, or localhost."""
    name = host.rpartition(":")[0] if not host.endswith("]") and ":" in host else host
    if name.lower() == "localhost":
        return True
    try:
        ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return False
    return True
