"""h2 as the proxy's side needs it: an error of one stream ends that stream only, and GOAWAY none at all."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions
import h2.settings
from hyperframe.frame import GoAwayFrame

from protocol.errors import HeadMalformed
from protocol.http2_frames import GOAWAY, RST_STREAM, WINDOW_UPDATE, Frame, FrameBroken, Frames

MAX_STREAMS: Final = 100
"""At once in one connection; RFC 9113 section 6.5.2 recommends no fewer."""

WINDOW_BYTES: Final = 65_535
"""Of each stream on its way to us: so much is held of it at most until it is read."""

_CODES = h2.errors.ErrorCodes
_DEFAULT_WINDOW_BYTES: Final = 65_535
# The last stream, and the code
_GOAWAY_BYTES: Final = 8


@dataclass
class StreamMalformed(h2.events.Event):
    """What came on a stream is an error of that stream."""

    stream_id: int


class Http2Connection:
    """A client's connection as events and frames; what the streams are about is up to Http2Server.

    last: the last stream that was begun and not refused.
    """

    def __init__(self) -> None:
        # What it would find malformed would end the connection
        config = h2.config.H2Configuration(client_side=False, validate_inbound_headers=False)
        self.h2 = h2.connection.H2Connection(config)
        self.h2.local_settings = _settings(MAX_STREAMS)
        self.h2.initiate_connection()
        # So would one stream more; `is_one_too_many` counts them instead
        self.h2.local_settings = _settings(2**31 - 1)
        # As much as all streams together may have: one that is not read must not stop the others
        self.h2.increment_flow_control_window(MAX_STREAMS * WINDOW_BYTES - _DEFAULT_WINDOW_BYTES)
        self._frames = Frames()
        self._extra = b""
        self.last = 0
        self.is_over = False
        self.is_going_away = False

    @property
    def is_in_head(self) -> bool:
        """Whether a head has begun and is not whole."""
        return self._frames.is_in_head

    @property
    def is_one_too_many(self) -> bool:
        """Whether the stream that has just begun goes beyond MAX_STREAMS (RFC 9113 section 5.1.2)."""
        return self.h2.open_inbound_streams > MAX_STREAMS

    def data_to_send(self) -> bytes:
        """What must go to the client now."""
        # What was put aside is older
        data, self._extra = self._extra + self.h2.data_to_send(), b""
        return data

    def receive(self, data: bytes) -> Iterator[h2.events.Event]:
        """Events of the next bytes, until the connection is over. Raises: HeadMalformed, for it is then."""
        try:
            for frame in self._frames.take(data):
                if self.is_over:
                    return
                yield from self._events_of(frame)
        except FrameBroken as error:
            self.end(error.code)
            raise HeadMalformed(f"this is no HTTP/2: {error}") from None
        except h2.exceptions.ProtocolError as error:
            self.is_over = True
            raise HeadMalformed(f"this is no HTTP/2: {error}") from None

    def _events_of(self, frame: Frame) -> list[h2.events.Event]:
        if frame.kind == GOAWAY and len(frame.payload) >= _GOAWAY_BYTES:
            # RFC 9113 section 6.8: what is open is brought to its end
            self.is_over = any(frame.payload[4:_GOAWAY_BYTES])
            self.go_away()
            return []
        if frame.kind == RST_STREAM and frame.stream > self.h2.highest_inbound_stream_id:
            # Section 6.4
            raise FrameBroken(_CODES.PROTOCOL_ERROR, "a stream that is idle is reset")
        if frame.kind == WINDOW_UPDATE and frame.stream in self.h2.streams and not any(frame.payload):
            # Section 6.9
            return [StreamMalformed(frame.stream)]
        return self.h2.receive_data(frame.wire)

    def lengths_are_ours(self, number: int) -> None:
        """Leave it to us to compare a body with its Content-Length: h2 would end the connection."""
        self.h2.streams[number]._expected_content_length = None  # noqa: SLF001

    def go_away(self) -> None:
        """Take no new streams; those that are open go on (RFC 9113 section 6.8)."""
        if not self.is_going_away:
            self.is_going_away = True
            frame = GoAwayFrame(0, last_stream_id=self.last)
            # h2 itself would let nothing more be said on open streams
            self._extra += self.h2.data_to_send() + frame.serialize()

    def end(self, code: h2.errors.ErrorCodes) -> None:
        """End the connection with an error."""
        self.h2.close_connection(code)
        self.is_over = True

    def reset(self, number: int, code: h2.errors.ErrorCodes) -> None:
        """End a stream with an error, if it is not over."""
        try:
            self.h2.reset_stream(number, code)
        except h2.exceptions.ProtocolError:
            return

    def acknowledge(self, number: int, size: int) -> None:
        """Give so many bytes of the windows back."""
        if size > 0:
            try:
                self.h2.acknowledge_received_data(size, number)
            except (h2.exceptions.ProtocolError, KeyError):
                return  # the connection is gone; nobody waits for its window

    def send(self, number: int, unsent: bytearray) -> None:
        """Send as much as there is room for, and take it from `unsent`. Raises: ProtocolError of h2."""
        room = self.h2.local_flow_control_window(number)
        largest = self.h2.max_outbound_frame_size
        while unsent and room > 0:
            size = min(room, largest, len(unsent))
            self.h2.send_data(number, bytes(unsent[:size]))
            del unsent[:size]
            room -= size


def _settings(streams: int) -> h2.settings.Settings:
    codes = h2.settings.SettingCodes
    values = {
        codes.MAX_CONCURRENT_STREAMS: streams,
        codes.INITIAL_WINDOW_SIZE: WINDOW_BYTES,
        codes.MAX_HEADER_LIST_SIZE: 65_536,
    }
    return h2.settings.Settings(client=False, initial_values=values)
