"""The same tunnel for plain threads: no asyncio, so a command that pings or pipes starts fast."""

import math
import select
import socket
import time
from collections.abc import Mapping, Sequence
from typing import Any

from protocol.connection import PacketConnection
from protocol.errors import PeerWireError
from protocol.packet import Packet
from protocol.sealing import Direction, Key
from relay.aside import run_within
from relay.dial import Address
from relay.failure import Failure, PeerMisbehaved, Reason, RelayError, Stage, TimedOut, classify
from relay.foreign import FIRST_BYTES, idle_failure, not_framework, unanswered
from relay.lookup import look_up_within
from relay.moves import Call, Command, Connect, Drop, Receive, Resolve, Send, StartHttp2, StartTls, Unread
from relay.pipe import BlockingStream, SocketPipe, TlsPipe
from relay.race import Outcome, Race
from relay.route import Hop, Route
from relay.tls import client_context
from relay.trace import Trace
from relay.walk import walk


def open_tunnel(
    route: Route,
    *,
    timeout_seconds: float = 30.0,
    stage_seconds: Mapping[Stage, float] | None = None,
    trace: Trace | None = None,
) -> BlockingStream:
    """Walk every hop of `route` and return the open byte stream to its target.

    Args, Raises, Source: as `relay.tunnel.open_tunnel`.
    """
    trace = trace or Trace(timeout_seconds, stage_seconds or {})
    driver = _Driver(trace)
    plan = walk(route, trace)
    try:
        command = next(plan)
        while True:
            try:
                outcome = driver.carry_out(command)
            except OSError as error:
                command = plan.throw(error)
            else:
                command = plan.send(outcome)
    except StopIteration:
        return driver.take_stream()
    finally:
        plan.close()
        driver.discard()


class _Driver:
    def __init__(self, trace: Trace) -> None:
        self._trace = trace
        self._stream: BlockingStream | None = None

    def take_stream(self) -> BlockingStream:
        stream, self._stream = self._stream, None
        assert stream is not None
        stream.set_deadline(None)
        return stream

    def discard(self) -> None:
        if self._stream is not None:
            self._stream.fileno_socket().close()
            self._stream = None

    def carry_out(self, command: Command) -> Any:
        remaining = self._trace.remaining_seconds()
        if self._stream is not None:
            self._stream.set_deadline(time.monotonic() + remaining)
        match command:
            case Resolve() | Call():
                return _waited_for(command, remaining)
            case Connect(addresses, limit_seconds, outcomes):
                self.discard()
                self._stream = connect_first(addresses, min(remaining, limit_seconds), outcomes)
            case StartTls(hop):
                return self._start_tls(hop)
            case StartHttp2(tunnel):
                from relay.http2_pipe import Http2Pipe

                self._stream = Http2Pipe(self._open(), tunnel)
                self._stream.set_deadline(time.monotonic() + remaining)
            case Drop():
                self.discard()
            case Send(data):
                self._open().write(data)
            case Receive(grace_seconds):
                return self._receive(remaining, grace_seconds)
            case Unread(data):
                self._open().unread(data)
        return None

    def _start_tls(self, hop: Hop) -> tuple[str | None, bytes | None]:
        name = hop.server_name or hop.endpoint.host
        self._stream = wrapped = TlsPipe(self._open(), client_context(hop), name)
        wrapped.handshake()
        return wrapped.alpn, wrapped.certificate

    def _receive(self, remaining: float, grace_seconds: float | None) -> bytes | None:
        if grace_seconds is None:
            return self._open().read()
        self._open().set_deadline(time.monotonic() + min(remaining, grace_seconds))
        try:
            return self._open().read()
        except TimeoutError:
            return None

    def _open(self) -> BlockingStream:
        assert self._stream is not None
        return self._stream


def _waited_for(command: Resolve | Call, limit_seconds: float) -> Any:
    """What has no limit of its own. Raises: OSError, TimeoutError."""
    if isinstance(command, Call):
        return run_within(command.work, limit_seconds)
    return look_up_within(command.endpoint.host, command.endpoint.port, limit_seconds)


def connect_first(addresses: Sequence[Address], limit_seconds: float, outcomes: list[Outcome]) -> SocketPipe:
    """A pipe to the first address that takes us, as `relay.tunnel.connect_first`."""
    ends = time.monotonic() + limit_seconds
    race = Race(addresses, outcomes)
    try:
        wait_seconds = race.advance()
        while race.winner is None:
            left = ends - time.monotonic()
            if left <= 0:
                race.close("timed out")
                raise TimeoutError
            limit = left if wait_seconds is None else min(left, wait_seconds)
            for sock in _writable(race.pending, limit):
                if race.winner is None:
                    race.settle(sock)
            wait_seconds = race.advance()
    finally:
        race.close()
    race.winner.setblocking(True)
    return SocketPipe(race.winner)


def _writable(pending: Sequence[socket.socket], limit_seconds: float) -> list[socket.socket]:
    # poll(2), as select(2) cannot take descriptors from 1024 on
    waiting = select.poll()
    for sock in pending:
        waiting.register(sock, select.POLLOUT)
    ready = {descriptor for descriptor, _ in waiting.poll(math.ceil(limit_seconds * 1000))}
    return [sock for sock in pending if sock.fileno() in ready]


class BlockingPackets:
    """Framework packets over a BlockingStream: one request, one reply, in order.

    Raises: RelayError of stage `framework` for everything that goes wrong.
    """

    def __init__(
        self, stream: BlockingStream, key: Key | None = None, peer: str = "the Framework Server"
    ) -> None:
        self.stream = stream
        self._connection = PacketConnection(Direction.CLIENT, key or Key.public())
        self._peer = peer
        self._first = b""

    def send(self, packet: Packet, timeout_seconds: float = 30.0) -> int:
        """Send one packet; the number of bytes that it takes on the wire."""
        wire = self._connection.send(packet)
        try:
            self.stream.set_deadline(time.monotonic() + timeout_seconds)
            self.stream.write(wire)
        except OSError as error:
            raise classify(error, Stage.FRAMEWORK, self._peer) from error
        return len(wire)

    def receive(self, timeout_seconds: float = 30.0) -> tuple[Packet, int]:
        """The next packet and its size on the wire in bytes."""
        self.stream.set_deadline(time.monotonic() + timeout_seconds)
        before = self._connection.bytes_received - self._connection.unread_bytes
        try:
            while (packet := self._connection.next_packet()) is None:
                data = self.stream.read()
                if not data:
                    self._connection.receive_eof()
                    raise PeerMisbehaved(self._closed())
                if len(self._first) < FIRST_BYTES:
                    self._first += data[: FIRST_BYTES - len(self._first)]
                self._connection.receive_data(data)
        except RelayError:
            raise
        except PeerWireError as error:
            raise not_framework(error, self._first, self._connection.packets_received, self._peer) from error
        except TimeoutError as error:
            detail = f"no reply within {timeout_seconds:g} s"
            raise TimedOut(Failure(Stage.FRAMEWORK, Reason.TIMED_OUT, self._peer, detail)) from error
        except OSError as error:
            raise classify(error, Stage.FRAMEWORK, self._peer) from error
        return packet, self._connection.bytes_received - self._connection.unread_bytes - before

    def ended_while_idle(self) -> Failure | None:
        """Why this connection can carry no further request, seen without waiting; None when it can."""
        unread_bytes = self._connection.unread_bytes
        try:
            came = None if unread_bytes else self.stream.poll()
        except OSError as error:
            return classify(error, Stage.FRAMEWORK, self._peer).failure
        return idle_failure(came, unread_bytes, self._peer)

    def close(self) -> None:
        """Close the connection."""
        self.stream.close()

    def _closed(self) -> Failure:
        words = unanswered(self._connection.packets_received)
        return Failure(Stage.FRAMEWORK, Reason.CLOSED, self._peer, words)
