"""FrameworkClient: keeps one connection to a Framework Server and makes a new one when it has died."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from protocol.packet import Packet
from protocol.sealing import Key
from relay.failure import AnswerLost, Failure, PeerMisbehaved, Reason, RelayError, Stage, TimedOut
from relay.packet_stream import PacketStream
from relay.route import Route
from relay.stream import Stream
from relay.tunnel import open_tunnel


@dataclass(frozen=True)
class Backoff:
    """How long to wait before the n-th attempt: exponential, bounded, with full jitter."""

    first_seconds: float = 0.1
    most_seconds: float = 10.0
    give_up_seconds: float = 60.0

    def delay_seconds(self, attempt: int) -> float:
        """Between half of the exponential step and all of it, so that clients do not come back in step."""
        step = min(self.most_seconds, self.first_seconds * 2 ** min(attempt, 30))
        return step * random.uniform(0.5, 1.0)  # noqa: S311 - spreads load, guards nothing


@dataclass(frozen=True)
class Reconnecting:
    """Told to the caller before each new attempt: which one, after how long, and why."""

    attempt: int
    delay_seconds: float
    failure: Failure


class FrameworkClient:
    """Keeps one connection to a Framework Server and makes a new one when it has died.

    A request is sent once. If the connection dies before its answer, AnswerLost is raised, because the
    server may have carried it out; only with `safe_to_repeat=True` is it sent again.

    Args:
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
        self._lost: Failure | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connection, if there is one; the next request makes a new one."""
        packets, self._packets = self._packets, None
        if packets is not None:
            await packets.aclose()

    async def ping(self) -> None:
        """Send the empty packet and wait for its answer; a ping is safe to repeat."""
        reply = await self.request(Packet.ping(), safe_to_repeat=True)
        if not reply.is_ping:
            detail = "answered a ping with a packet that is not empty"
            raise PeerMisbehaved(Failure(Stage.FRAMEWORK, Reason.MALFORMED, str(self.route.target), detail))

    async def request(
        self, packet: Packet, *, safe_to_repeat: bool = False, timeout_seconds: float | None = None
    ) -> Packet:
        """Send one packet and return its reply. Requests of several tasks take turns.

        Raises: AnswerLost, TimedOut (no answer within `timeout_seconds`), and whatever
                `open_tunnel` raises once the backoff has given up.
        """
        async with self._turn:
            began = asyncio.get_running_loop().time()
            attempt = 0
            while True:
                packets = await self._connected()
                try:
                    return await self._exchange(packets, packet, timeout_seconds or self._timeout_seconds)
                except RelayError as error:
                    await self.aclose()
                    self._lost = error.failure
                    waited = asyncio.get_running_loop().time() - began
                    repeat = safe_to_repeat and not isinstance(error, TimedOut | PeerMisbehaved)
                    if not repeat or waited >= self._backoff.give_up_seconds:
                        raise
                    attempt += 1
                    await self._wait(attempt, error.failure)
                except BaseException:
                    # Cancelled between request and answer: the next answer would be taken for another's
                    await self.aclose()
                    raise

    async def _exchange(self, packets: PacketStream, packet: Packet, timeout_seconds: float) -> Packet:
        peer = str(self.route.target)
        try:
            async with asyncio.timeout(timeout_seconds):
                await packets.send(packet)
                reply = await packets.receive()
        except TimeoutError as error:
            if isinstance(error, RelayError):
                raise
            detail = f"no answer within {timeout_seconds:g} s"
            raise TimedOut(Failure(Stage.FRAMEWORK, Reason.TIMED_OUT, peer, detail)) from error
        except PeerMisbehaved:
            raise
        except RelayError as error:
            raise AnswerLost(_lost(peer, error.failure.sentence)) from error
        if reply is None:
            raise AnswerLost(_lost(peer, "it closed the connection"))
        return reply

    async def _connected(self) -> PacketStream:
        """The open connection, or a new one, trying again with backoff until it gives up."""
        if self._packets is not None and not self._has_died(self._packets):
            return self._packets
        await self.aclose()
        if self._lost is not None and self._on_reconnect is not None:
            self._on_reconnect(Reconnecting(0, 0.0, self._lost))
        self._lost = None
        began = asyncio.get_running_loop().time()
        attempt = 0
        while True:
            try:
                stream = await self._open_stream()
            except RelayError as error:
                waited = asyncio.get_running_loop().time() - began
                hopeless = self.connections_made == 0 or not _worth_another_try(error)
                if hopeless or waited >= self._backoff.give_up_seconds:
                    raise
                attempt += 1
                await self._wait(attempt, error.failure)
            else:
                self.connections_made += 1
                self._packets = PacketStream(stream, self._key, str(self.route.target))
                return self._packets

    async def _wait(self, attempt: int, failure: Failure) -> None:
        delay_seconds = self._backoff.delay_seconds(attempt - 1)
        if self._on_reconnect is not None:
            self._on_reconnect(Reconnecting(attempt, delay_seconds, failure))
        await asyncio.sleep(delay_seconds)

    def _has_died(self, packets: PacketStream) -> bool:
        """See an idle timeout or a reset that came while nobody read, before a request is lost to it."""
        failure = packets.ended_while_idle()
        if failure is not None:
            self._lost = failure
        return failure is not None


def _lost(peer: str, why: str) -> Failure:
    detail = f"did not answer before the connection died; the request may have been carried out ({why})"
    return Failure(Stage.FRAMEWORK, Reason.ANSWER_LOST, peer, detail)


def _worth_another_try(error: RelayError) -> bool:
    """A refused login or an untrusted certificate will not change by itself, and may lock an account."""
    return error.failure.stage is not Stage.LOGIN and error.failure.reason not in (
        Reason.TLS_UNTRUSTED,
        Reason.DENIED,
        Reason.REDIRECTED,
        Reason.PORTAL,
        Reason.NOT_HTTP,
        Reason.NAME_NOT_FOUND,
    )
