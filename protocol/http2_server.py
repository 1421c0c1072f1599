"""HTTP/2 as a proxy speaks it with its clients (RFC 9113): each request, and each tunnel, is a stream.

It translates: requests come out as HTTP/1.1 heads, replies go in as HTTP/1.1, and rules, logins and words
stay the same.
"""

from typing import Final

import h2.errors
import h2.events
import h2.exceptions

from protocol.errors import PeerWireError
from protocol.http2_connection import Http2Connection, StreamMalformed
from protocol.http2_exchange import Http2Exchange
from protocol.http2_heads import body_bytes_of, checked, fields_of, head_of

MAX_RESETS: Final = 1000
"""Streams that a client takes back, or breaks, before they are answered, less those that it lets us answer.
More is an attack (CVE-2023-44487). Browsers end a tunnel that they are done with so, too, which is none."""

MAX_REPLY_HEAD_BYTES: Final = 65_536
_CODES = h2.errors.ErrorCodes


class StreamLost(PeerWireError):
    """The client took the stream back, or its connection has ended."""


class Http2Server:
    """One connection of a client. Send `data_to_send()` after every call; calls are short and never wait."""

    def __init__(self) -> None:
        self._connection = Http2Connection()
        self._streams: dict[int, Http2Exchange] = {}
        self._resets = 0

    @property
    def is_over(self) -> bool:
        """Whether the connection has ended."""
        return self._connection.is_over

    @property
    def is_going_away(self) -> bool:
        """Whether no new streams are taken."""
        return self._connection.is_going_away

    @property
    def is_in_head(self) -> bool:
        """Whether a head has begun and is not whole."""
        return self._connection.is_in_head

    @property
    def open_streams(self) -> int:
        """Requests that are not over on both sides."""
        return len(self._streams)

    def data_to_send(self) -> bytes:
        """What must go to the client now."""
        return self._connection.data_to_send()

    def receive_data(self, data: bytes) -> list[tuple[int, bytes]]:
        """Take the next bytes, b"" at the end; return the requests that came: stream and HTTP/1.1 head.

        Raises: HeadMalformed when this is no HTTP/2; what is to be sent then says so.
        """
        if not data:
            self.lose()
            return []
        try:
            events = self._connection.receive(data)
            return [found for event in events if (found := self._take(event)) is not None]
        finally:
            if self.is_over:
                self.lose()

    def lose(self) -> None:
        """The connection has ended: so have all its streams."""
        self._connection.is_over = True
        for stream in self._streams.values():
            stream.is_lost = True

    def go_away(self) -> None:
        """Take no new streams; those that are open go on (RFC 9113 section 6.8)."""
        self._connection.go_away()

    def give_up(self) -> None:
        """End the connection: a head has taken too long, or too many were taken back."""
        self._connection.end(_CODES.ENHANCE_YOUR_CALM)
        self.lose()

    def _take(self, event: h2.events.Event) -> tuple[int, bytes] | None:
        match event:
            case h2.events.RequestReceived(stream_id=int(number)):
                return self._begin(number, event)
            case h2.events.DataReceived(stream_id=int(number), data=data, flow_controlled_length=size):
                self._take_data(number, bytes(data or b""), size or 0)
            case h2.events.TrailersReceived(stream_id=int(number), headers=fields) if number in self._streams:
                # RFC 9113 section 8.5: in a tunnel only DATA may come, and this is no clean end
                if self._streams[number].is_tunnel or checked(fields, is_trailer=True) is None:
                    self._is_malformed(number)
            case h2.events.StreamEnded(stream_id=int(number)) if number in self._streams:
                self._streams[number].has_ended = True
                self._check_length(number)
            case StreamMalformed(stream_id=number) if number in self._streams:
                self._is_malformed(number)
            case h2.events.StreamReset(stream_id=int(number)) if number in self._streams:
                self._take_back(self._streams[number])
            case h2.events.WindowUpdated() | h2.events.RemoteSettingsChanged():
                for number in list(self._streams):
                    self._send(number)
            case _:
                return None
        return None

    def _take_back(self, stream: Http2Exchange) -> None:
        stream.is_lost = True
        if not stream.has_head:
            self._count_reset()

    def _refuse(self, number: int, code: h2.errors.ErrorCodes) -> None:
        self._connection.reset(number, code)
        self._count_reset()

    def _count_reset(self) -> None:
        self._resets += 1
        if self._resets > MAX_RESETS:
            self.give_up()

    def _begin(self, number: int, event: h2.events.RequestReceived) -> tuple[int, bytes] | None:
        if self.is_going_away or self._connection.is_one_too_many:
            # RFC 9113 section 5.1.2
            self._refuse(number, _CODES.REFUSED_STREAM)
            return None
        self._connection.lengths_are_ours(number)
        self._connection.last = number
        fields = checked(event.headers)
        head = head_of(fields) if fields is not None else None
        if fields is None or head is None:
            # RFC 9113 section 8.1.1: a malformed request is a stream error
            self._refuse(number, _CODES.PROTOCOL_ERROR)
            return None
        is_tunnel, has_body = head.startswith(b"CONNECT "), event.stream_ended is None
        body_bytes = None if is_tunnel else body_bytes_of(fields)
        if body_bytes and not has_body:
            self._refuse(number, _CODES.PROTOCOL_ERROR)
            return None
        stream = Http2Exchange(missing_bytes=body_bytes, has_body=has_body, is_tunnel=is_tunnel)
        stream.is_bodiless = (":method", "HEAD") in fields
        self._streams[number] = stream
        return number, head

    def _is_malformed(self, number: int) -> None:
        # Counted as well: a client may have us reset what it would take back itself (CVE-2025-8671)
        stream = self._streams[number]
        if not stream.is_malformed:
            stream.is_malformed = True
            self._take_back(stream)
            self._connection.reset(number, _CODES.PROTOCOL_ERROR)

    def _check_length(self, number: int) -> None:
        if self._streams[number].is_of_another_length:
            self._is_malformed(number)

    def _take_data(self, number: int, data: bytes, size: int) -> None:
        stream = self._streams.get(number)
        if stream is not None and not stream.is_lost:
            stream.take(data)
            # The padding's share of the window is given back at once, the data's when it is read
            size -= len(data)
            self._check_length(number)
        self._connection.acknowledge(number, size)

    def read(self, number: int, limit_bytes: int) -> bytes | None:
        """Bytes of a stream, b"" at its end, None when more must be received first.

        Raises: StreamLost, after all that came before the loss was read.
        """
        stream = self._streams.get(number)
        if stream is None or stream.is_malformed:
            raise StreamLost("the stream has ended")
        if stream.received:
            data = bytes(stream.received[:limit_bytes])
            del stream.received[: len(data)]
            self._connection.acknowledge(number, len(data))
            return data
        if stream.has_ended:
            return b""
        self._stream(number)
        return None

    def write(self, number: int, data: bytes) -> None:
        """Say more of the reply: an HTTP/1.1 head first, then what belongs to it or to the tunnel.

        Raises: StreamLost; the head was none, too.
        """
        stream = self._stream(number)
        if stream.has_head:
            stream.unsent += data
        else:
            stream.said += data
            self._say_heads(number, stream)
        if stream.is_bodiless:
            stream.unsent.clear()
        self._send(number)

    def _say_heads(self, number: int, stream: Http2Exchange) -> None:
        while not stream.has_head and (end := stream.said.find(b"\r\n\r\n")) >= 0:
            fields = fields_of(bytes(stream.said[:end]), is_tunnel=stream.is_tunnel)
            del stream.said[: end + 4]
            if fields is None:
                self.reset(number)
                raise StreamLost("the reply has no HTTP head")
            stream.has_head = not fields[0][1].startswith("1")
            try:
                # As bytes: of text it would make UTF-8, which the values need not be
                raw = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in fields]
                self._connection.h2.send_headers(number, raw)
            except h2.exceptions.ProtocolError:
                raise StreamLost("the stream has ended") from None
        if stream.has_head:
            self._resets = max(0, self._resets - 1)
            stream.unsent += stream.said
            stream.said.clear()
        elif len(stream.said) > MAX_REPLY_HEAD_BYTES:
            self.reset(number)
            raise StreamLost("the reply's head has no end")

    def end(self, number: int) -> None:
        """The reply, or the tunnel's way down, is complete."""
        stream = self._streams.get(number)
        if stream is None or stream.is_over:
            return
        if not stream.has_head:
            self.reset(number)
            return
        stream.wants_end = True
        self._send(number)

    def reset(self, number: int) -> None:
        """End a stream with an error: a TCP error on the other side is one (RFC 9113 section 8.5)."""
        stream = self._streams.get(number)
        if stream is not None:
            stream.is_lost = stream.is_over = True
            self._connection.reset(number, _CODES.CONNECT_ERROR)

    def forget(self, number: int) -> None:
        """Nobody here has to do with this stream any more: if it is not over, it is ended."""
        stream = self._streams.get(number)
        if stream is None:
            return
        if not stream.is_over:
            self._connection.reset(number, _CODES.CANCEL)
        elif not stream.has_ended:
            # "You need not go on" (RFC 9113 section 8.1)
            self._connection.reset(number, _CODES.NO_ERROR)
        self._connection.acknowledge(number, len(stream.received))
        del self._streams[number]

    def is_unsent(self, number: int) -> bool:
        """Whether bytes wait for the client's window. Raises: StreamLost."""
        return bool(self._stream(number).unsent)

    def is_lost(self, number: int) -> bool:
        """Whether nothing can be said any more."""
        stream = self._streams.get(number)
        return stream is None or stream.is_lost

    def has_body(self, number: int) -> bool:
        """Whether something was to come behind the head of the request."""
        stream = self._streams.get(number)
        return stream is not None and stream.has_body

    def has_ended(self, number: int) -> bool:
        """Whether the client has said its last word."""
        stream = self._streams.get(number)
        return stream is None or stream.has_ended

    def has_news(self, number: int) -> bool:
        """Whether `read` has something to give or to raise."""
        stream = self._streams.get(number)
        return stream is None or stream.is_lost or stream.has_ended or bool(stream.received)

    def _stream(self, number: int) -> Http2Exchange:
        stream = self._streams.get(number)
        if stream is None or stream.is_lost:
            raise StreamLost("the stream has ended")
        return stream

    def _send(self, number: int) -> None:
        stream = self._streams[number]
        if stream.is_lost or stream.is_over:
            return
        try:
            self._connection.send(number, stream.unsent)
            if stream.wants_end and not stream.unsent:
                stream.is_over = True
                self._connection.h2.end_stream(number)
        except h2.exceptions.ProtocolError:
            stream.is_lost = True
