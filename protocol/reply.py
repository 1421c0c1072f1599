"""One HTTP reply to CONNECT: its head cut off the stream, and read (RFC 9112 sections 2 to 5)."""

import re
from dataclasses import dataclass, field
from typing import Final

import h11

from protocol.errors import HeadMalformed
from protocol.resemblance import excerpt, resembles

MAX_HEAD_BYTES: Final = 131_072
"""Of one head, blank line included. Heads over 64 KiB were met in the field; 128 KiB was enough for them
(ansible pull request 18083)."""

MAX_FIELDS: Final = 1_000
"""Header lines of one head."""

_HTTP: Final = b"HTTP/"
_BLANK_LINE: Final = re.compile(rb"\n\r?\n")
_STATUS_LINE: Final = re.compile(rb"HTTP/(1\.[0-9])([ \t]+)([0-9]{3})(?:[ \t](.*))?")
_FORBIDDEN: Final = re.compile(rb"[\x00\x0b\x0c\r]")
_CONTROL: Final = re.compile(rb"[\x01-\x08\x0e-\x1f\x7f]")
_CONTENT_LENGTH: Final = re.compile(rb"[0-9]{1,20}")
_FRAMING_NAMES: Final = {b"content-length": "Content-Length", b"transfer-encoding": "Transfer-Encoding"}
_EXCERPT_BYTES: Final = 160


@dataclass(frozen=True, slots=True)
class Reply:
    """What a proxy answered to CONNECT.

    Attributes:
        http_version: "1.0" or "1.1".
        status: 100 to 999.
        reason: as sent (latin-1), may be empty and may hold control characters.
        headers: names as sent, values (latin-1) without the white space around them. Content-Length and
            Transfer-Encoding are left out where they mean nothing; `raw_head` has them.
        raw_head: the head's very bytes, blank line included.
        body: of a refusal, without its framing, at most MAX_BODY_BYTES; always empty for a 2xx.
        leniencies: what was wrong with this reply and borne with, in words.
    """

    http_version: str
    status: int
    reason: str
    headers: tuple[tuple[str, str], ...] = ()
    raw_head: bytes = field(default=b"", repr=False)
    body: bytes = field(default=b"", repr=False)
    leniencies: tuple[str, ...] = ()

    @property
    def is_success(self) -> bool:
        """Whether this is a 2xx: any of them opens the tunnel (RFC 9110 section 9.3.6)."""
        return 200 <= self.status < 300

    def header(self, name: str) -> str | None:
        """Return the first value of `name`, None when it is not there."""
        return next(iter(self.all(name)), None)

    def all(self, name: str) -> list[str]:
        """Return every value of `name`, in order."""
        return [value for found, value in self.headers if found.lower() == name.lower()]


class HeadCutter:
    """Cut reply heads off a byte stream; every byte is looked at once, however small the pieces are.

    Call `next_head` until it gives None after each `receive_data`; then no more than MAX_HEAD_BYTES are held.
    """

    __slots__ = ("_searched", "_unread")

    def __init__(self) -> None:
        self._unread = bytearray()
        self._searched = 0

    @property
    def unread(self) -> bytes:
        """The bytes behind the last head that was cut."""
        return bytes(self._unread)

    def receive_data(self, data: bytes) -> None:
        """Take the next bytes of the stream, split anywhere."""
        self._unread += data

    def next_head(self) -> bytes | None:
        """Return the next head with its blank line, or None until more bytes arrive.

        Raises: HeadMalformed as soon as the bytes cannot become an HTTP head of at most MAX_HEAD_BYTES.
        """
        unread = self._unread
        if self._searched < len(_HTTP) and unread[: len(_HTTP)] != _HTTP[: len(unread)]:
            raise HeadMalformed(_not_http(bytes(unread)))
        blank_line = _BLANK_LINE.search(unread, self._searched)
        if blank_line is None:
            if len(unread) >= MAX_HEAD_BYTES:
                raise _too_large()
            self._searched = max(0, len(unread) - 2)  # the blank line may have begun already
            return None
        end = blank_line.end()
        if end > MAX_HEAD_BYTES:
            raise _too_large()
        head = bytes(unread[:end])
        del unread[:end]
        self._searched = 0
        return head


def parse_head(raw_head: bytes, connection: h11.Connection) -> Reply:
    """Read one whole head, `connection` being the one that made the request.

    Deviations that have one meaning only are borne with and listed in `Reply.leniencies`.

    Raises: HeadMalformed; also for 101, which no request of ours asks for, and for what is not HTTP/1.x.
    Source: RFC 9112 sections 2.2, 4, 5.1, 5.2; RFC 9110 section 9.3.6 (framing fields of a 2xx are ignored).
    """
    leniencies: list[str] = []
    status_line, *fields = _unfolded_lines(raw_head, leniencies)
    status_line, status = _plain_status_line(status_line, leniencies)
    fields = [_plain_field(line, leniencies) for line in fields]
    fields = _without_idle_framing(fields, status, leniencies)
    # h11 sees one head in plain form, so it cannot find another end in it than the one it was cut at.
    connection.receive_data(b"\r\n".join([status_line, *fields, b"", b""]))
    try:
        event = connection.next_event()
    except h11.RemoteProtocolError as error:
        raise HeadMalformed(f"the reply head cannot be read: {str(error)[:_EXCERPT_BYTES]}") from error
    if not isinstance(event, h11.Response | h11.InformationalResponse):
        raise HeadMalformed(f"the reply head cannot be read: {excerpt(raw_head, _EXCERPT_BYTES)}")
    if any(_CONTROL.search(line) for line in (status_line, *fields)):
        leniencies.append("control characters in the head")
    return Reply(
        http_version=event.http_version.decode("ascii"),
        status=event.status_code,
        reason=event.reason.decode("latin-1"),
        headers=tuple((n.decode("latin-1"), v.decode("latin-1")) for n, v in event.headers.raw_items()),
        raw_head=raw_head,
        leniencies=tuple(dict.fromkeys(leniencies)),
    )


def _unfolded_lines(raw_head: bytes, leniencies: list[str]) -> list[bytes]:
    lines = raw_head.split(b"\n")[:-2]
    if raw_head.count(b"\r\n") != raw_head.count(b"\n"):
        leniencies.append("bare LF line ends")
    unfolded: list[bytearray] = []
    for line in lines:
        plain = line.removesuffix(b"\r")
        # h11 refuses these too, but takes quadratic time when long white space stands before one of them.
        if forbidden := _FORBIDDEN.search(plain):
            raise HeadMalformed(f"the reply head has a byte 0x{forbidden[0].hex()} in it: {excerpt(plain)}")
        if not plain.startswith((b" ", b"\t")):
            unfolded.append(bytearray(plain))
        elif len(unfolded) > 1:
            leniencies.append("folded header line")
            unfolded[-1] += b" " + plain.lstrip(b" \t")
        else:
            raise HeadMalformed(f"the reply head has a folded line before its first header: {excerpt(plain)}")
    if len(unfolded) > MAX_FIELDS + 1:
        raise HeadMalformed(f"the reply head has {len(unfolded) - 1} header lines, the limit is {MAX_FIELDS}")
    return [bytes(line) for line in unfolded]


def _plain_status_line(line: bytes, leniencies: list[str]) -> tuple[bytes, int]:
    match = _STATUS_LINE.fullmatch(line)
    if match is None:
        raise HeadMalformed(f"the reply has no HTTP/1 status line: {excerpt(line, _EXCERPT_BYTES)}")
    version, gap, digits, reason = match.groups()
    if int(digits) < 100 or int(digits) == 101:  # 101 would say that we asked for another protocol
        raise HeadMalformed(f"status {int(digits)} is no answer to CONNECT: {excerpt(line, _EXCERPT_BYTES)}")
    if gap != b" ":
        leniencies.append("white space in the status line")
    if reason is None:
        leniencies.append("no reason phrase")
    if version == b"1.0":
        leniencies.append("HTTP/1.0 reply")
    return b"HTTP/%s %s %s" % (version, digits, reason or b""), int(digits)


def _plain_field(line: bytes, leniencies: list[str]) -> bytes:
    name, colon, value = line.partition(b":")
    plain_name = name.rstrip(b" \t")
    if plain_name != name:
        leniencies.append("white space before a colon")
    return plain_name + colon + value


def _without_idle_framing(fields: list[bytes], status: int, leniencies: list[str]) -> list[bytes]:
    """Take Content-Length and Transfer-Encoding out where they frame nothing: h11 would refuse odd ones."""
    values: dict[bytes, list[bytes]] = {name: [] for name in _FRAMING_NAMES}
    for line in fields:
        name, _, value = line.partition(b":")
        values.get(name.lower(), []).append(value.strip(b" \t"))
    lengths = {part.strip(b" \t") for value in values[b"content-length"] for part in value.split(b",")}
    codings = [value.lower() for value in values[b"transfer-encoding"]]
    is_sound = len(lengths) <= 1 and all(map(_CONTENT_LENGTH.fullmatch, lengths))
    if status >= 300 and is_sound and codings in ([], [b"chunked"]):
        return fields
    where = "that frames no body" if status >= 300 else f"on a {status // 100}xx"
    leniencies += [f"{_FRAMING_NAMES[name]} {where} ignored" for name, found in values.items() if found]
    return [line for line in fields if line.partition(b":")[0].lower() not in _FRAMING_NAMES]


def _not_http(data: bytes) -> str:
    kind = resembles(data)
    looks = f", it looks like {kind}" if kind else ""
    return f"the reply is not HTTP{looks}: it begins with {excerpt(data)}"


def _too_large() -> HeadMalformed:
    return HeadMalformed(f"no blank line ends the reply head within the limit of {MAX_HEAD_BYTES} bytes")
