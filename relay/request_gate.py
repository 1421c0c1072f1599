"""Lets one request at a time through to aiohttp, in a form that can be read in one way only. Bytes only.

aiohttp's parser is fast and strict, but it does not tell a wrong method from a wrong version or a target that
is too long, it forgets a good request when a bad one follows in the same segment, and it takes RTSP for HTTP.
So the head is read here (relay.request_head), aiohttp is told of its method and framing only, and what comes
behind a request waits here until that request is answered.
"""

import re
from enum import Enum, auto

from relay.message_body import ChunkedBody, SizedBody
from relay.refusal import Refusal, malformed, too_large, too_slow
from relay.refused import Refused
from relay.request_head import (
    MAX_TARGET_BYTES,
    RequestHead,
    RequestLine,
    complete_head,
    read_field,
    read_request_line,
    too_long,
)

# All header lines together; as much as our own clients accept from a proxy.
MAX_HEAD_BYTES = 131_072
MAX_FIELDS = 1_000
# The target, and room for the method and the version around it.
MAX_LINE_BYTES = MAX_TARGET_BYTES + 1024
# Requests that a client sends ahead wait here; beyond this it has to wait itself.
MAX_WAITING_BYTES = 65_536

# In a line whose end has not come: control characters, and a CR that is not about to be followed by LF.
_ILLEGAL = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]|\r(?!\Z)")
_TOKEN_START = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]|\r\Z")


_OTHER_PROTOCOLS = {
    b"\x16": "this is TLS, and plain HTTP is spoken here: to the client this proxy is http://, not https://",
    b"\x04": "this is SOCKS 4, and HTTP is spoken here: to the client this proxy is http://",
    b"\x05": "this is SOCKS 5, and HTTP is spoken here: to the client this proxy is http://",
}
"""By the first byte: what clients say that were told another kind of proxy."""


class _Stage(Enum):
    HEAD = auto()
    BODY = auto()
    ANSWER = auto()


class RequestGate:
    """Cuts what a client sends into requests. After `receive` has raised Refused it is of no more use."""

    def __init__(self) -> None:
        self.head: RequestHead | None = None
        self.line: RequestLine | None = None
        # A head that was read, and will be refused in its turn (relay.persona_gate)
        self.verdict: Refusal | None = None
        self._stage = _Stage.HEAD
        self._held = bytearray()
        self._searched_bytes = 0
        self._fields: list[tuple[bytes, bytes]] = []
        self._field_bytes = 0
        self._body: SizedBody | ChunkedBody = SizedBody(0)

    @property
    def is_idle(self) -> bool:
        """Whether a next request has not begun."""
        return self._stage is _Stage.HEAD and self.line is None and not self._held

    @property
    def stays_silent(self) -> bool:
        """Whether a client that lets its time pass is left alone; only a persona does that."""
        return False

    def at_silence(self) -> Refusal | None:
        """Why a client is refused that has let its time pass; None closes without a word."""
        return None if self.is_idle else too_slow("the request head did not come in time")

    @property
    def has_waiting(self) -> bool:
        """Whether bytes behind the request at hand have come."""
        return bool(self._held)

    @property
    def host_field(self) -> str:
        """The first Host of the head that is being read, or was refused; "" without one."""
        found = (value for name, value in self._fields if name.lower() == b"host")
        return next(found, b"").decode("latin-1")

    @property
    def is_in_body(self) -> bool:
        """Whether bytes of the body of the request at hand are still to come."""
        return self._stage is _Stage.BODY

    @property
    def is_full(self) -> bool:
        """Whether nothing more should be read for now: behind a CONNECT all belongs to the tunnel."""
        if self._stage is not _Stage.ANSWER:
            return False
        is_connect = self.line is not None and self.line.method == "CONNECT"
        return is_connect or len(self._held) >= MAX_WAITING_BYTES

    def receive(self, data: bytes) -> bytes:
        """Take what the client sent; return what aiohttp may see of it now.

        Raises: Refused: nothing of `data` is let through then.
        """
        self._held += data
        admitted = b""
        if self._stage is _Stage.HEAD and (head := self._read_head()) is not None:
            self.head = head
            self._stage = _Stage.BODY
            self._body = ChunkedBody() if head.body_bytes is None else SizedBody(head.body_bytes)
            admitted = _canonical(head)
        if self._stage is _Stage.BODY:
            admitted += self._body.take(self._held)
            if self._body.is_done:
                self._stage = _Stage.ANSWER
        return admitted

    def next_request(self) -> None:
        """The request is answered; `receive` goes on with what has been waiting."""
        self.head = self.line = None
        self._stage = _Stage.HEAD
        self._searched_bytes = self._field_bytes = 0
        self._fields.clear()

    def take_early(self) -> bytes:
        """Take the bytes that came behind the request: they belong to the tunnel of a CONNECT."""
        early = bytes(self._held)
        self._held.clear()
        return early

    def _read_head(self) -> RequestHead | None:
        if self.line is None and (words := _OTHER_PROTOCOLS.get(bytes(self._held[:1]))):
            # Its second line, if there is one by chance, would be called malformed
            raise Refused(malformed(words))
        head, at = None, 0
        while head is None and (end := self._held.find(b"\n", max(at, self._searched_bytes))) >= 0:
            head = self._accept_line(bytes(self._held[at : end + 1]))
            at = end + 1
        if head is None:
            self._check_part(bytes(self._held[max(at, self._searched_bytes - 1) :]), len(self._held) - at)
        del self._held[:at]
        self._searched_bytes = len(self._held)
        return head

    def _accept_line(self, line: bytes) -> RequestHead | None:
        """Take one line; the empty one behind the fields completes the head."""
        self._check_size(len(line))
        if not line.endswith(b"\r\n"):
            raise Refused(malformed("a line of the head ends with a bare LF"))
        text = line[:-2]
        if self.line is None:
            # RFC 9112 section 2.2: empty lines before a request are ignored
            self.line = read_request_line(text) if text else None
            return None
        if not text:
            return complete_head(self.line, tuple(self._fields))
        self._field_bytes += len(line)
        if len(self._fields) >= MAX_FIELDS:
            raise Refused(too_large(f"more than {MAX_FIELDS} header fields"))
        self._fields.append(read_field(text))
        return None

    def _check_part(self, fresh: bytes, part_bytes: int) -> None:
        """Refuse what can no longer become a line: TLS, SOCKS and binary protocols never send a line end."""
        if _ILLEGAL.search(fresh) or (self.line is None and part_bytes and not self._begins_well()):
            raise Refused(malformed("this is no HTTP/1 request: it has control characters or begins wrongly"))
        self._check_size(part_bytes)

    def _begins_well(self) -> bool:
        line_start = self._held.rfind(b"\n") + 1
        return _TOKEN_START.match(self._held, line_start) is not None

    def _check_size(self, line_bytes: int) -> None:
        if self.line is None:
            if line_bytes > MAX_LINE_BYTES:
                raise Refused(too_long())
        elif self._field_bytes + line_bytes > MAX_HEAD_BYTES:
            raise Refused(too_large(f"the header section is beyond {MAX_HEAD_BYTES} bytes"))


def _canonical(head: RequestHead) -> bytes:
    """What aiohttp needs to know of a request. Upgrade, Expect and the like are no business of its."""
    if head.line.method == "CONNECT":
        # For aiohttp a CONNECT would be the last request of its connection, but a login may take several
        return b"GET / HTTP/1.1\r\nHost: relay\r\n\r\n"
    size = head.body_bytes
    framing = b"Transfer-Encoding: chunked" if size is None else b"Content-Length: %d" % size
    return b"%b / HTTP/1.1\r\nHost: relay\r\n%b\r\n\r\n" % (head.line.method.encode(), framing)
