"""One connection to the emulated server: an asyncio protocol around PacketConnection."""

import asyncio
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
    SealBroken,
    StreamTruncated,
    WireError,
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
from relay.evidence import tcp_info
from relay.journal import Ended, Record

if TYPE_CHECKING:
    from relay.emulator import EmulatedServer

_ENDED_BY = {
    FrameTooLarge: Ended.FRAME_TOO_LARGE,
    SealBroken: Ended.SEAL_BROKEN,
    StreamTruncated: Ended.STREAM_TRUNCATED,
    InflateTooLarge: Ended.INFLATE_TOO_LARGE,
    BodyMalformed: Ended.BODY_MALFORMED,
}
# A journal answer must fit one packet; a nonce is one session, but its client may have reconnected often.
MAX_JOURNAL_RECORDS = 100


class Conversation(asyncio.Protocol):
    """Answers packets in their order; reads no further while a reply waits or the client does not read."""

    def __init__(self, server: "EmulatedServer") -> None:
        self._server = server
        self._connection = PacketConnection(
            Direction.SERVER, server.key, server.frame_limit_bytes, server.inflated_limit_bytes
        )
        self._how: Ended | None = None
        self._held: asyncio.TimerHandle | None = None
        self._idle: asyncio.TimerHandle | None = None
        self._paused = False
        self._input_ended = False
        self._output_ended = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        if not self._server.has_room():
            self._server.refused_connections += 1
            self._transport.abort()
            return
        self._loop = asyncio.get_running_loop()
        self._socket: socket.socket = transport.get_extra_info("socket")
        self._record: Record = self._server.began(self, self._socket)
        self._last_packet = time.monotonic()
        self._watch(self._server.idle_timeout_seconds)

    def connection_lost(self, error: Exception | None) -> None:
        for timer in (self._held, self._idle):
            if timer is not None:
                timer.cancel()
        if not hasattr(self, "_record"):
            return
        how = self._how or (Ended.CLIENT_RESET if error else Ended.CLIENT_CLOSED)
        if how is Ended.CLIENT_RESET and error is not None:
            self._record.detail = str(error)
        self._server.ended(self, self._record, how)

    def stop(self) -> None:
        """End at once: the server stops."""
        self._end(Ended.SERVER_STOPPED, abort=True)

    def data_received(self, data: bytes) -> None:
        if self._how is not None or not hasattr(self, "_record"):
            return
        self._record.saw(data)
        try:
            self._connection.receive_data(data)
        except WireError as error:
            self._fail(error)
            return
        self._go_on()

    def eof_received(self) -> bool:
        if not hasattr(self, "_record"):
            return False
        self._input_ended = True
        self._go_on()
        # Keep our way open: replies that wait are still owed
        return True

    def pause_writing(self) -> None:
        self._paused = True
        self._transport.pause_reading()

    def resume_writing(self) -> None:
        self._paused = False
        self._last_packet = time.monotonic()
        self._go_on()

    def _go_on(self) -> None:
        """Answer what has come, until something makes us wait."""
        try:
            while self._how is None and self._held is None and not self._paused:
                packet = self._connection.next_packet()
                if packet is None:
                    self._wait_for_more()
                    return
                self._last_packet = time.monotonic()
                self._record.packets_received += 1
                self._record.last_packet_seconds = round(self._last_packet - self._record.began_monotonic, 6)
                self._answer(packet)
        except WireError as error:
            self._fail(error)

    def _wait_for_more(self) -> None:
        if not self._input_ended:
            if not self._output_ended or self._how is None:
                self._transport.resume_reading()
            return
        self._connection.receive_eof()
        self._end(Ended.CLIENT_CLOSED)

    def _answer(self, packet: Packet) -> None:
        if packet.is_ping:
            self._record.pings += 1
            self._reply(packet)
            return
        try:
            reply = self._carry_out(packet.operation, packet.argument)
        except (BodyMalformed, LocalWireError) as error:
            # The packet opened, so the stream is whole: say what is wrong and go on
            reply = Packet.error(str(error))
        if reply is not None:
            self._reply(reply)

    def _reply(self, packet: Packet) -> None:
        if self._output_ended:
            return
        wire = self._connection.send(packet)
        self._record.packets_sent += 1
        self._record.bytes_sent += len(wire)
        self._transport.write(wire)

    def _carry_out(self, operation: Operation, argument: bytes) -> Packet | None:
        match operation:
            case Operation.ECHO:
                return Packet.echo(argument)
            case Operation.SOURCE:
                return source_reply(*read_source(argument))
            case Operation.SINK:
                return sink_reply(argument)
            case Operation.OBSERVED:
                return document_reply(operation, {**self._record.as_dict(), "tcp_info": tcp_info(self._socket)})
            case Operation.HOLD:
                self._hold(read_hold(argument) / 1000, Packet.reply(operation, argument))
                return None
            case Operation.IDENTIFY:
                self._record.nonce = read_nonce(argument).hex()
                return Packet.identify(argument)
            case Operation.JOURNAL:
                return self._journal_reply(read_nonce(argument))
            case Operation.CLOSE:
                self._close(read_close(argument))
                return None
            case Operation.ERROR:
                raise BodyMalformed("ERROR is an answer, not a request")

    def _journal_reply(self, nonce: bytes) -> Packet:
        records = self._server.journal.of(nonce)
        if not records:
            raise BodyMalformed("no session with this nonce is in the journal")
        shown = [record.as_dict() for record in records[-MAX_JOURNAL_RECORDS:]]
        return document_reply(Operation.JOURNAL, {"count": len(records), "records": shown})

    def _hold(self, seconds: float, reply: Packet) -> None:
        def release() -> None:
            self._held = None
            self._last_packet = time.monotonic()
            self._reply(reply)
            self._go_on()

        # While the answer waits nothing else is read: answers keep their order, memory stays bounded
        self._transport.pause_reading()
        self._held = self._loop.call_later(seconds, release)

    def _close(self, how: CloseHow) -> None:
        match how:
            case CloseHow.FIN:
                self._end(Ended.CLOSE_REQUESTED)
            case CloseHow.RST:
                linger_nothing = struct.pack("ii", 1, 0)
                self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger_nothing)
                self._end(Ended.CLOSE_REQUESTED, abort=True)
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
            self._end(Ended.NOT_READING, abort=True)
            return
        if self._connection.unread_bytes:
            self._record.detail = f"in the middle of a frame, {self._connection.unread_bytes} bytes of it came"
        self._end(Ended.IDLE_TIMEOUT)

    def _fail(self, error: WireError) -> None:
        self._record.detail = str(error)
        self._end(_ENDED_BY.get(type(error), Ended.BODY_MALFORMED))

    def _end(self, how: Ended, *, abort: bool = False) -> None:
        self._how = self._how or how
        if abort:
            self._transport.abort()
        else:
            # Replies that are queued still go out; the idle timer ends a client that does not take them
            self._transport.close()
