"""Origin: HTTP/1.1 with one origin server, on h11, with our own words for everything that goes wrong."""

import re

import h11

from relay.refusal import Refusal
from relay.stream import Stream

MAX_HEAD_BYTES = 131_072
# An origin that never comes to its final reply; clients have limits of the same order.
MAX_INTERIM_REPLIES = 16

_HEAD_END = re.compile(rb"\r?\n\r?\n")
_SPACE_BEFORE_COLON = re.compile(rb"(?m)^([!#$%&'*+.^_`|~0-9A-Za-z-]+)[ \t]+:")
_STATUS_START = b"HTTP/1."


class ReplyBroken(Exception):
    """The origin's reply cannot be used; `refusal` is what the client is told, if it can still be told."""

    def __init__(self, error: str, words: str) -> None:
        super().__init__(words)
        self.refusal = Refusal(502, error, words)


class Origin:
    """One request and its reply on a connection of their own."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._http = h11.Connection(h11.CLIENT, max_incomplete_event_size=MAX_HEAD_BYTES)
        self._unparsed = bytearray()
        self._searched_bytes = 0
        self._interim_replies = 0
        self._in_body = False

    async def send(self, event: h11.Event) -> None:
        """Send part of the request. Raises: OSError."""
        if wire := self._http.send(event):
            await self._stream.write(wire)

    async def next_event(self) -> h11.Event:
        """The next part of the reply: InformationalResponse, Response, Data or EndOfMessage.

        Raises: ReplyBroken, OSError.
        """
        while True:
            try:
                event = self._http.next_event()
            except h11.RemoteProtocolError as error:
                raise self._broken(error) from error
            if isinstance(event, h11.Response):
                self._in_body = True
                if self._unparsed:
                    self._http.receive_data(bytes(self._unparsed))
            elif isinstance(event, h11.InformationalResponse):
                self._count_interim()
                self._searched_bytes = 0
            if isinstance(event, h11.Event):
                return event
            if not self._feed_head():
                self._receive(await self._stream.read())

    def _receive(self, data: bytes) -> None:
        if self._in_body:
            self._http.receive_data(data)
            return
        self._unparsed += data
        if not data:
            if self._unparsed:
                raise ReplyBroken("http_response_incomplete", "the origin closed in the middle of its head")
            raise ReplyBroken("connection_terminated", "the origin closed the connection without an answer")

    def _feed_head(self) -> bool:
        """Give h11 one whole head, mended as RFC 9112 section 5.1 asks; False when there is none yet."""
        if self._in_body:
            return False
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
        self._http.receive_data(_SPACE_BEFORE_COLON.sub(rb"\1:", head))
        return True

    def _count_interim(self) -> None:
        self._interim_replies += 1
        if self._interim_replies > MAX_INTERIM_REPLIES:
            words = f"the origin sent more than {MAX_INTERIM_REPLIES} interim replies"
            raise ReplyBroken("http_protocol_error", words)

    def _broken(self, error: h11.RemoteProtocolError) -> ReplyBroken:
        # h11's own words may quote what the origin sent
        if self._in_body:
            return ReplyBroken("http_response_incomplete", "the origin's body is cut short or malformed")
        if error.error_status_hint == 501:
            return ReplyBroken("http_response_transfer_coding", "the origin uses an unknown transfer coding")
        return ReplyBroken("http_protocol_error", "the head of the origin's reply is malformed")
