"""Reads request heads as a persona does: what is odd is accepted, or refused in its words. Bytes only."""

import re

from relay.message_body import ChunkedBody, SizedBody
from relay.persona import Persona
from relay.persona_plain import answers_last_hop, as_http
from relay.persona_reply import PersonaRefusal
from relay.persona_target import TargetRefused, read_odd_authority
from relay.refusal import METHODS, Refusal
from relay.refused import Refused
from relay.request_gate import MAX_WAITING_BYTES, RequestGate
from relay.request_head import RequestHead, RequestLine, complete_head

_END = re.compile(rb"\r?\n\r?\n")
_VERSION = re.compile(r"HTTP/([0-9])\.([0-9])\Z")
_FIRST = re.compile(rb"[!-~]")
# What comes behind a silence, or an accepted limit, is not kept without one.
MAX_KEPT_BYTES = 2 * 2**20
PREFACE = b"PRI * HTTP/2.0\r\n"


class Odd(Exception):
    """The request has an oddity that is not accepted; `verdict` is a reason, silence or close."""

    def __init__(self, verdict: str, oddity: str) -> None:
        super().__init__(oddity)
        self.verdict = verdict
        self.oddity = oddity


class PersonaGate(RequestGate):
    """A RequestGate whose heads are read by a persona's habits.

    A whole head that is refused is let through, with `verdict` set: the connection may go on after it.
    """

    def __init__(self, persona: Persona) -> None:
        super().__init__()
        self._persona = persona
        self._is_silent = self._was_tls = False
        self._is_answering = False
        self._odd_body: SizedBody | ChunkedBody | None = None
        self._asked = b""

    @property
    def is_idle(self) -> bool:
        return self.head is None and not self._held and not self._is_silent

    @property
    def stays_silent(self) -> bool:
        return self._persona.habits[self._silence] == "silence"

    @property
    def _silence(self) -> str:
        if self.is_idle:
            return "silent_client"
        if self._is_silent and self._was_tls:
            return "silent_tls"
        had_head = bool(self._asked) if self._is_silent else b"\n" in self._held
        return "silent_head" if had_head else "silent_line"

    def at_silence(self) -> Refusal | None:
        """In the persona's words."""
        verdict = self._persona.habits[self._silence]
        return None if verdict == "close" else self._refusal(Odd(verdict, self._silence))

    @property
    def is_in_body(self) -> bool:
        return self._odd_body is not None and not self._odd_body.is_done

    @property
    def is_full(self) -> bool:
        if not self._is_answering or self.line is None:
            return False
        return self.line.method == "CONNECT" or len(self._held) >= MAX_WAITING_BYTES

    def receive(self, data: bytes) -> bytes:
        """Take what the client sent; return what aiohttp may see of it. Raises: Refused."""
        self._held += data
        if self._is_silent:
            self._held.clear()
            return b""
        admitted = b""
        try:
            if self.head is None and (head := self._read()) is not None:
                self.head, self.line = head, head.line
                self._odd_body = ChunkedBody() if head.body_bytes is None else SizedBody(head.body_bytes)
                size = head.body_bytes
                framing = b"Transfer-Encoding: chunked" if size is None else b"Content-Length: %d" % size
                # aiohttp is told of the framing only: a CONNECT that is refused may be followed by more
                method = b"GET" if head.line.method == "CONNECT" else b"POST"
                admitted = b"%b / HTTP/1.1\r\nHost: relay\r\n%b\r\n\r\n" % (method, framing)
        except Odd as error:
            if error.verdict == "silence":
                self._is_silent = True
                self._was_tls = error.oddity == "tls"
                self._held.clear()
                return b""
            raise Refused(self._refusal(error)) from None
        if self._odd_body is not None:
            admitted += self._odd_body.take(self._held)
            self._is_answering = self._odd_body.is_done
        return admitted

    def next_request(self) -> None:
        self.head = self.line = self.verdict = None
        self._odd_body = None
        self._is_answering = False

    def _odd(self, oddity: str) -> str:
        """What becomes of an oddity that is let through. Raises: Odd when it is not."""
        verdict = self._persona.habits[oddity]
        if verdict not in ("accept", "answer", "drop"):
            raise Odd(verdict, oddity)
        return verdict

    def _refusal(self, error: Odd) -> PersonaRefusal:
        words = f"the request has an oddity: {error.oddity}"
        return PersonaRefusal(
            400, "http_request_error", words, reason=error.verdict, request=self._asked.decode("latin-1")
        )

    def _limit(self, name: str, default: int) -> int:
        return self._persona.limits.get(name, default)

    def _read(self) -> RequestHead | None:
        """Take a whole head off the bytes that wait; None until there is one. Raises: Odd."""
        self._check_begin()
        # Not again from the start for every byte that comes
        found = _END.search(self._held, max(0, self._searched_bytes - len(b"\r\n\r")))
        self._searched_bytes = len(self._held)
        size = found.end() if found else len(self._held)
        if size > min(self._limit("head_bytes", MAX_KEPT_BYTES), MAX_KEPT_BYTES):
            raise Odd("too-large", "a head beyond its limit")
        if found is None:
            return None
        head = bytes(self._held[: found.start()])
        del self._held[: found.end()]
        self._searched_bytes = 0
        return self._read_head_of(head)

    def _check_begin(self) -> None:
        """Empty lines, and what is no request at all. Raises: Odd."""
        while self._held[:2] == b"\r\n" or self._held[:1] == b"\n":
            self._odd("leading_crlf")
            del self._held[: 2 if self._held[:1] == b"\r" else 1]
            self._searched_bytes = 0
        if self._held and not _FIRST.match(self._held) and self._held[:1] != b"\r":
            self._odd("tls" if self._held[:1] == b"\x16" else "binary")
        for begin, oddity in ((PREFACE, "h2_preface"), (b"PROXY TCP", "proxy_protocol")):
            if self._held.startswith(begin):
                self._odd(oddity)

    def _read_head_of(self, head: bytes) -> RequestHead:
        """Read a whole head. Raises: Odd where there is to be silence."""
        lines = head.split(b"\n")
        self._asked = head + b"\r\n\r\n"
        line: RequestLine | None = None
        try:
            if any(not each.endswith(b"\r") for each in lines[:-1]):
                self._odd("lf_only")
            line = self._read_line(lines[0].rstrip(b"\r").decode("latin-1"))
            fields = tuple(self._read_fields(lines[1:]))
            self._check_host(line, fields)
            return self._complete(line, fields)
        except Odd as error:
            if error.verdict == "silence":
                raise
            return self._refused(error, line, lines[0])

    def _refused(self, error: Odd, line: RequestLine | None, first: bytes) -> RequestHead:
        """A head that will be refused when its turn comes."""
        self.verdict = self._refusal(error)
        text = first.decode("latin-1").split(" ")
        target = text[1] if len(text) > 1 and text[1].isprintable() else "-"
        return RequestHead(line or RequestLine("CONNECT", target[:200], (1, 0)), (), None, 0)

    def _read_line(self, text: str) -> RequestLine:
        words = text.split(" ")
        if len(words) == 2:
            self._odd("no_version")
            words.append("HTTP/1.0")
        if len(words) == 3 and not words[1]:
            self._odd("empty_target")
        match = _VERSION.match(words[-1])
        if len(words) != 3 or match is None:
            raise Odd("malformed", "the request line")
        if match[1] != "1":
            self._odd("bad_version")
        method, target = words[0], words[1]
        if len(target) > self._limit("target_bytes", MAX_KEPT_BYTES):
            self._odd("long_target")
        if method == "connect":
            self._odd("lower_method")
            method = "CONNECT"
        if method not in METHODS:
            self._odd("unknown_method")
        return RequestLine(method, target, (int(match[1]), int(match[2])))

    def _read_fields(self, lines: list[bytes]) -> list[tuple[bytes, bytes]]:
        fields = []
        for line in lines:
            text = line.rstrip(b"\r")
            if b"\0" in text:
                self._odd("nul")
            name, colon, value = text.partition(b":")
            if not colon:
                self._odd("no_colon")
                continue
            if name != name.strip(b" \t"):
                self._odd("space_before_colon")
            if len(text) > self._limit("field_bytes", MAX_KEPT_BYTES):
                raise Odd("too-large", "a field beyond its limit")
            fields.append((name.strip(b" \t"), value.strip(b" \t")))
        if len(fields) > self._limit("fields", MAX_KEPT_BYTES):
            self._odd("many_fields")
        return fields

    def _check_host(self, line: RequestLine, fields: tuple[tuple[bytes, bytes], ...]) -> None:
        hosts = sum(name.lower() == b"host" for name, _ in fields)
        if hosts > 1:
            self._odd("two_hosts")
        if not hosts and line.version == (1, 1):
            self._odd("no_host")

    def _complete(self, line: RequestLine, fields: tuple[tuple[bytes, bytes], ...]) -> RequestHead:
        if line.method != "CONNECT":
            return self._complete_plain(line, fields)
        verdict = "accept"
        if {b"content-length", b"transfer-encoding"} & {name.lower() for name, _ in fields}:
            verdict = self._odd("body")
        elif self._held:
            verdict = self._odd("early_data")
        if verdict == "drop":
            self._held.clear()
        try:
            target = read_odd_authority(line.target, self._persona.habits)
        except TargetRefused as error:
            raise Odd(error.verdict, error.oddity) from None
        return RequestHead(line, fields, target, 0)

    def _complete_plain(self, line: RequestLine, fields: tuple[tuple[bytes, bytes], ...]) -> RequestHead:
        if line.target == "*" and line.method == "OPTIONS":
            self._odd("options_star")
        elif line.target.startswith("/"):
            self._odd("origin_form")
        elif (other := as_http(line)) is not None:
            self._odd("https_scheme")
            line = other
        if answers_last_hop(line, fields):
            self._odd("last_hop")
        try:
            return complete_head(line, fields)
        except Refused as error:
            raise Odd("malformed", error.refusal.words) from None
