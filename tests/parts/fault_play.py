"""Send a script of chunks through a fault, in virtual time, and write down what comes out."""

from dataclasses import dataclass, field
from random import Random
from typing import Any

from relay.fault import Chunk, Chunks, Cut, HardReset, PeerReset, close, now, sleep_until
from relay.fault_rule import rule_from_table
from relay.faults import FAULTS
from tests.parts.virtual_time import in_virtual_time

END, RESET, OPEN = "end", "peer-reset", "open"
HEAD = b"HTTP/1.1 200 Connection established\r\n\r\n"
Step = tuple[float, bytes | str]


@dataclass
class Played:
    """What came out: (seconds, bytes), how it ended, and when. Empty chunks are left out."""

    chunks: list[tuple[float, bytes]] = field(default_factory=list)
    end: str = ""
    end_seconds: float = 0.0

    @property
    def data(self) -> bytes:
        return b"".join(data for _, data in self.chunks)


async def script(steps: tuple[Step, ...], *, with_head: bool, early: bytes = b"") -> Chunks:
    if with_head:
        yield Chunk(HEAD, now(), is_head=True)
    if early:
        yield Chunk(early, now(), is_early=True)
    for seconds, step in steps:
        await sleep_until(seconds)
        if step == RESET:
            raise PeerReset
        if step == OPEN:
            await sleep_until(1e6)
        if isinstance(step, bytes):
            yield Chunk(step, seconds)


async def record(chunks: Chunks) -> Played:
    """Drain `chunks`."""
    played = Played()
    try:
        async for chunk in chunks:
            if chunk.data:
                played.chunks.append((round(now(), 6), chunk.data))
        played.end = "ended"
    except HardReset:
        played.end = "reset"
    except PeerReset:
        played.end = "peer-reset"
    except Cut:
        played.end = "cut"
    finally:
        await close(chunks)
    played.end_seconds = round(now(), 6)
    return played


def play(name: str, *steps: Step, seed: int = 1, early: bytes = b"", **options: Any) -> Played:
    """Send `steps` through one fault; a fault that is shown the reply to CONNECT gets that first."""
    fault = FAULTS[name]
    given = dict(rule_from_table({"name": name, **options}).options)
    ambient = {"rng": Random(seed), "shared": {}}
    given |= {name: value for name, value in ambient.items() if name in fault.ambient}

    async def work() -> Played:
        return await record(fault(script(steps, with_head=fault.at_connect, early=early), **given))

    played: Played = in_virtual_time(work())
    return played
