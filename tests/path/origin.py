"""What real clients fetch through the proxy: an HTTP origin inside the test, and a plain TCP far end."""

import asyncio
import hashlib
import random
import ssl
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import trustme
from aiohttp import web

from relay.route import Endpoint
from tests.path.real import environment

MAX_BODY_BYTES = 64 * 2**20
Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def some_bytes(count: int) -> bytes:
    """Return `count` pseudo-random bytes, the same ones each time."""
    return random.Random(count).randbytes(count)


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def server_tls(certificate: bytes) -> ssl.SSLContext:
    """Return a context for a server that shows `certificate` (PEM with its key)."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.NamedTemporaryFile() as file:
        Path(file.name).write_bytes(certificate)
        context.load_cert_chain(file.name)
    return context


def client_tls(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


async def give_bytes(request: web.Request) -> web.Response:
    """`/bytes/N`: N bytes with a Content-Length."""
    return web.Response(body=some_bytes(int(request.match_info["count"])))


async def give_chunks(request: web.Request) -> web.StreamResponse:
    """`/chunks/N`: N bytes in chunks; to HTTP/1.0 until the connection closes."""
    response = web.StreamResponse()
    if request.version >= (1, 1):
        response.enable_chunked_encoding()
    await response.prepare(request)
    data = some_bytes(int(request.match_info["count"]))
    for start in range(0, len(data), 10_000):
        await response.write(data[start : start + 10_000])
    return response


async def take_body(request: web.Request) -> web.Response:
    """`/take`: what came, as one line of words."""
    body = await request.read()
    how = request.headers.get("Transfer-Encoding", "sized")
    via = "via" if "Via" in request.headers else "direct"
    return web.Response(text=f"{request.method} {how} {via} {len(body)} {digest(body)}\n")


def application(folder: Path) -> web.Application:
    """Make the origin; `/files/` gives what is in `folder`, `/git/` its repositories by git's own server."""
    app = web.Application(client_max_size=MAX_BODY_BYTES)
    app.router.add_get("/bytes/{count}", give_bytes)
    app.router.add_get("/chunks/{count}", give_chunks)
    app.router.add_route("*", "/take", take_body)
    app.router.add_route("*", "/git/{path:.*}", GitBackend(folder).serve)
    app.router.add_static("/files", folder, show_index=True)
    return app


class GitBackend:
    """`git http-backend`, which is a CGI program (RFC 3875)."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def serve(self, request: web.Request) -> web.Response:
        body = await request.read()
        process = await asyncio.create_subprocess_exec(
            "git",
            "http-backend",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env=environment(
                GIT_PROJECT_ROOT=str(self._folder),
                GIT_HTTP_EXPORT_ALL="1",
                GIT_CONFIG_NOSYSTEM="1",
                REMOTE_ADDR="127.0.0.1",
                REMOTE_USER="tester",  # without a user nobody may push
                REQUEST_METHOD=request.method,
                PATH_INFO=f"/{request.match_info['path']}",
                QUERY_STRING=request.query_string,
                CONTENT_TYPE=request.headers.get("Content-Type", ""),
                CONTENT_LENGTH=str(len(body)),
                HTTP_CONTENT_ENCODING="",  # aiohttp has inflated it
                GIT_PROTOCOL=request.headers.get("Git-Protocol", ""),
            ),
        )
        answer, _ = await process.communicate(body)
        head, _, content = answer.partition(b"\r\n\r\n")
        fields = dict(line.split(": ", 1) for line in head.decode().split("\r\n"))
        status = int(fields.pop("Status", "200 OK").split()[0])
        return web.Response(status=status, headers=fields, body=content)


@asynccontextmanager
async def tcp_server(serve: Serve, host: str = "127.0.0.1") -> AsyncIterator[Endpoint]:
    """Run `serve(reader, writer)` for every connection; what is left of them in the end is cut off."""
    tasks: set[asyncio.Task[None]] = set()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            await serve(reader, writer)
        finally:
            writer.close()
            tasks.discard(task)

    server = await asyncio.start_server(connected, host, 0)
    try:
        yield Endpoint(*server.sockets[0].getsockname())
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def echo_counted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Read a line with a number and so many bytes; send the bytes back and close. Needs no half-close."""
    count = int(await reader.readline())
    writer.write(await reader.readexactly(count))
    await writer.drain()


async def digest_after_end(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer only after the client's last word: the answer is lost where half-close does not work."""
    body = await reader.read(-1)
    writer.write(f"{len(body)} {digest(body)}\n".encode())
    await writer.drain()
