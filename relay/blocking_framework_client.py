"""BlockingFrameworkClient: what FrameworkClient is to tasks, for threads."""

import contextlib
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from protocol.errors import LocalWireError
from protocol.packet import Packet
from protocol.sealing import Key
from relay.blocking import BlockingPackets, open_tunnel
from relay.failure import AnswerLost, Failure, PeerMisbehaved, Reason, RelayError, TimedOut
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


@dataclass(frozen=True)
class Connecting:
    """Told of each attempt to make a connection, at its end.

    number: of the connections made, with this one, from 1; the attempts that fail have the number that they
    would have had. failure: None when it is open now.
    """

    number: int
    seconds: float
    failure: Failure | None = None


class BlockingFrameworkClient:
    """Keeps one connection to a Framework Server and makes a new one when it has died.

    Threads may share it: their requests take turns. Without a keep-alive it starts no thread of its own, so
    greenlets may use it, too.

    Args, and what is repeated when: as `FrameworkClient`. on_connect: told of each attempt at a connection.
    """

    def __init__(
        self,
        route: Route,
        key: Key | None = None,
        *,
        timeout_seconds: float = 30.0,
        backoff: Backoff | None = None,
        on_reconnect: Callable[[Reconnecting], None] | None = None,
        on_connect: Callable[[Connecting], None] | None = None,
        keep_alive_seconds: float | None = None,
    ) -> None:
        self.route = route
        self.connections_made = 0
        self._key = key
        self._timeout_seconds = timeout_seconds
        self._reconnection = Reconnection(backoff or Backoff())
        self._on_reconnect = on_reconnect
        self._on_connect = on_connect
        self._keep_alive_seconds = checked_keep_alive(keep_alive_seconds)
        self._packets: BlockingPackets | None = None
        self._turn = threading.Lock()
        self._closing = threading.Event()
        self._keeper: threading.Thread | None = None
        self._said_at = 0.0
        self._peer = str(route.target)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection for good. A request that waits for its answer ends at once, with an error; one
        whose connection is being made, at the end of its limit."""
        self._closing.set()
        packets = self._packets
        if packets is not None and self._turn.locked():
            # Whoever reads from it sees an end
            with contextlib.suppress(OSError):
                packets.stream.fileno_socket().shutdown(socket.SHUT_RDWR)
        with self._turn:
            packets, self._packets = self._packets, None
            if packets is not None:
                packets.close()
        if self._keeper is not None:
            self._keeper.join()

    def connect(self) -> None:
        """Make a connection now, unless one is open that can be used. Raises: as `request`."""
        asked_at = time.monotonic()
        with self._turn:
            if self._closing.is_set():
                raise closed_error(self._peer, is_sent=False)
            self._connected(asked_at)

    def ping(self) -> None:
        """Send the empty packet and wait for its answer; a ping is safe to repeat. Raises: as `request`."""
        if not self.request(Packet.ping(), safe_to_repeat=True).is_ping:
            raise not_empty(self._peer)

    def request(
        self, packet: Packet, *, safe_to_repeat: bool = False, timeout_seconds: float | None = None
    ) -> Packet:
        """Send one packet and return its reply.

        Args, Raises: as `FrameworkClient.request`.
        """
        asked_at = time.monotonic()
        limit_seconds = self._timeout_seconds if timeout_seconds is None else timeout_seconds
        is_sent = False
        with self._turn:
            while True:
                if self._closing.is_set():
                    raise closed_error(self._peer, is_sent=is_sent)
                packets = self._connected(asked_at)
                is_sent = True
                try:
                    return self._exchange(packets, packet, limit_seconds)
                except LocalWireError:
                    raise
                except RelayError as error:
                    self._leave(error.failure)
                    self._reconnection.failed(error, time.monotonic(), at_once=1)
                    may_repeat = safe_to_repeat and isinstance(error, AnswerLost)
                    if not may_repeat or self._reconnection.is_too_late(asked_at, time.monotonic()):
                        raise
                except BaseException:
                    # ^C: its answer may still come, and would be taken for that of the next request
                    words = "was left: a request was given up before its answer"
                    self._leave(failure_of(self._peer, Reason.OTHER, words))
                    raise

    def _exchange(self, packets: BlockingPackets, packet: Packet, limit_seconds: float) -> Packet:
        try:
            packets.send(packet, limit_seconds)
            reply, _ = packets.receive(limit_seconds)
        except TimedOut as error:
            late = failure_of(self._peer, Reason.TIMED_OUT, f"no answer within {limit_seconds:g} s")
            raise TimedOut(late) from error
        except RelayError as error:
            is_cut = error.failure.reason in (Reason.TRUNCATED, Reason.CLOSED)
            if isinstance(error, PeerMisbehaved) and not is_cut:
                raise
            raise answer_lost(self._peer, error.failure.sentence) from error
        self._reconnection.succeeded()
        self._said_at = time.monotonic()
        return reply

    def _connected(self, asked_at: float) -> BlockingPackets:
        """The open connection, or a new one; tries again with backoff until it is too late."""
        if self._packets is not None:
            ended = self._packets.ended_while_idle()
            if ended is None:
                return self._packets
            self._leave(ended)
        while True:
            self._wait_for_attempt(asked_at)
            try:
                packets = self._connect_once()
            except RelayError as error:
                self._reconnection.keep_refusal(error)
                if self.connections_made == 0:
                    raise
                now = time.monotonic()
                self._reconnection.failed(error, now, at_once=0)
                if not is_worth_another_try(error) or self._reconnection.is_too_late(asked_at, now):
                    raise
            else:
                self._start_keeper()
                return packets

    def _connect_once(self) -> BlockingPackets:
        began, number = time.monotonic(), self.connections_made + 1
        try:
            stream = open_tunnel(self.route, timeout_seconds=self._timeout_seconds)
        except RelayError as error:
            self._tell(Connecting(number, time.monotonic() - began, error.failure))
            raise
        self.connections_made = number
        packets = self._packets = BlockingPackets(stream, self._key, self._peer)
        self._tell(Connecting(number, time.monotonic() - began))
        return packets

    def _tell(self, connecting: Connecting) -> None:
        if self._on_connect is not None:
            self._on_connect(connecting)

    def _wait_for_attempt(self, asked_at: float) -> None:
        attempt = self._reconnection.next_attempt(asked_at, time.monotonic())
        if attempt is None:
            return
        if self._on_reconnect is not None:
            self._on_reconnect(attempt)
        if self._closing.wait(attempt.delay_seconds):
            raise closed_error(self._peer, is_sent=False)

    def _leave(self, why: Failure) -> None:
        packets, self._packets = self._packets, None
        self._reconnection.lost = why
        if packets is not None:
            packets.stream.reset()

    def _start_keeper(self) -> None:
        self._said_at = time.monotonic()
        if self._keep_alive_seconds is not None and self._keeper is None:
            arguments = (self._keep_alive_seconds,)
            self._keeper = threading.Thread(target=self._keep, args=arguments, name="keep alive", daemon=True)
            self._keeper.start()

    def _keep(self, seconds: float) -> None:
        """Ping whenever nothing was said for so long. What has died is left for the next request."""
        while not self._closing.wait(max(0.0, self._said_at + seconds - time.monotonic())):
            with self._turn:
                packets = self._packets
                if time.monotonic() < self._said_at + seconds or self._closing.is_set():
                    continue
                self._said_at = time.monotonic()
                if packets is None:
                    continue
                try:
                    if not self._exchange(packets, Packet.ping(), self._timeout_seconds).is_ping:
                        raise not_empty(self._peer)
                except RelayError as error:
                    self._leave(error.failure)
