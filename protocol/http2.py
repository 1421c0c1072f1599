"""CONNECT over HTTP/2 as a client speaks it (RFC 9113 section 8.5): one connection, one tunnel.

It translates: a ConnectHandshake says and hears HTTP/1.1 heads, and logins, limits and words stay the same.
"""

from collections.abc import Sequence
from typing import Any, Final

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions
import h2.settings

from protocol.errors import HeadMalformed, LocalWireError, PeerWireError
from protocol.resemblance import excerpt, resembles

WINDOW_BYTES: Final = 1_048_576
"""Of the tunnel, on its way to us: so much a proxy may send before it is read, so much is held at most."""

Fields = list[tuple[str, str]]
_DEFAULT_WINDOW_BYTES: Final = 65_535
# Of one connection: names that mean something else, or nothing, in HTTP/2 (RFC 9113 section 8.2.2).
_LEFT_OUT: Final = {"host", "connection", "proxy-connection", "keep-alive", "transfer-encoding", "upgrade"}


class StreamReset(PeerWireError):
    """The tunnel's stream, or the whole connection, was ended with an error by the proxy.

    Attributes: code: an error code of RFC 9113 section 7.
    """

    def __init__(self, code: int, whole_connection: bool) -> None:
        try:
            name = h2.errors.ErrorCodes(code).name
        except ValueError:
            name = f"error {code}"
        super().__init__(f"HTTP/2 {'GOAWAY' if whole_connection else 'RST_STREAM'}: {name}")
        self.code = code


class Http2Tunnel:
    """One HTTP/2 connection to a proxy: `request` and `reply_bytes` until `is_open`, then `read` and `write`.

    Send `data_to_send()` after every call. Calls are short and never wait.
    """

    def __init__(self) -> None:
        settings = h2.config.H2Configuration(client_side=True, header_encoding="latin-1")
        self._connection = h2.connection.H2Connection(settings)
        self._connection.local_settings = h2.settings.Settings(
            client=True,
            initial_values={
                h2.settings.SettingCodes.ENABLE_PUSH: 0,
                h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: WINDOW_BYTES,
                h2.settings.SettingCodes.MAX_HEADER_LIST_SIZE: 65_536,
            },
        )
        self._connection.initiate_connection()
        self._connection.increment_flow_control_window(WINDOW_BYTES - _DEFAULT_WINDOW_BYTES)
        self._stream = 0
        self._reply = bytearray()
        self._received = bytearray()
        self._has_begun = False
        self._is_chunked = False
        self._is_ended = False
        self._reset: StreamReset | None = None
        self.is_open = False

    def request(self, head: bytes) -> None:
        """Ask as this HTTP/1.1 head of a CONNECT asks, on a stream of its own."""
        line, *fields = head.decode("latin-1").removesuffix("\r\n\r\n").split("\r\n")
        method, target, _ = line.split(" ")
        if method != "CONNECT":
            raise LocalWireError(f"only CONNECT is asked here, not {method}")
        headers = [(":method", "CONNECT"), (":authority", target)]
        for field in fields:
            name, _, value = field.partition(":")
            if name.lower() not in _LEFT_OUT:
                headers.append((name.lower(), value.strip(" ")))
        self._end_stream()
        self._reply.clear()
        self._is_ended = self._is_chunked = False
        self._reset = None
        self._stream = self._connection.get_next_available_stream_id()
        self._connection.send_headers(self._stream, headers)

    def data_to_send(self) -> bytes:
        """What must go to the proxy now."""
        return self._connection.data_to_send()

    def reply_bytes(self) -> bytes:
        """What the proxy has answered since the last call, as HTTP/1.1: heads, and the body of a refusal."""
        data = bytes(self._reply)
        self._reply.clear()
        return data

    def receive_data(self, data: bytes) -> None:
        """Take the next bytes; b"" says that the connection ended.

        Raises: HeadMalformed when this is no HTTP/2.
        """
        if not data:
            self._is_ended = True
            return
        try:
            events = self._connection.receive_data(data)
        except h2.exceptions.ProtocolError as error:
            looks = resembles(data) if not self._has_begun else None
            found = f"it looks like {looks}: {excerpt(data)}" if looks else str(error) or type(error).__name__
            raise HeadMalformed(f"the proxy breaks the rules of HTTP/2 that it chose: {found}") from None
        self._has_begun = True
        for event in events:
            self._take(event)

    def _take(self, event: h2.events.Event) -> None:
        match event:
            case h2.events.ConnectionTerminated(error_code=code):
                self._end(None if not code else StreamReset(int(code), True))
            case h2.events.StreamReset(stream_id=self._stream, error_code=code):
                if not code and self._is_ended:
                    return  # "you need not go on": its answer is complete (RFC 9113 section 8.1)
                self._end(StreamReset(int(code or 0), False))
            case h2.events.InformationalResponseReceived(stream_id=self._stream, headers=headers):
                self._reply += _head_of(_text(headers), ())
            case h2.events.ResponseReceived(stream_id=self._stream, headers=headers):
                self._take_response(_text(headers))
            case h2.events.DataReceived(data=data, flow_controlled_length=size):
                self._take_data(event.stream_id or 0, bytes(data or b""), size or 0)
            case h2.events.StreamEnded(stream_id=self._stream):
                if self._is_chunked:
                    self._reply += b"0\r\n\r\n"
                self._is_ended = True
            case _:
                return

    def _take_response(self, headers: Fields) -> None:
        status = dict(headers).get(":status", "")
        self.is_open = status.startswith("2")
        self._is_chunked = not self.is_open
        self._reply += _head_of(headers, () if self.is_open else (("Transfer-Encoding", "chunked"),))

    def _take_data(self, stream: int, data: bytes, size: int) -> None:
        if stream == self._stream and self.is_open:
            self._received += data
            # The padding's share of the window is given back at once, the data's when it is read
            size -= len(data)
        elif stream == self._stream and data:
            self._reply += b"%x\r\n%b\r\n" % (len(data), data)
        self._acknowledge(stream, size)

    def read(self, limit_bytes: int = WINDOW_BYTES) -> bytes | None:
        """Bytes out of the tunnel, b"" at its end, None when more must be received first.

        Raises: StreamReset, after all that came before it was read.
        """
        if self._received:
            data = bytes(self._received[:limit_bytes])
            del self._received[: len(data)]
            self._acknowledge(self._stream, len(data))
            return data
        if self._reset is not None:
            raise self._reset.with_traceback(None)
        return b"" if self._is_ended else None

    def write(self, data: bytes) -> int:
        """Put bytes into the tunnel; how many there was room for, 0 until the proxy gives more.

        Raises: StreamReset.
        """
        if self._reset is not None:
            raise self._reset.with_traceback(None)
        try:
            room = self._connection.local_flow_control_window(self._stream)
            size = max(0, min(room, len(data)))
            largest = self._connection.max_outbound_frame_size
            for start in range(0, size, largest):
                self._connection.send_data(self._stream, data[start : min(start + largest, size)])
        except h2.exceptions.ProtocolError:
            raise StreamReset(int(h2.errors.ErrorCodes.STREAM_CLOSED), False) from None
        return size

    def end(self) -> None:
        """Say our last word (END_STREAM); reading goes on."""
        try:
            self._connection.end_stream(self._stream)
        except h2.exceptions.ProtocolError:
            return  # it is over already

    def _end_stream(self) -> None:
        if not self._stream:
            return
        try:
            self._connection.reset_stream(self._stream, h2.errors.ErrorCodes.CANCEL)
        except h2.exceptions.ProtocolError:
            return  # it is over already

    def _end(self, reset: StreamReset | None) -> None:
        self._reset = self._reset or reset
        self._is_ended = True

    @property
    def has_news(self) -> bool:
        """Whether `read` has something to give or to raise."""
        return bool(self._received) or self._is_ended

    @property
    def has_room(self) -> bool:
        """Whether `write` can take something, or has something to raise."""
        try:
            return self._reset is not None or self._connection.local_flow_control_window(self._stream) > 0
        except h2.exceptions.ProtocolError:
            return True

    @property
    def failed(self) -> StreamReset | None:
        """The error that the proxy ended it with, before or after it was open."""
        return self._reset

    @property
    def is_ended(self) -> bool:
        """Whether nothing more will come."""
        return self._is_ended

    def _acknowledge(self, stream: int, size: int) -> None:
        if size > 0:
            try:
                self._connection.acknowledge_received_data(size, stream)
            except (h2.exceptions.ProtocolError, KeyError):
                return  # the stream is gone; nobody waits for its window


def _text(headers: Sequence[Any] | None) -> Fields:
    """Fields as text; the decoder may give either."""
    return [
        (
            name if isinstance(name, str) else name.decode("latin-1"),
            value if isinstance(value, str) else value.decode("latin-1"),
        )
        for name, value in headers or ()
    ]


def _head_of(headers: Fields, more: tuple[tuple[str, str], ...]) -> bytes:
    """A reply's fields as an HTTP/1.1 head, which is the form that all that follows reads."""
    fields = [(name, value) for name, value in headers if not name.startswith(":")]
    status = dict(headers).get(":status", "")
    kept = [pair for pair in fields if pair[0] not in ("content-length", "transfer-encoding")]
    lines = [f"HTTP/1.1 {status} ", *(f"{name}: {value}" for name, value in (*kept, *more)), "", ""]
    return "\r\n".join(lines).encode("latin-1", "replace")
