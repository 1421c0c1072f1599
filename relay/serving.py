"""One connection to the emulated server: an asyncio protocol around PacketConnection."""

import asyncio
import contextlib
import socket
import struct
import time
from typing import TYPE_CHECKING, cast

from protocol.connection import PacketConnection
from protocol.errors import (
    BodyMalformed,
    FrameTooLarge,
    InflateTooLarge,
    LocalWireError,
    PeerWireError,
    SealBroken,
    StreamTruncated,
)
from protocol.packet import (
    CloseHow,
    Operation,
    Packet,
    document_reply,
    read_close,
    read_hold,
    read_nonce,
    read_source,
    sink_reply,
    source_reply,
)
from protocol.sealing import Direction
from relay.evidence import damaged_segments, tcp_info
from relay.journal import Ended, Record

if TYPE_CHECKING:
    from relay.emulator import EmulatedServer

_LINGER_NOTHING = struct.pack("ii", 1, 0)
_ENDED_BY = {
    FrameTooLarge: Ended.FRAME_TOO_LARGE,
    SealBroken: Ended.SEAL_BROKEN,
    StreamTruncated: Ended.STREAM_TRUNCATED,
    InflateTooLarge: Ended.INFLATE_TOO_LARGE,
    BodyMalformed: Ended.BODY_MALFORMED,
}
# A journal answer must fit one packet; a nonce is one session, but its client may have reconnected often.
MAX_JOURNAL_RECORDS = 100
# Read behind a packet whose answer is held: requests, but not their payloads.
READ_AHEAD_BYTES = 65_536


class Conversation(asyncio.Protocol):
    """Answers packets in their order.

    While a reply is held it reads little further, and while the client takes no replies nothing.
    """

    def __init__(self, server: "EmulatedServer", record: Record) -> None:
        self._server = server
        self._record = record
        self._connection = self._new_connection()
        self._how: Ended | None = None
        self._held: asyncio.TimerHandle | None = None
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
        self._watch(self._server.idle_timeout_seconds)

    def connection_lost(self, error: Exception | None) -> None:
        for timer in (self._held, self._idle):
            if timer is not None:
                timer.cancel()
        how = self._how or (Ended.CLIENT_RESET if error else Ended.CLIENT_CLOSED)
        if self._how is None and error is not None:
            self._record.detail = f"{error}{self._inside_a_frame()}"
        self._server.weighed(-self.held_bytes)
        self.held_bytes = 0
        self._server.ended(self, self._record, how)

    def _new_connection(self) -> PacketConnection:
        server = self._server
        return PacketConnection(
            Direction.SERVER, server.key, server.frame_limit_bytes, server.inflated_limit_bytes
        )

    def stop(self) -> None:
        """End at once: the server stops. What the kernel has taken still goes out, then a FIN."""
        self._how = self._how or Ended.SERVER_STOPPED
        self._transport.abort()

    def weigh(self) -> int:
        """Set `held_bytes`, what waits here of both directions; return by how much it has grown."""
        if not self.is_connected:
            # Accepted, but the loop has not told us yet
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
        self._connection = self._new_connection()  # the old one holds what must go
        self._reset(Ended.OUT_OF_MEMORY)

    def data_received(self, data: bytes) -> None:
        if self._how is not None:
            return
        self._record.saw(data)
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
        try:
            while self._may_answer():
                packet = self._connection.next_packet()
                if packet is None:
                    if self._input_ended:
                        self._connection.receive_eof()
                        self._end(Ended.CLIENT_CLOSED)
                    break
                self._last_packet = time.monotonic()
                self._record.packets_received += 1
                self._record.last_packet_seconds = round(self._last_packet - self._record.began_monotonic, 6)
                self._answer(packet)
        except PeerWireError as error:
            self._record.detail = str(error)
            self._end(_ENDED_BY[type(error)])
        self._read_if_wanted()
        self._server.weighed(self.weigh())

    def _may_answer(self) -> bool:
        is_waiting = self._held is not None or not self._is_writable
        return self._how is None and not is_waiting and not self._transport.is_closing()

    def _read_if_wanted(self) -> None:
        """Stop reading where what comes could only pile up.

        While an answer is held some more is read, so that a client that goes away is seen going at once.
        """
        if self._how is not None or self._input_ended or self._transport.is_closing():
            return
        has_room = self._held is None or self._connection.unread_bytes < READ_AHEAD_BYTES
        wanted = self._is_writable and has_room
        if wanted is not self._is_reading:
            self._is_reading = wanted
            change = self._transport.resume_reading if wanted else self._transport.pause_reading
            change()

    def _answer(self, packet: Packet) -> None:
        if packet.is_ping:
            self._record.pings += 1
            self._reply(packet)
            return
        try:
            reply = self._carry_out(packet)
        except (BodyMalformed, LocalWireError) as error:
            # The packet opened, so the stream is whole: say what is wrong and go on
            reply = Packet.error(str(error))
        if reply is not None:
            self._reply(reply)

    def _reply(self, packet: Packet) -> None:
        if self._output_ended or self._transport.is_closing():
            return
        try:
            wire = self._connection.send(packet)
        except LocalWireError as error:
            # It came to us packed tighter than we can pack it
            wire = self._connection.send(Packet.error(str(error)))
        self._record.packets_sent += 1
        self._record.bytes_sent += len(wire)
        self._transport.write(wire)

    def _carry_out(self, packet: Packet) -> Packet | None:
        operation = packet.operation
        match operation:
            case Operation.ECHO:
                return packet
            case Operation.SOURCE:
                return source_reply(*read_source(packet.argument))
            case Operation.SINK:
                return sink_reply(packet.argument)
            case Operation.OBSERVED:
                seen = {**self._record.as_dict(), "tcp_info": tcp_info(self._socket)}
                seen["damaged_segments"] = damaged_segments()
                return document_reply(operation, seen)
            case Operation.HOLD:
                self._hold(read_hold(packet.argument) / 1000, packet)
                return None
            case Operation.IDENTIFY:
                self._record.nonce = read_nonce(packet.argument).hex()
                return packet
            case Operation.JOURNAL:
                return self._journal_reply(read_nonce(packet.argument))
            case Operation.CLOSE:
                self._close(read_close(packet.argument))
                return None
            case Operation.ERROR:
                return Packet.error("ERROR is an answer, not a request")

    def _journal_reply(self, nonce: bytes) -> Packet:
        records = self._server.journal.of(nonce)
        if not records:
            return Packet.error("no session with this nonce is in the journal")
        shown = [record.as_dict() for record in records[-MAX_JOURNAL_RECORDS:]]
        return document_reply(Operation.JOURNAL, {"count": len(records), "records": shown})

    def _hold(self, seconds: float, reply: Packet) -> None:
        def release() -> None:
            self._held = None
            self._last_packet = time.monotonic()
            self._reply(reply)
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

    def _watch(self, seconds: float) -> None:
        self._idle = self._loop.call_later(seconds, self._check_idle)

    def _check_idle(self) -> None:
        """One lazy timer a connection: only whole packets count, so a dribbling client gains no time."""
        limit = self._server.idle_timeout_seconds
        quiet = time.monotonic() - self._last_packet
        if self._held is not None or quiet < limit:
            self._watch(limit if self._held is not None else limit - quiet)
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

    def _reset(self, how: Ended) -> None:
        """Close with RST (socket(7), SO_LINGER 0); the kernel, too, throws away what waits there."""
        self._how = self._how or how
        with contextlib.suppress(OSError):
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NOTHING)
        self._transport.abort()
