"""Check: one question put to a path, and its possible answers; Trip: what a check works with."""

import asyncio
import contextlib
import errno
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from protocol.sealing import Key
from relay.failure import RelayError
from relay.finding import UNTESTED, Finding, printable
from relay.packet_stream import PacketStream
from relay.probe import WORDS, Dialled, dial
from relay.route import Endpoint, Route
from relay.stream import SocketStream, Stream
from relay.trace import Trace
from relay.tunnel import open_tunnel

MAX_CONNECTIONS: Final = 30
"""Of one run: what a firewall does not take for a scan, nor a proxy for an attack."""

Address = Any
Needs = Mapping[str, frozenset[str]]


class BudgetSpent(Exception):
    """This check would open more connections than a run may."""


class CannotTest(Exception):
    """The question cannot be put here; the message says why."""


class NoConnection(CannotTest):
    """What was open before is not taken now."""


@dataclass(frozen=True)
class Patience:
    """How long single waits may take, in seconds. The sum of those that meet on one path stays below 10."""

    resolve: float = 4.0
    # SYN, two retransmissions 1 s and 3 s after it, and what a machine without ARP says 3.06 s after it
    connect: float = 3.6
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
            return cls(4.0 * share, 3.6 * share, 5.0 * share, 2.5 * share, 1.6 * min(share, 3.0), 0.4)
        return cls(4.0 * share, 3.6 * share, 5.0 * share, 2.5 * share, 1.6 * share, 0.4 * share)


@dataclass(frozen=True)
class Extras:
    """What a person asks for beyond the questions that are always put; nothing of it is done unasked.

    Attributes:
        idle_seconds, age_seconds, load_seconds: for so long leave a connection alone; use one; fill the line.
        control: a host that should be reachable in the same way. given_address: the target's, as its
            administrator knows it. source: the address that this machine should be seen with.
        resolver: another name server to compare with. proxy_header: try a PROXY header before the packet.
    """

    idle_seconds: float = 0.0
    age_seconds: float = 0.0
    load_seconds: float = 0.0
    control: Endpoint | None = None
    given_address: str = ""
    source: str = ""
    resolver: str = ""
    proxy_header: bool = False


@dataclass
class Trip:
    """One run along one route: what is known so far, and ways to open connections that are counted.

    Attributes:
        answers: question -> word, of all checks that have been answered.
        address: of the first hop, or of the target when there is none, once one was found to be open.
        ended_seconds: after how long our ping's connection was ended, when it was.
        answered_seconds: how long the ping took with all that came before it, when it was answered.
        has_lost: a later connection to it was not taken.
        opened: sockets of `dial`; their owners close them, and `close` those that have none any more.
    """

    route: Route
    key: Key
    patience: Patience = field(default_factory=Patience)
    answers: dict[str, str] = field(default_factory=dict)
    addresses: list[Address] = field(default_factory=list)
    address: Address | None = None
    connections: int = 0
    ended_seconds: float = 0.0
    answered_seconds: float = 0.0
    has_lost: bool = False
    extras: Extras = Extras()
    opened: list[socket.socket] = field(default_factory=list, repr=False)

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
        dialled = await dial(address, limit_seconds, **options)
        if dialled.sock is not None:
            self.opened.append(dialled.sock)
        return dialled

    def close(self) -> None:
        """Close what a check that was cancelled could not close: several dials at once, and one was done."""
        for sock in self.opened:
            sock.close()
        self.opened.clear()

    async def open(
        self,
        target: Endpoint | None = None,
        limit_seconds: float | None = None,
        trace: Trace | None = None,
    ) -> Stream:
        """A byte stream to the target, or to another one, by this route; its steps go into `trace`.

        Raises: RelayError, BudgetSpent, CannotTest; ConnectionResetError when it was reset as it opened.
        """
        limit = self.patience.tunnel if limit_seconds is None else limit_seconds
        if target is None and not self.route.hops and self.address is not None:
            return await self._open_directly(limit)
        if self.answers.get("tunnel") == "login-refused":
            raise CannotTest("a login that was refused is not sent again")
        self.count()
        route = Route(target or self.route.target, self.route.hops)
        return await open_tunnel(route, timeout_seconds=limit, trace=trace)

    async def _open_directly(self, limit_seconds: float) -> Stream:
        assert self.address is not None
        dialled = await self.dial(self.address, limit_seconds)
        if dialled.sock is None:
            self.has_lost = True
            raise NoConnection(f"it {WORDS[dialled.word]} now, having been open before")
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
        self,
        target: Endpoint | None = None,
        limit_seconds: float | None = None,
        trace: Trace | None = None,
    ) -> AsyncIterator[Stream]:
        """`open`, closed at the end. Raises: as `open`."""
        stream = await self.open(target, limit_seconds, trace)
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
        connections: at most so many are opened. on_request: the attribute of Extras that asks for it, or "".
        disturbs: what it may do to a network in use, "" when it is as any client.
    """

    question: str
    words: Mapping[str, str]
    run: Run
    needs: Needs
    connections: int
    on_request: str
    disturbs: str
    routes: tuple[str, ...]

    @property
    def summary(self) -> str:
        """What it asks, one line."""
        return (self.run.__doc__ or "").strip().splitlines()[0]

    def is_askable(self, trip: Trip) -> bool:
        """Whether it makes sense now, and was not asked before."""
        kind = "proxy" if trip.route.hops else "direct"
        if self.on_request and not getattr(trip.extras, self.on_request):
            return False
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
    on_request: str = "",
    disturbs: str = "",
    routes: tuple[str, ...] = ("direct", "proxy"),
) -> Callable[[Run], Run]:
    """Enter a check into the catalogue. `needs`: question -> the words it must have, with spaces between.

    A key like "connect.speed" looks into the evidence of an answer.
    """
    wanted = {key: frozenset(value.split()) for key, value in (needs or {}).items()}

    def enter(run: Run) -> Run:
        CHECKS[question] = Check(
            question, words, run, wanted, connections, on_request, disturbs, routes
        )
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
