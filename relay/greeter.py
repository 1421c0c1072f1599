"""Greeter: a TCP server that speaks first, as those of SSH and SMTP do, and echoes what it is told."""

import asyncio
import contextlib
import socket
from types import TracebackType
from typing import Self

from relay.dial import reset_socket
from relay.listening import accept_each, bound_endpoint, listen_on
from relay.route import Endpoint

MAX_CONNECTIONS = 1024


class Greeter:
    """Args: words: said to whoever connects. listen: port 0 takes a free one, see `.endpoint`."""

    def __init__(self, words: bytes, listen: Endpoint) -> None:
        self._words = words
        self._listen = listen
        self._sockets: list[socket.socket] = []
        self._accepting: list[asyncio.Task[None]] = []
        self._echoing: set[asyncio.Task[None]] = set()

    @property
    def endpoint(self) -> Endpoint:
        """Where it really listens."""
        return bound_endpoint(self._sockets[0])

    async def __aenter__(self) -> Self:
        self._sockets = listen_on((self._listen,))
        self._accepting = [asyncio.create_task(accept_each(sock, self._greet)) for sock in self._sockets]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        tasks = [*self._accepting, *self._echoing]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for sock in self._sockets:
            sock.close()

    async def _greet(self, sock: socket.socket) -> None:
        if len(self._echoing) >= MAX_CONNECTIONS:
            reset_socket(sock)
            return
        sock.setblocking(False)
        task = asyncio.create_task(self._echo(sock))
        self._echoing.add(task)
        task.add_done_callback(self._echoing.discard)
        # One that is cancelled before it ran has not closed it either
        task.add_done_callback(lambda _: sock.close())

    async def _echo(self, sock: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        with contextlib.suppress(OSError):  # the client is gone, which is its right
            await loop.sock_sendall(sock, self._words)
            while data := await loop.sock_recv(sock, 65_536):
                await loop.sock_sendall(sock, data)
