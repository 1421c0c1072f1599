"""Origin: HTTP/1.1 with one origin server, with our own words for everything that goes wrong.

h11 writes the request and reads the heads of replies, whole ones and none that it would take quadratic time
over. It reads no bodies: over white space in a chunk's first line or a trailer it takes such time too, half a
minute for what it accepts, in which no tunnel of the proxy would go on.
"""

import re

import h11

from relay.message_body import ChunkedBody, EndlessBody, SizedBody
from relay.refusal import Refusal
from relay.refused import Refused
from relay.request_head import MAX_BODY_BYTES
from relay.stream import Stream

MAX_HEAD_BYTES = 131_072
# An origin that never comes to its final reply; clients have limits of the same order.
MAX_INTERIM_REPLIES = 16

_HEAD_END = re.compile(rb"\r?\n\r?\n")
_SPACE_BEFORE_COLON = re.compile(rb"(?m)^([!#$%&'*+.^_`|~0-9A-Za-z-]+)[ \t]+:")
# RFC 9110 section 5.5 and RFC 9112 section 2.2; h11 refuses these as well, but in its own time.
_FORBIDDEN = re.compile(rb"[\x00\x0b\x0c]|\r(?!\n)")
_STATUS_START = b"HTTP/1."
_BODILESS = (204, 304)
_MAX_DIGITS = len(str(MAX_BODY_BYTES))


class ReplyBroken(Exception):
    """The origin's reply cannot be used; `refusal` is what the client is told, if it can still be told."""

    def __init__(self, error: str, words: str, status: int | None = None) -> None:
        super().__init__(words)
        self.refusal = Refusal(502, error, words, received_status=status)


class Origin:
    """One request and its reply on a connection of their own."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._http = h11.Connection(h11.CLIENT, max_incomplete_event_size=MAX_HEAD_BYTES)
        self._unparsed = bytearray()
        self._searched_bytes = 0
        self._interim_replies = 0
        self._is_head_request = False
        self._body: SizedBody | ChunkedBody | EndlessBody | None = None

    async def send(self, event: h11.Event) -> None:
        """Send part of the request. Raises: OSError."""
        if isinstance(event, h11.Request):
            self._is_head_request = event.method == b"HEAD"
        if wire := self._http.send(event):
            await self._stream.write(wire)

    async def next_event(self) -> h11.Event:
        """The next part of the reply: InformationalResponse, Response, Data or EndOfMessage.

        Raises: ReplyBroken, OSError.
        """
        while True:
            event = self._next_head() if self._body is None else self._next_of(self._body)
            if event is not None:
                return event
            self._receive(await self._stream.read())

    def _next_head(self) -> h11.Event | None:
        if not self._feed_head():
            return None
        try:
            event = self._http.next_event()
        except h11.RemoteProtocolError as error:
            raise self._broken(error) from error
        if isinstance(event, h11.Response):
            self._body = self._body_of(event)
        else:
            self._count_interim()
            self._searched_bytes = 0
        assert isinstance(event, h11.Event), "a whole head is an event"
        return event

    def _body_of(self, event: h11.Response) -> SizedBody | ChunkedBody | EndlessBody:
        """RFC 9112 section 6.3. h11 has seen to it that a length is one number, chunked the only coding."""
        if self._is_head_request or event.status_code in _BODILESS:
            return SizedBody(0)
        fields = {bytes(name): bytes(value) for name, value in event.headers}
        if b"transfer-encoding" in fields:
            return ChunkedBody(may_be_padded=True)
        length = fields.get(b"content-length")
        if length is None:
            return EndlessBody()
        if len(length) > _MAX_DIGITS or int(length) > MAX_BODY_BYTES:
            raise ReplyBroken("http_response_body_size", "the origin's Content-Length is beyond all bounds")
        return SizedBody(int(length))

    def _next_of(self, body: SizedBody | ChunkedBody | EndlessBody) -> h11.Event | None:
        try:
            data = body.take_data(self._unparsed)
        except Refused:
            raise _broken_body() from None
        if data:
            return h11.Data(data=data)
        return h11.EndOfMessage() if body.is_done else None

    def _receive(self, data: bytes) -> None:
        self._unparsed += data
        if data:
            return
        if isinstance(self._body, EndlessBody):
            self._body.is_done = True
        elif self._body is not None:
            raise _broken_body()
        elif self._unparsed:
            raise ReplyBroken("http_response_incomplete", "the origin closed in the middle of its head")
        else:
            raise ReplyBroken("connection_terminated", "the origin closed the connection without an answer")

    def _feed_head(self) -> bool:
        """Give h11 one whole head, mended as RFC 9112 section 5.1 asks; False when there is none yet."""
        if self._unparsed.startswith((b"\r", b"\n")):
            del self._unparsed[: len(self._unparsed) - len(self._unparsed.lstrip(b"\r\n"))]
        if not self._unparsed.startswith(_STATUS_START[: len(self._unparsed)]):
            raise ReplyBroken("http_protocol_error", "the origin does not answer as an HTTP/1 server does")
        end = _HEAD_END.search(self._unparsed, max(0, self._searched_bytes - 3))
        if (end.end() if end else len(self._unparsed)) > MAX_HEAD_BYTES:
            words = f"the head of the origin's reply is beyond {MAX_HEAD_BYTES} bytes"
            raise ReplyBroken("http_response_header_section_size", words)
        self._searched_bytes = len(self._unparsed)
        if end is None:
            return False
        head = bytes(self._unparsed[: end.end()])
        del self._unparsed[: end.end()]
        if _FORBIDDEN.search(head):
            raise ReplyBroken("http_protocol_error", "the head of the origin's reply has control characters")
        self._http.receive_data(_SPACE_BEFORE_COLON.sub(rb"\1:", head))
        return True

    def _count_interim(self) -> None:
        self._interim_replies += 1
        if self._interim_replies > MAX_INTERIM_REPLIES:
            words = f"the origin sent more than {MAX_INTERIM_REPLIES} interim replies"
            raise ReplyBroken("http_protocol_error", words)

    def _broken(self, error: h11.RemoteProtocolError) -> ReplyBroken:
        # h11's own words may quote what the origin sent
        if error.error_status_hint == 501:
            return ReplyBroken("http_response_transfer_coding", "the origin uses an unknown transfer coding")
        return ReplyBroken("http_protocol_error", "the head of the origin's reply is malformed")


def _broken_body() -> ReplyBroken:
    return ReplyBroken("http_response_incomplete", "the origin's body is cut short or malformed")
