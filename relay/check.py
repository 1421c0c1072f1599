"""Check: one question put to a path, and its possible answers; Trip: what a check works with."""

import asyncio
import contextlib
import errno
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from protocol.sealing import Key
from relay.failure import RelayError
from relay.finding import UNTESTED, Finding, printable
from relay.packet_stream import PacketStream
from relay.probe import Dialled, dial
from relay.route import Endpoint, Route
from relay.stream import SocketStream, Stream
from relay.tunnel import open_tunnel

MAX_CONNECTIONS: Final = 30
"""Of one run: what a firewall does not take for a scan, nor a proxy for an attack."""

Address = Any
Needs = Mapping[str, frozenset[str]]


class BudgetSpent(Exception):
    """This check would open more connections than a run may."""


class CannotTest(Exception):
    """The question cannot be put here; the message says why."""


@dataclass(frozen=True)
class Patience:
    """How long single waits may take, in seconds. The sum of those that meet on one path stays below 10."""

    resolve: float = 4.0
    # SYN, and the first two retransmissions, 1 s and 3 s after it
    connect: float = 3.3
    # A proxy that dials a dead target says so only after its own limit, often 60 s: we say "silent" before
    tunnel: float = 5.0
    reply: float = 2.5
    control: float = 1.6
    # A banner comes with the first segments, or the protocol has none
    banner: float = 0.4

    @classmethod
    def within(cls, timeout_seconds: float) -> "Patience":
        """The same proportions in another overall limit (the default is for 10 s)."""
        share = timeout_seconds / 10.0
        if share >= 1.0:
            return cls(4.0 * share, 3.3 * share, 5.0 * share, 2.5 * share, 1.6 * min(share, 3.0), 0.4)
        return cls(4.0 * share, 3.3 * share, 5.0 * share, 2.5 * share, 1.6 * share, 0.4 * share)


@dataclass
class Trip:
    """One run along one route: what is known so far, and ways to open connections that are counted.

    Attributes:
        answers: question -> word, of all checks that have been answered.
        address: of the first hop, or of the target when there is none, once one was found to be open.
        ended_seconds: after how long our ping's connection was ended, when it was.
        answered_seconds: how long the ping took with all that came before it, when it was answered.
    """

    route: Route
    key: Key
    patience: Patience = field(default_factory=Patience)
    answers: dict[str, str] = field(default_factory=dict)
    addresses: list[Address] = field(default_factory=list)
    address: Address | None = None
    connections: int = 0
    idle_seconds: float = 0.0
    ended_seconds: float = 0.0
    answered_seconds: float = 0.0

    @property
    def first(self) -> Endpoint:
        """Where the first connection goes."""
        return self.route.hops[0].endpoint if self.route.hops else self.route.target

    def beside(self, port: int | None = None, host: str | None = None) -> Endpoint:
        """The target with another port or host."""
        target = self.route.target
        return Endpoint(host or target.host, target.port if port is None else port)

    def count(self, more: int = 1) -> None:
        """Count connections before they are opened. Raises: BudgetSpent."""
        if self.connections + more > MAX_CONNECTIONS:
            raise BudgetSpent
        self.connections += more

    async def dial(self, address: Address, limit_seconds: float, **options: int) -> Dialled:
        """`relay.probe.dial`, counted."""
        self.count()
        return await dial(address, limit_seconds, **options)

    async def open(self, target: Endpoint | None = None, limit_seconds: float | None = None) -> Stream:
        """A byte stream to the target, or to another one, by this route.

        Raises: RelayError, BudgetSpent, CannotTest; ConnectionResetError when it was reset as it opened.
        """
        limit = self.patience.tunnel if limit_seconds is None else limit_seconds
        if target is None and not self.route.hops and self.address is not None:
            return await self._open_directly(limit)
        if self.answers.get("tunnel") == "login-refused":
            raise CannotTest("a login that was refused is not sent again")
        self.count()
        return await open_tunnel(Route(target or self.route.target, self.route.hops), timeout_seconds=limit)

    async def _open_directly(self, limit_seconds: float) -> Stream:
        assert self.address is not None
        dialled = await self.dial(self.address, limit_seconds)
        if dialled.sock is None:
            raise CannotTest(f"it {dialled.word} now, having been open before")
        if dialled.evidence.get("reset_at_once"):
            dialled.close()
            raise ConnectionResetError(errno.ECONNRESET, "reset as soon as it was open")
        return SocketStream(dialled.sock)

    @contextlib.asynccontextmanager
    async def packets(self) -> AsyncIterator[PacketStream]:
        """A packet connection to the target, closed at the end. Raises: as `open`."""
        async with self.stream() as stream:
            yield PacketStream(stream, self.key, str(self.route.target))

    @contextlib.asynccontextmanager
    async def stream(
        self, target: Endpoint | None = None, limit_seconds: float | None = None
    ) -> AsyncIterator[Stream]:
        """`open`, closed at the end. Raises: as `open`."""
        stream = await self.open(target, limit_seconds)
        try:
            yield stream
        finally:
            with contextlib.suppress(OSError, RelayError):
                await stream.aclose()


Run = Callable[[Trip], Awaitable[Finding]]


@dataclass(frozen=True)
class Check:
    """One question.

    Attributes:
        question: its name. words: every answer it may give, and how that is said.
        needs: answers of other checks without which it makes no sense.
        connections: at most so many are opened. on_request: it disturbs, or takes long.
    """

    question: str
    words: Mapping[str, str]
    run: Run
    needs: Needs
    connections: int
    on_request: bool
    routes: tuple[str, ...]

    @property
    def summary(self) -> str:
        """What it asks, one line."""
        return (self.run.__doc__ or "").strip().splitlines()[0]

    def is_askable(self, trip: Trip) -> bool:
        """Whether it makes sense now, and was not asked before."""
        kind = "proxy" if trip.route.hops else "direct"
        met = all(trip.answers.get(question) in words for question, words in self.needs.items())
        return kind in self.routes and met and self.question not in trip.answers


CHECKS: dict[str, Check] = {}
"""Every check by its question; filled when relay.checks is imported."""


def check(
    question: str,
    words: Mapping[str, str],
    *,
    needs: Mapping[str, str] | None = None,
    connections: int = 1,
    on_request: bool = False,
    routes: tuple[str, ...] = ("direct", "proxy"),
) -> Callable[[Run], Run]:
    """Enter a check into the catalogue. `needs`: question -> the words it must have, with spaces between."""
    wanted = {key: frozenset(value.split()) for key, value in (needs or {}).items()}

    def enter(run: Run) -> Run:
        CHECKS[question] = Check(question, words, run, wanted, connections, on_request, routes)
        return run

    return enter


def found(question: str, outcome: str, words: str = "", **evidence: Any) -> Finding:
    """The finding of a check; the outcome must be one of its words."""
    known = CHECKS[question].words
    if outcome not in known:
        raise ValueError(f"{question} cannot be answered by {outcome!r}")
    return Finding(question, outcome, printable(words or known[outcome]), printable(evidence))


def untested(question: str, why: str) -> Finding:
    """The finding of a check that could not be made."""
    return Finding(question, UNTESTED, printable(why))


async def ask(check: Check, trip: Trip, began: float) -> Finding:
    """Run one check; what goes wrong with the check itself becomes "untested"."""
    started = time.monotonic()
    try:
        answer = await check.run(trip)
    except BudgetSpent:
        answer = untested(check.question, f"not asked: {MAX_CONNECTIONS} connections are enough")
    except CannotTest as error:
        answer = untested(check.question, str(error))
    except asyncio.CancelledError:
        raise
    except RelayError as error:
        answer = untested(check.question, f"not answered: {error}")
    except OSError as error:
        answer = untested(check.question, f"not answered: {error.strerror or error}")
    now = time.monotonic()
    return Finding(
        answer.question, answer.outcome, answer.words, answer.evidence, started - began, now - started
    )
