"""Much through one tunnel, and many clients whose server dies: `relay proxy` as a process of its own."""

import asyncio
import hashlib
import os
import random
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from protocol.packet import Packet
from relay.blocking import open_tunnel
from relay.failure import AnswerLost
from relay.framework_client import Backoff, FrameworkClient, Reconnecting
from relay.pipe import BlockingStream, SocketPipe
from relay.route import Endpoint, Hop, Route
from tests.path import peers
from tests.path.real import free_endpoint, relay_command

BULK_MIB = int(os.environ.get("RELAY_TEST_BULK_MIB", "1024"))
"""How much goes each way; a smaller figure is for machines that are slow, not for CI."""

MIB = 2**20
MAX_PROXY_MIB = 120
"""What the proxy may take at most: Python and aiohttp are half of it, the bytes on their way the rest."""


class Source:
    """Pseudo-random MiB after MiB, each with its number in it, made faster than any tunnel takes them."""

    def __init__(self, seed: int) -> None:
        self._block = bytearray(random.Random(seed).randbytes(MIB))

    def block(self, number: int) -> bytearray:
        self._block[:8] = number.to_bytes(8)
        return self._block


def send_all(stream: BlockingStream, seed: int) -> str:
    """Send BULK_MIB and our last word; return the SHA-256 of it."""
    source, sha = Source(seed), hashlib.sha256()
    for number in range(BULK_MIB):
        block = source.block(number)
        stream.write(block)
        sha.update(block)
    stream.half_close()
    return sha.hexdigest()


def receive_all(stream: BlockingStream) -> tuple[int, str]:
    """Read to the end; return how much it was, and its SHA-256."""
    count, sha = 0, hashlib.sha256()
    while data := stream.read(MIB):
        count += len(data)
        sha.update(data)
    return count, sha.hexdigest()


def highest_memory_mib(pid: int) -> float:
    """Return the most that a process ever had in memory (proc(5), VmHWM)."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    [line] = [line for line in lines if line.startswith("VmHWM:")]
    return int(line.split()[1]) / 1024


@pytest.mark.timeout(600)
def test_bulk_both_ways_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    """All arrives as it was sent, both ways at the same time, and the proxy's memory stays bounded."""
    with socket.create_server(("127.0.0.1", 0)) as listener, peers.relay_proxy() as proxy:
        target = Endpoint(*listener.getsockname())
        near = open_tunnel(Route(target, (Hop(proxy.endpoint),)))
        sock, _ = listener.accept()
        far = SocketPipe(sock)
        before_mib = highest_memory_mib(proxy.process.pid)
        began = time.monotonic()
        with ThreadPoolExecutor(4) as threads:
            sent = [threads.submit(send_all, stream, seed) for seed, stream in enumerate((near, far))]
            received = [threads.submit(receive_all, stream) for stream in (far, near)]
        seconds = time.monotonic() - began
        used_mib = highest_memory_mib(proxy.process.pid)
        near.close()
        far.close()
        proxy.stop()
    with capsys.disabled():
        print(
            f"\n{BULK_MIB} MiB each way in {seconds:.1f} s, {2 * BULK_MIB / seconds:.0f} MiB/s together;"
            f" the proxy took {used_mib:.0f} MiB at most, {before_mib:.0f} MiB of it before"
        )
    size = BULK_MIB * MIB
    assert [(size, future.result()) for future in sent] == [future.result() for future in received]
    assert used_mib < MAX_PROXY_MIB
    [entry] = proxy.logged
    assert (size, size) == (entry["bytes_up"], entry["bytes_down"])


# the server dies under its clients


CLIENTS = 100
ROUNDS = 5
LOST = b"lost"
QUICK = Backoff(first_seconds=0.02, most_seconds=0.3, give_up_seconds=40.0)


@dataclass
class Life:
    """One client: what it asked and got, and what it was told of its connection."""

    number: int
    client: FrameworkClient
    asked: list[bytes] = field(default_factory=list)
    answers: list[bytes] = field(default_factory=list)
    has_begun: asyncio.Event = field(default_factory=asyncio.Event)
    has_heard: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self) -> None:
        """Go on until the server has died, and some rounds more."""
        for _ in range(ROUNDS):
            await self._round()
        self.has_begun.set()
        while not self.has_heard.is_set():
            await self._round()
        for _ in range(ROUNDS):
            await self._round()

    async def _round(self) -> None:
        """A ping, an echo that may be repeated, and one that may not; no two echoes are alike."""
        await self.client.ping()
        await self._echo(safe_to_repeat=True)
        try:
            await self._echo(safe_to_repeat=False)
        except AnswerLost:
            self.answers.append(LOST)

    async def _echo(self, *, safe_to_repeat: bool) -> None:
        words = b"client %d, request %d" % (self.number, len(self.asked))
        self.asked.append(words)
        reply = await self.client.request(Packet.echo(words), safe_to_repeat=safe_to_repeat)
        self.answers.append(reply.argument)


def new_life(number: int, route: Route) -> Life:
    def tell(_: Reconnecting) -> None:
        made.has_heard.set()

    made = Life(number, FrameworkClient(route, backoff=QUICK, on_reconnect=tell))
    return made


@pytest.mark.timeout(120)
async def test_a_server_that_dies_under_a_hundred_clients() -> None:
    """Each client goes on when the server is back: each of its answers comes once and in order.

    Only a request that may not be repeated, and was under way when the server died, may be told as lost.
    """
    server_at = free_endpoint()
    with peers.relay_proxy() as proxy:
        lives = [new_life(number, Route(server_at, (Hop(proxy.endpoint),))) for number in range(CLIENTS)]
        async with asyncio.TaskGroup() as group:
            with relay_command("server", listen=server_at) as server:
                tasks = [group.create_task(life.run()) for life in lives]
                await asyncio.gather(*(life.has_begun.wait() for life in lives))
                server.kill()
            # All of them know before it is back, and go on trying
            await asyncio.gather(*(life.has_heard.wait() for life in lives))
            with relay_command("server", listen=server_at):
                await asyncio.gather(*tasks)
                await asyncio.gather(*(life.client.aclose() for life in lives))
    lost = [life.answers.count(LOST) for life in lives]
    for life, count in zip(lives, lost, strict=True):
        assert count <= 1
        pairs = zip(life.asked, life.answers, strict=True)
        assert [] == [pair for pair in pairs if pair[1] not in (pair[0], LOST)]
    assert CLIENTS * 2 * 2 * ROUNDS <= sum(len(life.answers) for life in lives)
    assert [2] * CLIENTS == [life.client.connections_made for life in lives]
