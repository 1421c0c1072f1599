"""A proxy on an event loop of its own, in a thread: tests of it are plain dialogues on blocking sockets."""

import asyncio
import contextlib
import os
import queue
import resource
import select
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from types import TracebackType
from typing import Any, Self

from relay.evidence import unsent_bytes
from relay.proxy import ConnectProxy
from relay.route import Endpoint
from relay.tunnel_loop import TunnelLoop

LOOPS = ("asyncio", "uvloop", "tunnel")
SOON_SECONDS = 10.0
"""For what comes at once; only a failure takes as long."""

Entry = dict[str, Any]


def loop_factory(name: str) -> Callable[[], asyncio.AbstractEventLoop]:
    if name == "asyncio":
        return asyncio.new_event_loop
    if name == "tunnel":
        return TunnelLoop
    import uvloop

    return uvloop.new_event_loop


@contextlib.contextmanager
def settled(loop: str = "asyncio", **options: Any) -> "Iterator[Proxied]":
    """A proxy that must have let go of everything at its end."""
    with Proxied(loop, **options) as running:
        yield running
        assert (0, 0, 0) == running.settled(), "connections, tunnels, tasks"


class Proxied:
    """The proxy, its access log, and what of it is still alive."""

    def __init__(self, loop: str = "asyncio", **options: Any) -> None:
        self._factory = loop_factory(loop)
        self._options = {"listen": (Endpoint("127.0.0.1", 0),), "connect_timeout_seconds": 5.0, **options}
        self._log: queue.Queue[Entry] = queue.Queue()
        self._ready = threading.Event()
        self._stop: Callable[[], None] = lambda: None
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._work, name="proxied")

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(SOON_SECONDS)
        if self._error is not None:
            raise self._error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()
        self._thread.join(SOON_SECONDS)
        assert not self._thread.is_alive()
        if self._error is not None and kind is None:
            raise self._error

    def _work(self) -> None:
        with asyncio.Runner(loop_factory=self._factory) as runner:
            try:
                runner.run(self._serve())
            except BaseException as error:  # noqa: BLE001 - raised again in the test's own thread
                self._error = error
                self._ready.set()

    async def _serve(self) -> None:
        self._loop, stop = asyncio.get_running_loop(), asyncio.Event()
        faults: list[dict[str, Any]] = []
        self._loop.set_exception_handler(lambda _, fault: faults.append(fault))
        self._stop = lambda: self._loop.call_soon_threadsafe(stop.set) and None
        self._own_tasks = {asyncio.current_task()}
        async with ConnectProxy(log=self._log.put, **self._options) as self.proxy:
            self.port = self.proxy.endpoint.port if self.proxy.endpoints else 0
            # Tasks that accept, as long as the proxy runs
            self._standing = asyncio.all_tasks()
            self._ready.set()
            await stop.wait()
        assert [] == [task for task in asyncio.all_tasks() if task not in self._own_tasks], (
            "left after the stop"
        )
        assert [] == faults, "the event loop was told of"

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Run a coroutine on the proxy's loop."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(SOON_SECONDS)

    def entry(self) -> Entry:
        """The next line of the access log."""
        return self._log.get(timeout=SOON_SECONDS)

    def has_entries(self) -> bool:
        return not self._log.empty()

    def client(self, data: bytes = b"") -> socket.socket:
        """A connection to the proxy; `data` is sent in one call."""
        sock = socket.create_connection(("127.0.0.1", self.port), SOON_SECONDS)
        sock.sendall(data)
        return sock

    def reaches(self, wanted: Callable[[ConnectProxy], bool]) -> None:
        """Wait until `wanted` holds of the proxy, as it must soon."""

        async def look() -> None:
            async with asyncio.timeout(SOON_SECONDS):
                while not wanted(self.proxy):  # noqa: ASYNC110 - the proxy tells nobody
                    await asyncio.sleep(0.002)

        self.run(look())

    def settled(self) -> tuple[int, int, int]:
        """Connections, tunnels and tasks that are left, once all that is ending has ended."""

        async def look() -> tuple[int, int, int]:
            left = (0, 0, 0)
            end = self._loop.time() + SOON_SECONDS
            while self._loop.time() < end:
                tasks = asyncio.all_tasks() - self._standing - {asyncio.current_task()}
                left = (self.proxy.connections, len(self.proxy.tunnels), len(tasks))
                if left == (0, 0, 0):
                    break
                await asyncio.sleep(0.002)
            return left

        return self.run(look())


class Target:
    """A listening socket that a test accepts from, one connection after the other."""

    def __init__(self, backlog: int = 16) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=backlog)
        self.listener.settimeout(SOON_SECONDS)
        self.port: int = self.listener.getsockname()[1]
        self.authority = f"127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.listener.close()

    def accept(self) -> socket.socket:
        sock, _ = self.listener.accept()
        sock.settimeout(SOON_SECONDS)
        return sock

    def was_called(self) -> bool:
        """Whether a connection waits to be accepted."""
        return bool(select.select([self.listener], [], [], 0)[0])


FEW_FILES = 40


@contextlib.contextmanager
def proxy_with_few_files() -> Iterator[tuple[int, int]]:
    """The command, which may open FEW_FILES at most: its pid and port. It must end well, and say no more."""

    def few_files() -> None:
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (FEW_FILES, hard))

    program = "import sys; from relay.commands import main; sys.exit(main())"
    with subprocess.Popen(
        [sys.executable, "-c", program, "proxy", "--listen", "127.0.0.1:0"],
        stderr=subprocess.PIPE, text=True, preexec_fn=few_files,  # noqa: PLW1509 - no thread has a lock here
    ) as running:  # fmt: skip
        try:
            assert running.stderr is not None
            yield running.pid, int(running.stderr.readline().rpartition(":")[2])
        finally:
            running.terminate()
            _, told = running.communicate(timeout=2 * SOON_SECONDS)
        assert (0, "relay proxy: stopped\n") == (running.returncode, told)


def connect_head(authority: str, *fields: str, version: str = "1.1") -> bytes:
    lines = [f"CONNECT {authority} HTTP/{version}", f"Host: {authority}", *fields]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def get_head(authority: str, *fields: str, method: str = "GET", version: str = "1.1") -> bytes:
    lines = [f"{method} http://{authority}/path HTTP/{version}", f"Host: {authority}", *fields]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def read_head(sock: socket.socket) -> bytes:
    """Read up to the blank line, and not one byte more."""
    data = b""
    while not data.endswith(b"\r\n\r\n"):
        fresh = sock.recv(1)
        assert fresh, f"closed in the middle of a head: {data!r}"
        data += fresh
    return data


def read_exactly(sock: socket.socket, size: int) -> bytes:
    data = bytearray()
    while len(data) < size:
        fresh = sock.recv(min(size - len(data), 1 << 20))
        assert fresh, f"closed after {len(data)} of {size} bytes"
        data += fresh
    return bytes(data)


def read_all(sock: socket.socket) -> tuple[bytes, str]:
    """All bytes up to the end, and which end it is."""
    data = bytearray()
    try:
        while fresh := sock.recv(1 << 20):
            data += fresh
    except ConnectionResetError:
        return bytes(data), "RST"
    return bytes(data), "FIN"


def reset(sock: socket.socket) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def wait_until_delivered(sock: socket.socket) -> None:
    """Wait until the other end's kernel has all that was sent: a RST throws away what has not left yet."""
    end = time.monotonic() + SOON_SECONDS
    while unsent_bytes(sock):
        assert time.monotonic() < end
        select.select([], [], [], 0.001)


def status_of(reply: bytes) -> int:
    assert reply.startswith(b"HTTP/1.1 "), reply[:200]
    return int(reply[9:12])


def fields_of(head: bytes) -> dict[str, list[str]]:
    """The fields of a head, by their names in lower case."""
    found: dict[str, list[str]] = {}
    for line in head.partition(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")[1:]:
        name, _, value = line.partition(":")
        found.setdefault(name.lower(), []).append(value.strip())
    return found


@contextlib.contextmanager
def tunnel(proxied: Proxied, *, early: bytes = b"") -> Iterator[tuple[socket.socket, socket.socket]]:
    """An open tunnel: the client's end and the target's."""
    with Target() as target, proxied.client(connect_head(target.authority) + early) as near:
        with target.accept() as far:
            assert b"HTTP/1.1 200 Connection established\r\n\r\n" == read_head(near)
            yield near, far


@contextlib.contextmanager
def full_backlog() -> Iterator[Target]:
    """A listener whose queue is full: the kernel drops every further SYN, as a firewall does."""
    with Target(backlog=0) as target, contextlib.ExitStack() as stack:
        while True:
            sock = stack.enter_context(socket.socket())
            sock.setblocking(False)
            sock.connect_ex(("127.0.0.1", target.port))
            if not select.select([], [sock], [], 0.05)[1]:
                break
        yield target


@contextlib.contextmanager
def asked(
    proxied: Proxied, *fields: str, method: str = "GET", version: str = "1.1", body: bytes = b""
) -> Iterator[tuple[socket.socket, socket.socket]]:
    """A request that has reached its origin: the client's connection and the origin's, behind the head."""
    with Target() as target:
        request = get_head(target.authority, *fields, method=method, version=version) + body
        with proxied.client(request) as near, target.accept() as origin:
            read_head(origin)
            yield near, origin


def send_until_refused(sock: socket.socket, size: int) -> None:
    """Send up to `size` bytes; stop when nobody takes them."""
    block = os.urandom(1 << 20)
    try:
        for _ in range(size // (1 << 20)):
            sock.sendall(block)
    except OSError:
        return
