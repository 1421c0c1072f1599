"""FrameworkClient: keeps one connection to a Framework Server and makes a new one when it has died."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from protocol.errors import LocalWireError
from protocol.packet import Packet
from protocol.sealing import Key
from relay.failure import AnswerLost, Failure, PeerMisbehaved, Reason, RelayError, TimedOut
from relay.packet_stream import PacketStream
from relay.reconnection import (
    Backoff,
    Reconnecting,
    Reconnection,
    answer_lost,
    checked_keep_alive,
    closed_error,
    failure_of,
    is_worth_another_try,
    not_empty,
)
from relay.route import Route
from relay.stream import Stream
from relay.tunnel import open_tunnel

__all__ = ["Backoff", "FrameworkClient", "Reconnecting"]


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
        keep_alive_seconds: ping when nothing was said for so long, as long as the connection lives: choose it
            well below the idle limit of the strictest firewall or proxy on the way. None: stay silent.

    Raises: SettingsError for keep_alive_seconds that are not above 0, or more than a day.

    The first connection is not repeated: when it fails, its error is raised at once. Nor is a login that was
    refused, by any later request: proxies lock accounts. Make a new client for another password.
    """

    def __init__(
        self,
        route: Route,
        key: Key | None = None,
        *,
        timeout_seconds: float = 30.0,
        backoff: Backoff | None = None,
        on_reconnect: Callable[[Reconnecting], None] | None = None,
        keep_alive_seconds: float | None = None,
        open_stream: Callable[[], Awaitable[Stream]] | None = None,
    ) -> None:
        self.route = route
        self.connections_made = 0
        self._key = key
        self._timeout_seconds = timeout_seconds
        self._reconnection = Reconnection(backoff or Backoff())
        self._on_reconnect = on_reconnect
        self._open_stream = open_stream or (lambda: open_tunnel(route, timeout_seconds=timeout_seconds))
        self._packets: PacketStream | None = None
        self._turn = asyncio.Lock()
        self._waiting: set[asyncio.Timeout] = set()
        self._is_closed = False
        self._peer = str(route.target)
        self._keep_alive_seconds = checked_keep_alive(keep_alive_seconds)
        self._silence: asyncio.TimerHandle | None = None
        self._keeping: asyncio.Task[None] | None = None

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
        self._break_silence()
        if self._keeping is not None:
            self._keeping.cancel()
            await asyncio.gather(self._keeping, return_exceptions=True)
        async with self._turn:
            # Whoever was reading from the connection has left it by now
            packets, self._packets = self._packets, None
            if packets is not None:
                await packets.aclose()

    async def ping(self) -> None:
        """Send the empty packet and wait for its answer; a ping is safe to repeat. Raises: as `request`."""
        reply = await self.request(Packet.ping(), safe_to_repeat=True)
        if not reply.is_ping:
            raise not_empty(self._peer)

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
            raise closed_error(self._peer, is_sent=request.is_sent) from None
        finally:
            self._waiting.discard(scope)

    async def _carry_out(self, request: _Request) -> Packet:
        while True:
            if self._is_closed:
                raise closed_error(self._peer, is_sent=request.is_sent)
            packets = await self._connected(request)
            request.is_sent = True
            try:
                reply = await self._exchange(packets, request)
            except LocalWireError:
                raise
            except RelayError as error:
                self._leave(error.failure)
                self._reconnection.failed(error, self._now(), at_once=1)
                may_repeat = request.safe_to_repeat and isinstance(error, AnswerLost)
                if not may_repeat or self._is_too_late(request):
                    raise
            except BaseException:
                # Cancelled: its answer may still come, and would be taken for that of the next request
                words = "was left: a request was given up before its answer"
                self._leave(failure_of(self._peer, Reason.OTHER, words))
                raise
            else:
                self._reconnection.succeeded()
                self._await_silence()
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
            raise answer_lost(self._peer, error.failure.sentence) from error
        except TimeoutError as error:
            late = failure_of(self._peer, Reason.TIMED_OUT, f"no answer within {limit_seconds:g} s")
            raise TimedOut(late) from error
        if reply is None:
            raise answer_lost(self._peer, "it closed the connection")
        return reply

    async def _connected(self, request: _Request) -> PacketStream:
        """The open connection, or a new one; tries again with backoff until it is too late."""
        if self._packets is not None:
            ended = self._packets.ended_while_idle()
            if ended is None:
                return self._packets
            self._leave(ended)
        while True:
            attempt = self._reconnection.next_attempt(request.asked_at, self._now())
            if attempt is not None:
                if self._on_reconnect is not None:
                    self._on_reconnect(attempt)
                await asyncio.sleep(attempt.delay_seconds)
            try:
                stream = await self._open_stream()
            except RelayError as error:
                self._reconnection.keep_refusal(error)
                if self.connections_made == 0:
                    raise
                self._reconnection.failed(error, self._now(), at_once=0)
                if not is_worth_another_try(error) or self._is_too_late(request):
                    raise
            else:
                self.connections_made += 1
                self._packets = PacketStream(stream, self._key, self._peer)
                return self._packets

    def _leave(self, why: Failure) -> None:
        packets, self._packets = self._packets, None
        self._reconnection.lost = why
        self._break_silence()
        if packets is not None:
            packets.reset()

    def _await_silence(self) -> None:
        """From now on nothing is said; a ping ends that when it has lasted long enough."""
        self._break_silence()
        if self._keep_alive_seconds is not None and not self._is_closed:
            loop = asyncio.get_running_loop()
            self._silence = loop.call_later(self._keep_alive_seconds, self._keep_alive_soon)

    def _break_silence(self) -> None:
        if self._silence is not None:
            self._silence.cancel()
            self._silence = None

    def _keep_alive_soon(self) -> None:
        self._silence = None
        self._keeping = asyncio.ensure_future(self._keep_alive())

    async def _keep_alive(self) -> None:
        """Ping, unless a request has come first. What has died is left for the next request to make anew."""
        async with self._turn:
            packets = self._packets
            if packets is None or self._silence is not None:
                return
            request = _Request(Packet.ping(), True, self._timeout_seconds, self._now())
            try:
                reply = await self._exchange(packets, request)
                if not reply.is_ping:
                    raise not_empty(self._peer)
            except RelayError as error:
                self._leave(error.failure)
            else:
                self._await_silence()

    def _is_too_late(self, request: _Request) -> bool:
        return self._reconnection.is_too_late(request.asked_at, self._now())

    def _now(self) -> float:
        return asyncio.get_running_loop().time()
