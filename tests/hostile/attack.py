"""Hostile clients, all in one process: `python -m tests.hostile.attack PORT REFUSED ORIGIN SECONDS`.

Each kind begins again until the time is up, and once at least. What became of each is printed as JSON.
"""

import asyncio
import json
import random
import resource
import socket
import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

PATIENCE_SECONDS = 60.0
"""Far beyond the proxy's own limits: who is not cut by then never is."""

AT_ONCE = 100
FIELD = b"X-Bomb: " + b"a" * 8000 + b"\r\n"
BOMB_FIELDS = 1000
BODY = b"%x\r\n%b\r\n" % (65_536, bytes(65_536))

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
ended: Counter[str] = Counter()


class Attack:
    """Where to, and what becomes of it."""

    def __init__(self, port: int, refused: int, origin: int) -> None:
        self._port = port
        self._connect = b"CONNECT 127.0.0.1:%d HTTP/1.1\r\nHost: x\r\n" % refused
        self._post = b"POST http://127.0.0.1:%d/ HTTP/1.1\r\nHost: x\r\n" % origin
        self._gate = asyncio.Semaphore(AT_ONCE)
        self._random = random.Random(1)

    @asynccontextmanager
    async def _open(self) -> AsyncIterator[Streams]:
        for left in (2, 1, 0):
            try:
                streams = await asyncio.open_connection("127.0.0.1", self._port)
                break
            except OSError:
                # The proxy's queue is full: what hostile clients may well do to each other
                if not left:
                    raise
        try:
            yield streams
        finally:
            streams[1].transport.abort()

    async def _until_cut(self, kind: str, streams: Streams) -> None:
        """Read to the end, which must come."""
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                reply = await streams[0].read()
            ended[f"{kind} {reply[9:12].decode('latin-1') or 'closed'}"] += 1
        except TimeoutError:
            ended[f"{kind} never cut"] += 1
        except OSError:
            ended[f"{kind} reset"] += 1

    async def _dribble(self, streams: Streams, data: bytes, pause_seconds: float) -> None:
        """A piece now and then, until the other side has enough."""
        reader, writer = streams
        while not reader.at_eof() and not writer.is_closing():
            writer.write(data)
            try:
                await writer.drain()
            except OSError:
                return
            await asyncio.sleep(pause_seconds)

    async def _slow(self, kind: str, begin: bytes, piece: bytes, pause_seconds: float) -> None:
        async with self._open() as streams:
            streams[1].write(begin)
            sending = asyncio.create_task(self._dribble(streams, piece, pause_seconds))
            await self._until_cut(kind, streams)
            sending.cancel()

    async def slowloris(self) -> None:
        await self._slow("slowloris", self._connect, b"X-a: b\r\n", 1.0)

    async def dribble(self) -> None:
        await self._slow("dribble", b"", b"C", 0.1)

    async def _once(self, kind: str, data: bytes) -> None:
        async with self._open() as streams:
            streams[1].write(data)
            await self._until_cut(kind, streams)

    async def half_head(self) -> None:
        await self._once("half head", self._connect[:-3])

    async def silent(self) -> None:
        await self._once("silent", b"")

    async def garbage(self) -> None:
        async with self._gate:
            parts = [self._connect + b"\r\n", b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01", b"\0" * 999]
            await self._once("garbage", b"".join(self._random.choices(parts, k=50)))

    async def refused(self) -> None:
        async with self._gate:
            await self._once("refused", self._connect + b"\r\n")

    async def bomb(self) -> None:
        async with self._gate, self._open() as streams:
            streams[1].write(self._connect)
            try:
                for _ in range(BOMB_FIELDS):
                    streams[1].write(FIELD)
                    await streams[1].drain()
                    if streams[0].at_eof():
                        break
            except OSError:
                ended["bomb reset"] += 1
                return
            await self._until_cut("bomb", streams)

    async def connect_and_close(self) -> None:
        async with self._gate, self._open():
            ended["connect and close"] += 1

    async def endless_body(self) -> None:
        """To an origin that reads nothing, then to its end."""
        async with self._open() as streams:
            streams[1].write(self._post + b"Transfer-Encoding: chunked\r\n\r\n")
            sending = asyncio.create_task(self._dribble(streams, BODY, 0.0))
            await self._until_cut("endless body", streams)
            sending.cancel()


def kinds(attack: Attack) -> list[tuple[int, Callable[[], Awaitable[None]]]]:
    """How many of each there are at once, or one after the other behind the gate."""
    return [
        (2000, attack.slowloris), (200, attack.half_head), (200, attack.silent), (50, attack.dribble),
        (300, attack.garbage), (50, attack.bomb), (10_000, attack.connect_and_close),
        (2000, attack.refused), (20, attack.endless_body),
    ]  # fmt: skip


async def again(count: int, one: Callable[[], Awaitable[None]], end_seconds: float) -> None:
    """All of a kind, until the time is up."""
    while True:
        results = await asyncio.gather(*(one() for _ in range(count)), return_exceptions=True)
        for failed in results:
            if isinstance(failed, BaseException) and not isinstance(failed, OSError):
                raise failed
            ended["could not connect"] += isinstance(failed, OSError)
        if asyncio.get_running_loop().time() >= end_seconds:
            return


async def run(port: int, refused: int, origin: int, seconds: float) -> None:
    """All kinds at the same time."""
    attack = Attack(port, refused, origin)
    end_seconds = asyncio.get_running_loop().time() + seconds
    await asyncio.gather(*(again(count, one, end_seconds) for count, one in kinds(attack)))


if __name__ == "__main__":
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    socket.setdefaulttimeout(PATIENCE_SECONDS)
    asyncio.run(run(int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])))
    print(json.dumps(ended))
