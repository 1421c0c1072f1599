"""What a fault is: a bad habit of a network, done to the bytes of one direction of a tunnel.

A fault is an async generator over chunks. Its own annotated keyword parameters are its options, with the
unit in the name; the command line and TOML read the signature. The simplest one says it all:

    @fault(seen_as="answers come late, none is lost")
    async def latency(chunks: Chunks, *, seconds: float = 0.1) -> Chunks:
        async for chunk in chunks:
            yield await chunk.later(seconds)

- The first chunk of the way down is the proxy's reply to CONNECT, alone. Asking for it is what makes the
  proxy dial: a fault that never asks keeps the target from ever being reached. Only faults `at_connect`, and
  those that say `sees_head`, are shown it; for all others the input begins behind it.
- The end of `chunks` is the source's half-close; ending after it passes the half-close on.
- Ending before it closes the tunnel both ways, by FIN; `raise HardReset` does it by RST.
- A chunk carries the time at which it was received, so a delay does not throttle; whoever delays a chunk
  moves its time on, so two delays add up.
- A parameter named `rng` gets a `random.Random` that is seeded for this tunnel, and one named `shared` a
  dict that all tunnels of the same rule have in common.
"""

import asyncio
import inspect
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Literal, get_args, get_origin, get_type_hints

# What a fault holds back for ever it holds for an hour: nobody waits longer, and nothing is held for good.
HOLD_SECONDS = 3600.0
AMBIENT = ("chunks", "rng", "shared")


@dataclass(frozen=True, slots=True)
class Chunk:
    """Bytes of one direction.

    received_seconds: when they were received, on the event loop's clock.
    is_head: this is the proxy's own reply, not yet the tunnel; is_refusal: and it is no 2xx.
    is_early: the client sent them before the reply.
    """

    data: bytes
    received_seconds: float
    is_head: bool = False
    is_refusal: bool = False
    is_early: bool = False

    async def later(self, seconds: float) -> "Chunk":
        """Wait until `seconds` after it was received, and return it with that time."""
        return await self.at(self.received_seconds + seconds)

    async def at(self, seconds: float) -> "Chunk":
        """Wait until `seconds` on the loop's clock, and return it with that time."""
        await sleep_until(seconds)
        return replace(self, received_seconds=seconds)

    def with_data(self, data: bytes) -> "Chunk":
        """The same, with other bytes."""
        return replace(self, data=data)


Chunks = AsyncIterator[Chunk]


class HardReset(Exception):
    """End the tunnel with RST both ways."""


class Cut(Exception):
    """End the tunnel with FIN both ways, also behind the end of the input."""


class PeerReset(Exception):
    """The source of the chunks has sent RST, or is gone. A fault may catch it: a clean end hides it then."""


class Direction(StrEnum):
    """Which way: `up` from the client to the target, `down` back."""

    UP = "up"
    DOWN = "down"
    BOTH = "both"


def now() -> float:
    """The running loop's clock, in seconds."""
    return asyncio.get_running_loop().time()


async def sleep_until(seconds: float) -> None:
    """Sleep until the loop's clock says `seconds`; not at all when that has passed."""
    left = seconds - now()
    if left > 0:
        await asyncio.sleep(left)


async def hold(seconds: float = HOLD_SECONDS) -> None:
    """Pass nothing on, and no end either."""
    await asyncio.sleep(min(seconds, HOLD_SECONDS))


async def close(chunks: Chunks) -> None:
    """Close an async generator that may not have come to its end."""
    if isinstance(chunks, AsyncGenerator):
        await chunks.aclose()


class Ahead:
    """Chunks that can be waited for with a time limit: none is lost when the time is up."""

    def __init__(self, chunks: Chunks) -> None:
        self._chunks = chunks
        self._task: asyncio.Task[Chunk | None] | None = None

    async def next(self, until_seconds: float | None = None) -> Chunk | None:
        """The next chunk; None at the end of the input. Raises: TimeoutError, PeerReset, HardReset, Cut."""
        if until_seconds is not None and until_seconds <= now():
            raise TimeoutError
        left = None if until_seconds is None else until_seconds - now()
        done, _ = await asyncio.wait({self._begun()}, timeout=left)
        if not done:
            raise TimeoutError
        return self._taken()

    async def next_before(self, other: "asyncio.Task[Any]") -> Chunk | None:
        """The next chunk; None also when `other` is done first: it is still there then."""
        done, _ = await asyncio.wait({self._begun(), other}, return_when=asyncio.FIRST_COMPLETED)
        return None if self._task not in done else self._taken()

    def _begun(self) -> "asyncio.Task[Chunk | None]":
        if self._task is None:
            self._task = asyncio.create_task(self._fetch())
        return self._task

    def _taken(self) -> Chunk | None:
        task, self._task = self._task, None
        assert task is not None
        return task.result()

    async def rest(self) -> Chunks:
        """All that is still to come."""
        while (chunk := await self.next()) is not None:
            yield chunk

    async def aclose(self) -> None:
        """Stop waiting; call this before the fault that uses it ends."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    async def _fetch(self) -> Chunk | None:
        # A task cannot end with StopAsyncIteration
        return await anext(self._chunks, None)


@dataclass(frozen=True)
class Option:
    """One option of a fault, as its signature has it; `choices` are all values of a Literal."""

    name: str
    kind: type
    default: Any
    is_needed: bool
    choices: tuple[str, ...] = ()


@dataclass(frozen=True)
class Fault:
    """One entry of the catalogue.

    seen_as: what a client observes; a diagnosis reads it.
    direction: which way it works unless a rule says otherwise.
    at_connect: it changes the proxy's answer, not what is in the tunnel.
    sees_head: the proxy's answer is in its input, too.
    intercepts: it is no work on chunks: it ends the TLS inside the tunnel (relay.interception).
    """

    name: str
    apply: Callable[..., Chunks]
    seen_as: str
    direction: Direction
    at_connect: bool
    sees_head: bool
    options: tuple[Option, ...]
    summary: str
    intercepts: bool = False

    def __call__(self, chunks: Chunks, **options: Any) -> Chunks:
        return self.apply(chunks, **options)

    @property
    def ambient(self) -> frozenset[str]:
        """Which of `rng` and `shared` it asks for."""
        return frozenset(inspect.signature(self.apply).parameters) & {"rng", "shared"}


def fault(
    *,
    seen_as: str,
    direction: Direction = Direction.DOWN,
    at_connect: bool = False,
    sees_head: bool = False,
    intercepts: bool = False,
) -> Callable[[Callable[..., Chunks]], Fault]:
    """Make a catalogue entry of an async generator function."""

    def make(function: Callable[..., Chunks]) -> Fault:
        hints = get_type_hints(function)
        options = tuple(
            _option(parameter, hints[name])
            for name, parameter in inspect.signature(function).parameters.items()
            if name not in AMBIENT
        )
        summary = (inspect.getdoc(function) or "").partition("\n")[0]
        name = function.__name__.rstrip("_")
        shown = at_connect or sees_head
        return Fault(name, function, seen_as, direction, at_connect, shown, options, summary, intercepts)

    return make


def _option(parameter: inspect.Parameter, hint: Any) -> Option:
    choices = get_args(hint) if get_origin(hint) is Literal else ()
    is_needed = parameter.default is inspect.Parameter.empty
    default = None if is_needed else parameter.default
    return Option(parameter.name, str if choices else hint, default, is_needed, choices)
