"""One connection to the emulated server: an asyncio protocol around PacketConnection."""

import asyncio
import socket
import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from protocol.connection import PacketLarge
from protocol.errors import BodyMalformed, LocalWireError, PeerWireError
from protocol.packet import CloseHow, Operation, Packet, read_close, read_hold
from relay.asides import run_aside
from relay.dial import reset_when_closed
from relay.journal import Ended, Record
from relay.operations import LARGE_BYTES, QUICK_BYTES, is_large, payload_reply, record_reply
from relay.packet_answers import ENDED_BY, open_and_answer, sealed

if TYPE_CHECKING:
    from relay.emulator import EmulatedServer

# One connection's share of the event loop before others have their turn.
TURN_SECONDS = 0.005
# Read behind a packet whose answer is held: requests, but not their payloads.
READ_AHEAD_BYTES = 65_536


class Conversation(asyncio.Protocol):
    """Answers packets in their order.

    While a reply is held it reads little further, and while the client takes no replies nothing.
    """

    def __init__(self, server: "EmulatedServer", record: Record) -> None:
        self._server = server
        self._record = record
        self._connection = server.new_connection()
        self._how: Ended | None = None
        self._held: asyncio.TimerHandle | None = None
        self._work: asyncio.Task[None] | None = None
        self._idle: asyncio.TimerHandle | None = None
        self._is_reading = True
        self._is_writable = True
        self._input_ended = False
        self._output_ended = False
        self._last_packet = time.monotonic()
        self.held_bytes = 0
        self.is_connected = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.is_connected = True
        self._transport = cast(asyncio.Transport, transport)
        self._loop = asyncio.get_running_loop()
        self._socket: socket.socket = transport.get_extra_info("socket")
        self._idle = self._loop.call_later(self._server.idle_timeout_seconds, self._check_idle)

    def connection_lost(self, error: Exception | None) -> None:
        for pending in (self._held, self._idle, self._work):
            if pending is not None:
                pending.cancel()
        how = self._how or (Ended.CLIENT_RESET if error else Ended.CLIENT_CLOSED)
        if self._how is None and error is not None:
            self._record.detail = f"{error}{self._inside_a_frame()}"
        self._server.weighed(-self.held_bytes)
        self.held_bytes = 0
        self._server.ended(self, self._record, how)

    def stop(self) -> None:
        """End at once: the server stops. What the kernel has taken still goes out, then a FIN."""
        self._how = self._how or Ended.SERVER_STOPPED
        self._transport.abort()

    def weigh(self) -> int:
        """Set `held_bytes`, what waits here of both directions; return by how much it has grown."""
        if not self.is_connected:  # accepted, but the loop has not told us yet
            return 0
        before = self.held_bytes
        self.held_bytes = self._connection.unread_bytes + self._transport.get_write_buffer_size()
        return self.held_bytes - before

    def give_up(self, limit_bytes: int) -> None:
        """End at once: all connections together hold too much, and this one the most."""
        self._record.detail = (
            f"{self.held_bytes} bytes waited here when all connections held more than {limit_bytes}"
            f"{self._inside_a_frame()}"
        )
        self.held_bytes = 0
        self._connection = self._server.new_connection()  # the old one holds what must go
        self._reset(Ended.OUT_OF_MEMORY)

    def data_received(self, data: bytes) -> None:
        if self._how is not None:
            return
        record = self._record
        record.saw(data)
        if not self.held_bytes and self._is_reading and self._may_answer():
            answer = self._connection.answer_ping(data)
            if answer is not None:
                # There is nothing to read behind it, nor to weigh
                self._received(record)
                record.pings += 1
                self._send(answer)
                return
        self._connection.receive_data(data)
        self._go_on()

    def eof_received(self) -> bool:
        self._input_ended = True
        self._go_on()
        # Keep our way open: replies that wait are still owed
        return True

    def pause_writing(self) -> None:
        self._is_writable = False

    def resume_writing(self) -> None:
        self._is_writable = True
        self._last_packet = time.monotonic()
        self._go_on()

    def _go_on(self) -> None:
        """Answer what has come, until something makes us wait."""
        if self._transport.is_closing():
            return
        until = time.monotonic() + TURN_SECONDS
        try:
            while self._may_answer() and self._answer_next():
                if time.monotonic() >= until:
                    # Others have their turn; what is read meanwhile is answered in its order
                    self._loop.call_soon(self._go_on)
                    break
        except PeerWireError as error:
            self._refuse(error)
        self._read_if_wanted()
        self._server.weighed(self.weigh())

    def _answer_next(self) -> bool:
        """Answer one packet; False when there is none, or when a thread does it. Raises: PeerWireError."""
        try:
            if self._connection.next_frame_bytes < LARGE_BYTES:
                packet = self._connection.next_packet(QUICK_BYTES)
                if packet is not None:
                    self._take(packet)
                elif self._input_ended:
                    self._connection.receive_eof()
                    self._end(Ended.CLIENT_CLOSED)
                return packet is not None
        except PacketLarge:
            pass
        self._have_done(partial(open_and_answer, self._connection), self._take_opened)
        return False

    def _take_opened(self, found: Packet | bytes | None) -> None:
        if isinstance(found, bytes):
            self._received(self._record)
            self._send(found)
        elif found is not None:
            self._take(found)

    def _may_answer(self) -> bool:
        is_waiting = self._held is not None or self._work is not None or not self._is_writable
        return self._how is None and not is_waiting and not self._transport.is_closing()

    def _read_if_wanted(self) -> None:
        """Stop reading where what comes could only pile up, and while a thread reads what came.

        While an answer is held some more is read, so that a client that goes away is seen going at once.
        """
        if self._how is not None or self._input_ended or self._transport.is_closing():
            return
        has_room = self._held is None or self._connection.unread_bytes < READ_AHEAD_BYTES
        wanted = self._is_writable and has_room and self._work is None
        if wanted is not self._is_reading:
            self._is_reading = wanted
            change = self._transport.resume_reading if wanted else self._transport.pause_reading
            change()

    def _received(self, record: Record) -> None:
        self._last_packet = time.monotonic()
        record.packets_received += 1
        record.last_packet_seconds = self._last_packet - record.began_monotonic

    def _take(self, packet: Packet) -> None:
        record = self._record
        self._received(record)
        if packet.is_ping:
            record.pings += 1
            self._send(self._connection.send(packet))
            return
        try:
            if is_large(packet):
                self._have_done(lambda: sealed(self._connection, payload_reply(packet)), self._send)
                return
            reply = self._carry_out(packet)
        except (BodyMalformed, LocalWireError) as error:
            # The packet opened, so the stream is whole: say what is wrong and go on
            reply = Packet.error(str(error))
        if reply is not None:
            self._send(sealed(self._connection, reply))

    def _refuse(self, error: PeerWireError) -> None:
        self._record.detail = str(error)
        self._end(ENDED_BY[type(error)])

    def _have_done(self, work: Callable[[], Any], then: Callable[[Any], None]) -> None:
        """Have a thread do `work`; until `then` has its result nothing is read or answered here."""

        async def wait() -> None:
            try:
                async with self._server.large_packets:
                    result = await run_aside(work)
            except PeerWireError as error:
                self._refuse(error)
                return
            except (OSError, MemoryError) as error:
                self._record.detail = f"no thread or no memory for a large packet: {error}"
                self._reset(Ended.OUT_OF_MEMORY)
                return
            self._work = None
            if self._how is None:
                then(result)
                self._go_on()

        self._work = self._loop.create_task(wait())

    def _send(self, wire: bytes) -> None:
        if self._output_ended or self._how is not None:
            return
        self._record.packets_sent += 1
        self._record.bytes_sent += len(wire)
        self._transport.write(wire)

    def _carry_out(self, packet: Packet) -> Packet | None:
        match packet.operation:
            case Operation.ECHO | Operation.SOURCE | Operation.SINK:
                return payload_reply(packet)
            case Operation.HOLD:
                self._hold(read_hold(packet.argument) / 1000, packet)
                return None
            case Operation.CLOSE:
                self._close(read_close(packet.argument))
                return None
        return record_reply(packet, self._record, self._server.journal, self._socket)

    def _hold(self, seconds: float, reply: Packet) -> None:
        def release() -> None:
            self._held = None
            self._last_packet = time.monotonic()
            self._send(sealed(self._connection, reply))
            self._go_on()

        # Nothing else is answered meanwhile: answers keep their order
        self._held = self._loop.call_later(seconds, release)

    def _close(self, how: CloseHow) -> None:
        match how:
            case CloseHow.FIN:
                self._end(Ended.CLOSE_REQUESTED)
            case CloseHow.RST:
                self._reset(Ended.CLOSE_REQUESTED)
            case CloseHow.HALF:
                self._output_ended = True
                self._transport.write_eof()

    def _check_idle(self) -> None:
        """One lazy timer a connection: only whole packets count, so a dribbling client gains no time."""
        limit = self._server.idle_timeout_seconds
        quiet = time.monotonic() - self._last_packet
        is_ours = self._how is None and (self._held is not None or self._work is not None)
        if is_ours or quiet < limit:
            self._idle = self._loop.call_later(limit if is_ours else limit - quiet, self._check_idle)
            return
        if self._transport.get_write_buffer_size():
            self._reset(Ended.NOT_READING)
            return
        self._record.detail = self._inside_a_frame().removeprefix(", ")
        self._end(Ended.IDLE_TIMEOUT)

    def _inside_a_frame(self) -> str:
        unread = self._connection.unread_bytes
        return f", in the middle of a frame, {unread} bytes of it came" if unread else ""

    def _end(self, how: Ended) -> None:
        """Close once queued replies have gone out; the idle timer ends a client that does not take them."""
        self._how = self._how or how
        self._transport.close()

    def _reset(self, how: Ended) -> None:  # the kernel, too, throws away what waits there
        self._how = self._how or how
        reset_when_closed(self._socket)
        self._transport.abort()
