"""Peers that speak the wire by hand: a client for the emulated server, scripted servers for our clients."""

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Self

from protocol.connection import PacketConnection
from protocol.packet import Packet
from protocol.sealing import Direction, Key
from relay.emulator import EmulatedServer
from relay.framework_client import Backoff, FrameworkClient
from relay.journal import Record
from relay.route import Endpoint, Route

FREE = Endpoint("127.0.0.1", 0)

PATIENCE_SECONDS = 10.0
"""No wait in a test takes longer; reaching it is a failure."""


async def until(condition: Callable[[], bool]) -> None:
    """Let the event loop turn until `condition` holds."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not condition():  # noqa: ASYNC110 - what is waited for happens in a peer that tells nobody
            await asyncio.sleep(0)


def with_reset(sock: socket.socket) -> None:
    """Close with RST."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


class RawClient:
    """A client of the emulated server that can also do what no client should."""

    def __init__(self, sock: socket.socket, key: Key) -> None:
        self.sock = sock
        self.packets = PacketConnection(Direction.CLIENT, key)
        self._loop = asyncio.get_running_loop()

    @classmethod
    async def connect(cls, endpoint: Endpoint, key: Key | None = None, receive_buffer: int = 0) -> Self:
        family = socket.AF_INET6 if ":" in endpoint.host else socket.AF_INET
        sock = socket.socket(family, socket.SOCK_STREAM)
        sock.setblocking(False)
        if receive_buffer:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        await asyncio.get_running_loop().sock_connect(sock, (endpoint.host, endpoint.port))
        return cls(sock, key or Key.public())

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        self.sock.close()

    @property
    def name(self) -> str:
        return str(Endpoint(*self.sock.getsockname()[:2]))

    async def write(self, data: bytes) -> None:
        await self._loop.sock_sendall(self.sock, data)

    async def send(self, *packets: Packet) -> None:
        await self.write(b"".join(self.packets.send(packet) for packet in packets))

    async def receive(self) -> Packet | None:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while (packet := self.packets.next_packet()) is None:
                data = await self._loop.sock_recv(self.sock, 65536)
                if not data:
                    self.packets.receive_eof()
                    return None
                self.packets.receive_data(data)
        return packet

    async def ask(self, packet: Packet) -> Packet:
        await self.send(packet)
        reply = await self.receive()
        assert reply is not None
        return reply

    async def end(self) -> tuple[bytes, str]:
        """Read to the end: what still came, and "fin" or "rst"."""
        got = bytearray()
        async with asyncio.timeout(PATIENCE_SECONDS):
            try:
                while data := await self._loop.sock_recv(self.sock, 65536):
                    got += data
            except ConnectionResetError:
                return bytes(got), "rst"
        return bytes(got), "fin"

    def half_close(self) -> None:
        self.sock.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        with_reset(self.sock)


class Watched:
    """An emulated server, and the records of its connections in the order of their end."""

    def __init__(self, **options: object) -> None:
        self._ended: asyncio.Queue[Record] = asyncio.Queue()
        options.setdefault("listen", (FREE,))
        self.server = EmulatedServer(on_end=self._ended.put_nowait, **options)  # type: ignore[arg-type]
        self._clients: list[RawClient] = []

    async def __aenter__(self) -> Self:
        await self.server.start()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.server.aclose()
        for client in self._clients:
            client.sock.close()

    async def client(self, **options: int) -> RawClient:
        """A client that is closed with the server, if not before."""
        self._clients.append(await RawClient.connect(self.server.endpoint, self.server.key, **options))
        return self._clients[-1]

    async def next_ended(self) -> Record:
        """The record of the next connection that ends."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            return await self._ended.get()


class Conversed:
    """The server's end of one connection in a scripted server."""

    def __init__(self, sock: socket.socket, key: Key) -> None:
        self.sock = sock
        self.packets = PacketConnection(Direction.SERVER, key)
        self._loop = asyncio.get_running_loop()

    async def receive(self) -> Packet | None:
        while (packet := self.packets.next_packet()) is None:
            data = await self._loop.sock_recv(self.sock, 65536)
            if not data:
                return None
            self.packets.receive_data(data)
        return packet

    async def write(self, data: bytes) -> None:
        await self._loop.sock_sendall(self.sock, data)

    async def send(self, packet: Packet) -> None:
        await self.write(self.packets.send(packet))

    async def answer_all(self) -> None:
        """Echo, as long as the client asks."""
        with contextlib.suppress(OSError):
            while (packet := await self.receive()) is not None:
                await self.send(packet)

    def reset(self) -> None:
        with_reset(self.sock)


Scene = Callable[[Conversed], Awaitable[None]]


class ScriptedServer:
    """Plays one scene for each connection, in the order in which they come; the last one for all others."""

    def __init__(self, *scenes: Scene, key: Key | None = None) -> None:
        self._scenes = list(scenes)
        self._key = key or Key.public()
        self.connections = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._listener: socket.socket | None = None
        self.endpoint = FREE

    async def __aenter__(self) -> Self:
        self.open()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()

    def open(self) -> None:
        """Listen; again where it listened before."""
        self._listener = socket.create_server((self.endpoint.host, self.endpoint.port))
        self._listener.setblocking(False)
        self.endpoint = Endpoint(*self._listener.getsockname()[:2])
        self._start(self._accept(self._listener))

    async def close(self) -> None:
        """Stop listening and drop all connections."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._listener is not None:
            self._listener.close()

    async def _accept(self, listener: socket.socket) -> None:
        while True:
            sock, _ = await asyncio.get_running_loop().sock_accept(listener)
            scene = self._scenes[min(self.connections, len(self._scenes) - 1)]
            self.connections += 1
            self._start(self._play(scene, sock))

    async def _play(self, scene: Scene, sock: socket.socket) -> None:
        with sock, contextlib.suppress(OSError):
            await scene(Conversed(sock, self._key))

    def _start(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


@contextlib.asynccontextmanager
async def nothing_unheard() -> AsyncIterator[None]:
    """Nothing may reach the loop's exception handler."""
    unheard: list[dict[str, object]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: unheard.append(context))
    yield
    await asyncio.sleep(0)
    assert [] == unheard


def sealed_by_hand(packed: bytes) -> bytes:
    """The first frame of a client, with `packed` in it as it is."""
    length, nonce = (len(packed) + 20).to_bytes(4), bytes(12)
    return length + nonce + Key.public().cipher.encrypt(nonce, packed, length + bytes(9))


QUICK = Backoff(first_seconds=0.001, most_seconds=0.01, give_up_seconds=5.0)


def client_of(server: ScriptedServer | Watched, **options: object) -> FrameworkClient:
    endpoint = server.endpoint if isinstance(server, ScriptedServer) else server.server.endpoint
    options.setdefault("backoff", QUICK)
    return FrameworkClient(Route(endpoint), **options)  # type: ignore[arg-type]


class Counted:
    """Scenes that share one list of all requests that have reached the server."""

    def __init__(self) -> None:
        self.requests: list[bytes] = []

    async def answer(self, peer: Conversed) -> None:
        while (packet := await self.take(peer)) is not None:
            await peer.send(packet)

    async def take(self, peer: Conversed) -> Packet | None:
        packet = await peer.receive()
        if packet is not None:
            self.requests.append(packet.argument)
        return packet

    def after_one_answer(self, end: Callable[[Conversed], None]) -> Scene:
        async def scene(peer: Conversed) -> None:
            packet = await self.take(peer)
            assert packet is not None
            await peer.send(packet)
            end(peer)

        return scene

    async def reset_on_request(self, peer: Conversed) -> None:
        await self.take(peer)
        peer.reset()

    async def close_on_request(self, peer: Conversed) -> None:
        await self.take(peer)

    async def cut_the_answer(self, peer: Conversed) -> None:
        packet = await self.take(peer)
        assert packet is not None
        await peer.write(peer.packets.send(packet)[:-1])

    async def stay_silent(self, peer: Conversed) -> None:
        while await self.take(peer) is not None:
            pass
