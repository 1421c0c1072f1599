"""A client that looks at how its connection ends: with FIN, or with RST."""

import asyncio
import contextlib
import socket

from relay.route import Endpoint

FIN, RST = "FIN", "RST"
SOON_SECONDS = 15.0


async def connected(endpoint: Endpoint) -> socket.socket:
    sock = socket.socket()
    sock.setblocking(False)
    await asyncio.get_running_loop().sock_connect(sock, (endpoint.host, endpoint.port))
    return sock


async def read_to_end(sock: socket.socket) -> tuple[bytes, str]:
    """Return what still comes, and how it ends: FIN or RST."""
    received = b""
    async with asyncio.timeout(SOON_SECONDS):
        while True:
            try:
                data = await asyncio.get_running_loop().sock_recv(sock, 65_536)
            except ConnectionResetError:
                return received, RST
            if not data:
                return received, FIN
            received += data


async def end_of(endpoint: Endpoint) -> tuple[bytes, str]:
    """Connect as a client that speaks first; return what comes and how it ends."""
    with await connected(endpoint) as sock:
        with contextlib.suppress(ConnectionResetError):
            await asyncio.get_running_loop().sock_sendall(sock, b"hello")
        return await read_to_end(sock)
