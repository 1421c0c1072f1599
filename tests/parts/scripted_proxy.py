"""A proxy that plays scenes over real sockets in threads, and the two ways to open a tunnel through it."""

import asyncio
import base64
import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from typing import Any, Protocol, Self

import relay.blocking
import relay.tunnel
from relay.pipe import BlockingStream
from relay.route import Endpoint, Hop, Route
from relay.stream import Stream
from tests.parts.framework_peers import PATIENCE_SECONDS, with_reset

DEST = Endpoint("dest.example", 5000)
OK = b"HTTP/1.1 200 Connection established\r\n\r\n"


class Played(threading.Thread):
    """One connection to the proxy, on a thread that plays its scene. `heads`: the requests that came."""

    def __init__(self, proxy: "ScriptedProxy", sock: socket.socket, scene: "Scene") -> None:
        super().__init__(name="scripted proxy")
        self.sock = sock
        self.heads: list[bytes] = []
        self.rest = b""
        self._proxy = proxy
        self._scene = scene

    def run(self) -> None:
        with contextlib.suppress(OSError, EOFError):
            if self._proxy.tls is not None:
                self.sock = self._proxy.tls.wrap_socket(self.sock, server_side=True)
            self._scene(self)
        self.sock.close()

    def head(self) -> bytes:
        """Read one request head."""
        while b"\r\n\r\n" not in self.rest:
            data = self.sock.recv(65536)
            if not data:
                raise EOFError
            self.rest += data
        head, blank, self.rest = self.rest.partition(b"\r\n\r\n")
        self.heads.append(head + blank)
        return self.heads[-1]

    def write(self, *pieces: bytes) -> None:
        """Write each piece in a segment of its own."""
        for piece in pieces:
            self.sock.sendall(piece)

    def echo(self) -> None:
        """Give back what comes until the client has said its last word."""
        self.write(self.rest)
        while data := self.sock.recv(65536):
            self.sock.sendall(data)

    def wait_for_end(self) -> None:
        while self.sock.recv(65536):
            pass

    def dribble(self, piece: bytes, every_seconds: float) -> None:
        """Write `piece` again and again, until the client or the test has gone."""
        while not self._proxy.is_over.wait(every_seconds):
            self.sock.sendall(piece)

    def reset(self) -> None:
        with_reset(self.sock)


Scene = Callable[[Played], None]


class ScriptedProxy:
    """Plays one scene for each connection, in the order in which they come; the last one for all others."""

    def __init__(self, *scenes: Scene, tls: ssl.SSLContext | None = None) -> None:
        self._scenes = scenes
        self.tls = tls
        self.played: list[Played] = []
        self.is_over = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.endpoint = Endpoint(*self._listener.getsockname()[:2])
        self._accepting = threading.Thread(target=self._accept, name="scripted proxy accepts")

    @property
    def heads(self) -> list[bytes]:
        """Every request head, in the order of connections."""
        return [head for played in self.played for head in played.heads]

    def hop(self, **options: Any) -> Hop:
        return Hop(self.endpoint, tls=self.tls is not None, **options)

    def route(self, **options: Any) -> Route:
        return Route(DEST, (self.hop(**options),))

    def __enter__(self) -> Self:
        self._accepting.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.is_over.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._accepting.join()
        self._listener.close()
        for played in self.played:
            with contextlib.suppress(OSError):
                played.sock.shutdown(socket.SHUT_RDWR)
            played.join()
            played.sock.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                sock = self._listener.accept()[0]
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                scene = self._scenes[min(len(self.played), len(self._scenes) - 1)]
                self.played.append(Played(self, sock, scene))
                self.played[-1].start()


class Tunnel(Protocol):
    """An open tunnel, whichever way it was opened."""

    def read(self, limit_bytes: int = 65536) -> bytes: ...
    def write(self, data: bytes) -> None: ...
    def half_close(self) -> None: ...


class AsyncTunnel:
    """A Stream, awaited call by call."""

    def __init__(self, runner: asyncio.Runner, stream: Stream) -> None:
        self._runner = runner
        self.stream = stream

    def read(self, limit_bytes: int = 65536) -> bytes:
        async def read() -> bytes:
            async with asyncio.timeout(PATIENCE_SECONDS):
                return await self.stream.read(limit_bytes)

        return self._runner.run(read())

    def write(self, data: bytes) -> None:
        self._runner.run(self.stream.write(data))

    def half_close(self) -> None:
        self._runner.run(self.stream.half_close())


Opening = Callable[..., Tunnel]


@contextlib.contextmanager
def by_asyncio() -> Iterator[Opening]:
    """relay.tunnel.open_tunnel; what was opened is closed at the end."""
    opened: list[Stream] = []
    unheard: list[dict[str, Any]] = []
    with asyncio.Runner() as runner:
        runner.get_loop().set_exception_handler(lambda _, context: unheard.append(context))

        def open_tunnel(route: Route, **options: Any) -> Tunnel:
            opened.append(runner.run(relay.tunnel.open_tunnel(route, **options)))
            return AsyncTunnel(runner, opened[-1])

        yield open_tunnel
        for stream in opened:
            runner.run(stream.aclose())
    assert [] == unheard


@contextlib.contextmanager
def by_threads() -> Iterator[Opening]:
    """relay.blocking.open_tunnel; what was opened is closed at the end."""
    opened: list[BlockingStream] = []

    def open_tunnel(route: Route, **options: Any) -> Tunnel:
        opened.append(relay.blocking.open_tunnel(route, **options))
        opened[-1].fileno_socket().settimeout(PATIENCE_SECONDS)
        return opened[-1]

    yield open_tunnel
    for stream in opened:
        stream.close()


WAYS = {"asyncio": by_asyncio, "threads": by_threads}


def read_exactly(tunnel: Tunnel, count: int) -> bytes:
    data = b""
    while len(data) < count and (more := tunnel.read(count - len(data))):
        data += more
    return data


def basic(user: str, password: str) -> bytes:
    """The header that a login makes."""
    pair = base64.b64encode(f"{user}:{password}".encode())
    return b"Proxy-Authorization: Basic " + pair + b"\r\n"


def challenge(*fields: bytes, body: bytes = b"") -> bytes:
    """A 407 that offers Basic."""
    head = [b"HTTP/1.1 407 Proxy Authentication Required", b'Proxy-Authenticate: Basic realm="lab"']
    return b"\r\n".join([*head, b"Content-Length: %d" % len(body), *fields, b"", body])
