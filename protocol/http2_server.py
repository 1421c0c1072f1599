"""HTTP/2 as a proxy speaks it with its clients (RFC 9113): each request, and each tunnel, is a stream.

It translates: requests come out as HTTP/1.1 heads, replies go in as HTTP/1.1, and rules, logins and words
stay the same.
"""

from collections.abc import Sequence
from typing import Any, Final

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions
import h2.settings
from hyperframe.frame import GoAwayFrame

from protocol.errors import HeadMalformed, PeerWireError
from protocol.http2_exchange import Http2Exchange
from protocol.http2_frames import FrameLengths
from protocol.http2_heads import fields_of, head_of

MAX_STREAMS: Final = 100
"""At once in one connection; RFC 9113 section 6.5.2 recommends no fewer."""

WINDOW_BYTES: Final = 65_535
"""Of each stream on its way to us: so much is held of it at most until it is read."""

MAX_RESETS: Final = 1000
"""Streams that a client takes back before they are answered, less those that it lets us answer. More is an
attack (CVE-2023-44487). Browsers end a tunnel that they are done with in the same way, which is none."""

MAX_REPLY_HEAD_BYTES: Final = 65_536
_CODES = h2.errors.ErrorCodes
_DEFAULT_WINDOW_BYTES: Final = 65_535


class StreamLost(PeerWireError):
    """The client took the stream back, or its connection has ended."""


class Http2Server:
    """One connection of a client. Send `data_to_send()` after every call; calls are short and never wait."""

    def __init__(self) -> None:
        settings = h2.config.H2Configuration(client_side=False, header_encoding="latin-1")
        self._connection = h2.connection.H2Connection(settings)
        codes = h2.settings.SettingCodes
        self._connection.local_settings = h2.settings.Settings(
            client=False,
            initial_values={
                codes.MAX_CONCURRENT_STREAMS: MAX_STREAMS,
                codes.INITIAL_WINDOW_SIZE: WINDOW_BYTES,
                codes.MAX_HEADER_LIST_SIZE: 65_536,
            },
        )
        self._connection.initiate_connection()
        # As much as all streams together may have: one that is not read must not stop the others
        self._connection.increment_flow_control_window(MAX_STREAMS * WINDOW_BYTES - _DEFAULT_WINDOW_BYTES)
        self._streams: dict[int, Http2Exchange] = {}
        self._lengths = FrameLengths()
        self._extra = b""
        self._resets = 0
        self._last = 0
        self.is_over = False
        self.is_going_away = False

    @property
    def open_streams(self) -> int:
        """Requests that are not over on both sides."""
        return len(self._streams)

    def data_to_send(self) -> bytes:
        """What must go to the client now."""
        data, self._extra = self._connection.data_to_send() + self._extra, b""
        return data

    def receive_data(self, data: bytes) -> list[tuple[int, bytes]]:
        """Take the next bytes, b"" at the end; return the requests that came: stream and HTTP/1.1 head.

        Raises: HeadMalformed when this is no HTTP/2; what is to be sent then says so.
        """
        if not data:
            self.lose()
            return []
        if not self._lengths.are_legal(data):
            self._connection.close_connection(_CODES.FRAME_SIZE_ERROR)
            self.lose()
            raise HeadMalformed("this is no HTTP/2: a frame is too long")
        try:
            events = self._connection.receive_data(data)
        except h2.exceptions.ProtocolError as error:
            self.lose()
            raise HeadMalformed(f"this is no HTTP/2: {error}") from None
        return [found for event in events if (found := self._take(event)) is not None]

    def lose(self) -> None:
        """The connection has ended: so have all its streams."""
        self.is_over = True
        for stream in self._streams.values():
            stream.is_lost = True

    def go_away(self) -> None:
        """Take no new streams; those that are open go on (RFC 9113 section 6.8)."""
        if not self.is_going_away:
            self.is_going_away = True
            frame = GoAwayFrame(0, last_stream_id=self._last)
            # h2 itself would let nothing more be said on open streams
            self._extra += self._connection.data_to_send() + frame.serialize()

    def _take(self, event: h2.events.Event) -> tuple[int, bytes] | None:
        match event:
            case h2.events.RequestReceived(stream_id=int(number), headers=headers):
                return self._begin(number, headers)
            case h2.events.DataReceived(stream_id=int(number), data=data, flow_controlled_length=size):
                self._take_data(number, bytes(data or b""), size or 0)
            case h2.events.TrailersReceived(stream_id=int(number)):
                self._refuse_trailers(number)
            case h2.events.StreamEnded(stream_id=int(number)) if number in self._streams:
                self._streams[number].has_ended = True
            case h2.events.StreamReset(stream_id=int(number)) if number in self._streams:
                self._take_back(self._streams[number])
            case h2.events.WindowUpdated() | h2.events.RemoteSettingsChanged():
                for number in list(self._streams):
                    self._send(number)
            case h2.events.ConnectionTerminated():
                self.lose()
            case _:
                return None
        return None

    def _take_back(self, stream: Http2Exchange) -> None:
        stream.is_lost = True
        self._resets += not stream.has_head
        if self._resets > MAX_RESETS:
            self._connection.close_connection(_CODES.ENHANCE_YOUR_CALM)
            self.lose()

    def _begin(self, number: int, headers: Sequence[Any] | None) -> tuple[int, bytes] | None:
        if self.is_going_away:
            self._reset(number, _CODES.REFUSED_STREAM)
            return None
        self._last = number
        fields = [(str(name), str(value)) for name, value in headers or ()]
        head = head_of(fields)
        if head is None:
            # RFC 9113 section 8.1.1: a malformed request is a stream error
            self._reset(number, _CODES.PROTOCOL_ERROR)
            return None
        is_bodiless = (":method", "HEAD") in fields
        self._streams[number] = Http2Exchange(is_tunnel=head.startswith(b"CONNECT "), is_bodiless=is_bodiless)
        return number, head

    def _refuse_trailers(self, number: int) -> None:
        stream = self._streams.get(number)
        if stream is not None and stream.is_tunnel:
            # RFC 9113 section 8.5: only DATA may come there, and this is no clean end
            stream.is_lost = True
            self._reset(number, _CODES.PROTOCOL_ERROR)

    def _take_data(self, number: int, data: bytes, size: int) -> None:
        stream = self._streams.get(number)
        if stream is not None and not stream.is_lost:
            stream.received += data
            # The padding's share of the window is given back at once, the data's when it is read
            size -= len(data)
        self._acknowledge(number, size)

    def read(self, number: int, limit_bytes: int) -> bytes | None:
        """Bytes of a stream, b"" at its end, None when more must be received first. Raises: StreamLost."""
        stream = self._stream(number)
        if stream.received:
            data = bytes(stream.received[:limit_bytes])
            del stream.received[: len(data)]
            self._acknowledge(number, len(data))
            return data
        return b"" if stream.has_ended else None

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
                self._connection.send_headers(number, fields)
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
            self._reset(number, _CODES.CONNECT_ERROR)

    def forget(self, number: int) -> None:
        """Nobody here has to do with this stream any more: if it is not over, it is ended."""
        stream = self._streams.get(number)
        if stream is None:
            return
        if not stream.is_over:
            self._reset(number, _CODES.CANCEL)
        elif not stream.has_ended:
            # "You need not go on" (RFC 9113 section 8.1)
            self._reset(number, _CODES.NO_ERROR)
        self._acknowledge(number, len(stream.received))
        del self._streams[number]

    def is_unsent(self, number: int) -> bool:
        """Whether bytes wait for the client's window. Raises: StreamLost."""
        return bool(self._stream(number).unsent)

    def is_lost(self, number: int) -> bool:
        """Whether nothing can be said any more."""
        stream = self._streams.get(number)
        return stream is None or stream.is_lost

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
            room = self._connection.local_flow_control_window(number)
            largest = self._connection.max_outbound_frame_size
            while stream.unsent and room > 0:
                size = min(room, largest, len(stream.unsent))
                self._connection.send_data(number, bytes(stream.unsent[:size]))
                del stream.unsent[:size]
                room -= size
            if stream.wants_end and not stream.unsent:
                stream.is_over = True
                self._connection.end_stream(number)
        except h2.exceptions.ProtocolError:
            stream.is_lost = True

    def _reset(self, number: int, code: h2.errors.ErrorCodes) -> None:
        try:
            self._connection.reset_stream(number, code)
        except h2.exceptions.ProtocolError:
            return  # it is over already

    def _acknowledge(self, number: int, size: int) -> None:
        if size > 0:
            try:
                self._connection.acknowledge_received_data(size, number)
            except (h2.exceptions.ProtocolError, KeyError):
                return  # the connection is gone; nobody waits for its window
