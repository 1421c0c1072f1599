"""FrameworkClient: keeps one connection to a Framework Server and makes a new one when it has died."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from protocol.errors import LocalWireError
from protocol.packet import Packet
from protocol.sealing import Key
from relay.failure import AnswerLost, DialFailed, Failure, PeerMisbehaved, Reason, RelayError, Stage, TimedOut
from relay.packet_stream import PacketStream
from relay.route import Route
from relay.stream import Stream
from relay.tunnel import open_tunnel


@dataclass(frozen=True)
class Backoff:
    """How long to wait before a new connection: exponential, bounded, with jitter.

    `give_up_seconds` counts from the call of `request`: no attempt begins later, but the last one may end
    later. Each request makes one attempt at least, unless one has failed while it waited for its turn.
    """

    first_seconds: float = 0.1
    most_seconds: float = 10.0
    give_up_seconds: float = 60.0

    def delay_seconds(self, failures: int) -> float:
        """After so many failures in a row: between half of the step and all of it, so that clients that
        lost the same server do not come back in step."""
        if failures == 0:
            return 0.0
        step = min(self.most_seconds, self.first_seconds * 2.0 ** min(failures - 1, 30))
        return step * random.uniform(0.5, 1.0)  # noqa: S311 - spreads load, guards nothing


@dataclass(frozen=True)
class Reconnecting:
    """Told to the caller before each new connection.

    Attributes:
        attempt: the how manieth since the last good answer, from 1.
        delay_seconds: until it begins.
        failure: what ended the connection, or the attempt before.
    """

    attempt: int
    delay_seconds: float
    failure: Failure


@dataclass
class _Request:
    packet: Packet
    safe_to_repeat: bool
    timeout_seconds: float
    asked_at: float
    is_sent: bool = False


class FrameworkClient:
    """Keeps one connection to a Framework Server and makes a new one when it has died.

    A request is sent once. If the connection dies before its answer, AnswerLost is raised, because the
    server may have carried it out; only with `safe_to_repeat=True` is it sent again. Tasks may share a
    client: their requests take turns.

    Args:
        timeout_seconds: for one connection to be made, and for each answer.
        open_stream: how to get a Stream; by default `open_tunnel(route)`.
        on_reconnect: called before every new attempt.

    The first connection is not repeated: when it fails, its error is raised at once.
    """

    def __init__(
        self,
        route: Route,
        key: Key | None = None,
        *,
        timeout_seconds: float = 30.0,
        backoff: Backoff | None = None,
        on_reconnect: Callable[[Reconnecting], None] | None = None,
        open_stream: Callable[[], Awaitable[Stream]] | None = None,
    ) -> None:
        self.route = route
        self.connections_made = 0
        self._key = key
        self._timeout_seconds = timeout_seconds
        self._backoff = backoff or Backoff()
        self._on_reconnect = on_reconnect
        self._open_stream = open_stream or (lambda: open_tunnel(route, timeout_seconds=timeout_seconds))
        self._packets: PacketStream | None = None
        self._turn = asyncio.Lock()
        self._waiting: set[asyncio.Timeout] = set()
        self._is_closed = False
        # Since the last good answer:
        self._attempts = 0
        self._failures = 0
        self._not_before = 0.0
        self._lost: Failure | None = None
        self._last_error: tuple[float, RelayError] | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connection for good. Requests that wait end at once, with an error; so do later ones."""
        if not self._is_closed:
            self._is_closed = True
            for scope in self._waiting:
                scope.reschedule(0)
        async with self._turn:
            # Whoever was reading from the connection has left it by now
            packets, self._packets = self._packets, None
            if packets is not None:
                await packets.aclose()

    async def ping(self) -> None:
        """Send the empty packet and wait for its answer; a ping is safe to repeat. Raises: as `request`."""
        reply = await self.request(Packet.ping(), safe_to_repeat=True)
        if not reply.is_ping:
            detail = "answered a ping with a packet that is not empty"
            raise PeerMisbehaved(self._failure(Reason.MALFORMED, detail))

    async def request(
        self, packet: Packet, *, safe_to_repeat: bool = False, timeout_seconds: float | None = None
    ) -> Packet:
        """Send one packet and return its reply.

        Args:   timeout_seconds: for the answer, from the moment this request has its turn and a connection.
        Raises: AnswerLost, TimedOut (no answer in time: it may have been carried out, too), PeerMisbehaved,
                whatever `open_tunnel` raises once the backoff has given up; DialFailed when the client is
                closed; LocalWireError for what the wire cannot carry.
        """
        limit_seconds = self._timeout_seconds if timeout_seconds is None else timeout_seconds
        request = _Request(packet, safe_to_repeat, limit_seconds, self._now())
        # No limit, but the way in which aclose() ends this request and is not taken for a cancellation
        scope = asyncio.timeout(None)
        try:
            async with scope:
                self._waiting.add(scope)
                async with self._turn:
                    return await self._carry_out(request)
        except TimeoutError as error:
            if isinstance(error, RelayError) or not scope.expired():
                raise
            raise self._closed_error(request) from None
        finally:
            self._waiting.discard(scope)

    async def _carry_out(self, request: _Request) -> Packet:
        while True:
            if self._is_closed:
                raise self._closed_error(request)
            packets = await self._connected(request)
            request.is_sent = True
            try:
                reply = await self._exchange(packets, request)
            except LocalWireError:
                raise
            except RelayError as error:
                self._leave(error.failure)
                self._has_failed(error, at_once=1)
                may_repeat = request.safe_to_repeat and isinstance(error, AnswerLost)
                if not may_repeat or self._is_too_late(request):
                    raise
            except BaseException:
                # Cancelled: its answer may still come, and would be taken for that of the next request
                self._leave(self._failure(Reason.OTHER, "was left: a request was given up before its answer"))
                raise
            else:
                self._attempts = self._failures = 0
                self._lost = self._last_error = None
                return reply

    async def _exchange(self, packets: PacketStream, request: _Request) -> Packet:
        limit_seconds = request.timeout_seconds
        try:
            async with asyncio.timeout(limit_seconds):
                await packets.send(request.packet)
                reply = await packets.receive()
        except RelayError as error:
            if isinstance(error, PeerMisbehaved) and error.failure.reason is not Reason.TRUNCATED:
                raise
            raise self._answer_lost(error.failure.sentence) from error
        except TimeoutError as error:
            late = self._failure(Reason.TIMED_OUT, f"no answer within {limit_seconds:g} s")
            raise TimedOut(late) from error
        if reply is None:
            raise self._answer_lost("it closed the connection")
        return reply

    async def _connected(self, request: _Request) -> PacketStream:
        """The open connection, or a new one; tries again with backoff until it is too late."""
        if self._packets is not None:
            ended = self._packets.ended_while_idle()
            if ended is None:
                return self._packets
            self._leave(ended)
        while True:
            if self._lost is not None:
                await self._wait_for_attempt(request, self._lost)
            try:
                stream = await self._open_stream()
            except RelayError as error:
                if self.connections_made == 0:
                    raise
                self._has_failed(error, at_once=0)
                if not _is_worth_another_try(error) or self._is_too_late(request):
                    raise
            else:
                self.connections_made += 1
                self._packets = PacketStream(stream, self._key, str(self.route.target))
                return self._packets

    async def _wait_for_attempt(self, request: _Request, lost: Failure) -> None:
        if self._last_error is not None and self._is_too_late(request):
            failed_at, error = self._last_error
            if failed_at >= request.asked_at:
                # Somebody else has tried in vain while this request waited for its turn
                raise error.with_traceback(None)
        latest = request.asked_at + self._backoff.give_up_seconds
        delay_seconds = max(0.0, min(self._not_before, latest) - self._now())
        self._attempts += 1
        if self._on_reconnect is not None:
            self._on_reconnect(Reconnecting(self._attempts, delay_seconds, lost))
        await asyncio.sleep(delay_seconds)

    def _has_failed(self, error: RelayError, *, at_once: int) -> None:
        """Count a failure; `at_once`: so many of them in a row are followed by an attempt without delay."""
        now = self._now()
        self._failures += 1
        self._lost = error.failure
        self._last_error = (now, error)
        self._not_before = now + self._backoff.delay_seconds(max(0, self._failures - at_once))

    def _is_too_late(self, request: _Request) -> bool:
        """Whether the next attempt would begin after this request gives up."""
        return max(self._now(), self._not_before) >= request.asked_at + self._backoff.give_up_seconds

    def _leave(self, why: Failure) -> None:
        packets, self._packets = self._packets, None
        self._lost = why
        if packets is not None:
            packets.reset()

    def _answer_lost(self, why: str) -> AnswerLost:
        detail = f"did not answer before the connection died; the request may have been carried out ({why})"
        return AnswerLost(self._failure(Reason.ANSWER_LOST, detail))

    def _closed_error(self, request: _Request) -> RelayError:
        if request.is_sent:
            return self._answer_lost("this client was closed")
        return DialFailed(self._failure(Reason.OTHER, "was not asked: this client is closed"))

    def _failure(self, reason: Reason, detail: str) -> Failure:
        return Failure(Stage.FRAMEWORK, reason, str(self.route.target), detail)

    def _now(self) -> float:
        return asyncio.get_running_loop().time()


def _is_worth_another_try(error: RelayError) -> bool:
    """A refused login or an untrusted certificate will not change by itself, and may lock an account.

    A name that is not found may: an orchestrator takes it away while it restarts the server.
    """
    return error.failure.stage is not Stage.LOGIN and error.failure.reason not in (
        Reason.TLS_UNTRUSTED,
        Reason.DENIED,
        Reason.REDIRECTED,
        Reason.PORTAL,
        Reason.NOT_HTTP,
    )
