"""What the requests of persona_cases lead to: one port for each behaviour, and one that is closed."""

import contextlib
import queue
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from tests.path.proxied import SOON_SECONDS, reset

LAST_WORD = b"[target saw EOF]"
"""What a target answers to the end of its input."""

PAGE = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Type: text/plain\r\n\r\nhello"


@dataclass(frozen=True)
class Lab:
    """Names and ports as they stand in requests; the defaults are those of the recordings."""

    echo: int = 5000
    banner: int = 5001
    half: int = 5002
    closes: int = 5003
    resets: int = 5004
    resets_later: int = 5005
    counts: int = 5008
    ends: int = 5009
    http: int = 5080
    closed: int = 5099
    denied: int = 25
    name: str = "echo.test"
    missing: str = "nx.test"
    denied_name: str = "denied.test"
    user: str = "user"
    password: str = "pass"

    @property
    def ports(self) -> list[int]:
        """Where CONNECT may go."""
        mentioned = [self.echo, self.banner, self.half, self.closes, self.resets, self.resets_later]
        return [443, *mentioned, self.counts, self.ends, self.closed]


def _echo(sock: socket.socket) -> str:
    while data := sock.recv(65_536):
        sock.sendall(b"echo:" + data)
    sock.sendall(LAST_WORD)
    return "FIN"


def _banner(sock: socket.socket) -> str:
    sock.sendall(b"BANNER\r\n")
    return _echo(sock)


def _half(sock: socket.socket) -> str:
    """Say the last word first, and go on reading."""
    heard = sock.recv(100)
    sock.sendall(b"BYE")
    sock.shutdown(socket.SHUT_WR)
    while data := sock.recv(65_536):
        heard += data
    return heard.decode()


def _closes(sock: socket.socket) -> str:
    return "closed"


def _resets(sock: socket.socket) -> str:
    reset(sock)
    return "reset"


def _resets_later(sock: socket.socket) -> str:
    sock.recv(100)
    reset(sock)
    return "reset"


def _counts(sock: socket.socket) -> str:
    size = 0
    while data := sock.recv(1 << 20):
        size += len(data)
    sock.sendall(LAST_WORD)
    return str(size)


def _http(sock: socket.socket) -> str:
    head = b""
    while b"\r\n\r\n" not in head:
        data = sock.recv(65_536)
        if not data:
            return "no request"
        head += data
    sock.sendall(PAGE)
    return head.decode("latin-1")


BEHAVIOURS: dict[str, Callable[[socket.socket], str]] = {
    "echo": _echo,
    "banner": _banner,
    "half": _half,
    "closes": _closes,
    "resets": _resets,
    "resets_later": _resets_later,
    "counts": _counts,
    "ends": _echo,
    "http": _http,
}


class Targets:
    """All of them, on 127.0.0.1 and, where there is one, on ::1; what each connection came to is kept."""

    def __init__(self) -> None:
        self.heard: dict[str, queue.Queue[str]] = {name: queue.Queue() for name in BEHAVIOURS}
        self.ports: dict[str, int] = {}
        self._is_stopping = False
        self._threads: list[threading.Thread] = []
        self._open: set[socket.socket] = set()
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Self:
        for name in BEHAVIOURS:
            first = self._listen(name, socket.AF_INET, "127.0.0.1", 0)
            self.ports[name] = first
            with contextlib.suppress(OSError):
                self._listen(name, socket.AF_INET6, "::1", first)
        closed = self._stack.enter_context(socket.socket())
        closed.bind(("127.0.0.1", 0))
        self.ports["closed"] = closed.getsockname()[1]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._is_stopping = True
        for sock in list(self._open):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        self._stack.close()
        for thread in self._threads:
            thread.join(SOON_SECONDS)

    def _listen(self, name: str, family: socket.AddressFamily, host: str, port: int) -> int:
        listener = socket.create_server((host, port), family=family, backlog=64)
        # A thread that accepts does not notice a close, but a shutdown
        self._stack.callback(listener.close)
        self._stack.callback(listener.shutdown, socket.SHUT_RDWR)
        self._begin(self._accept, listener, name)
        bound: int = listener.getsockname()[1]
        return bound

    def _begin(self, work: Callable[[socket.socket, str], None], sock: socket.socket, name: str) -> None:
        thread = threading.Thread(target=work, args=(sock, name))
        self._threads.append(thread)
        thread.start()

    def _accept(self, listener: socket.socket, name: str) -> None:
        while not self._is_stopping:
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            self._begin(self._serve, sock, name)

    def _serve(self, sock: socket.socket, name: str) -> None:
        self._open.add(sock)
        with sock:
            sock.settimeout(60)
            try:
                came_to = BEHAVIOURS[name](sock)
            except OSError as error:
                came_to = "RST" if isinstance(error, ConnectionError) else str(error)
            self.heard[name].put(came_to)
            self._open.discard(sock)

    def lab(self, **options: str | int) -> Lab:
        """Their own ports, for requests to real proxies."""
        return Lab(**{**self.ports, **options})  # type: ignore[arg-type]
