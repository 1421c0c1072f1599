"""The head of a forwarded reply (RFC 9110 section 7.6, RFC 9112 section 6)."""

from dataclasses import dataclass
from email.utils import formatdate

import h11

from relay.fields import end_to_end, via_field
from relay.persona_reply import Forwarding
from relay.request_head import RequestHead

Fields = list[tuple[bytes, bytes]]
# What no value and no reason phrase may have; a NUL, CR or LF was refused with its whole reply.
_CONTROLS = bytes([*range(0x09), *range(0x0A, 0x20), 0x7F])
_AS_SPACES = bytes.maketrans(_CONTROLS, b" " * len(_CONTROLS))


@dataclass(frozen=True)
class ReplyHead:
    """The head as bytes, how the body behind it is framed, and whether the connection goes on after it."""

    wire: bytes
    is_chunked: bool
    keeps_alive: bool


def interim_head(event: h11.InformationalResponse, via: str) -> bytes:
    """A 1xx reply, passed on; it has no length, whatever its sender says (RFC 9110 section 8.6)."""
    return _wire(event, [*_without_length(_end_to_end(event)), _via(event, via)])


def reply_head(
    request: RequestHead, event: h11.Response, via: str, *, can_go_on: bool, added: Forwarding | None = None
) -> ReplyHead:
    """The head of a final reply.

    Args: can_go_on: False when the request has not been read to its end, so nothing can come behind it.
          added: what a persona puts in the place of our own fields.
    """
    fields = _end_to_end(event)
    names = {name.lower() for name, _ in event.headers.raw_items()}
    is_bodiless = request.line.method == "HEAD" or event.status_code in (204, 304)
    if b"transfer-encoding" in names or event.status_code == 204:
        # Of two lengths the chunked one holds (RFC 9112 section 6.3); 204 has none (RFC 9110 section 8.6)
        fields = _without_length(fields)
    is_sized = is_bodiless or any(name.lower() == b"content-length" for name, _ in fields)
    is_chunked = not is_sized and request.is_modern
    keeps_alive = request.keeps_alive and can_go_on and (added is None or added.keeps)
    if added is not None:
        fields += added.added(names)
        if is_chunked:
            fields.append((b"Transfer-Encoding", b"chunked"))
        return ReplyHead(_wire(event, fields), is_chunked, keeps_alive)
    if not any(name.lower() == b"date" for name, _ in fields):
        # RFC 9110 section 6.6.1: who forwards a reply without a date adds the time it came
        fields.append((b"Date", formatdate(usegmt=True).encode("ascii")))
    fields.append(_via(event, via))
    if is_chunked:
        fields.append((b"Transfer-Encoding", b"chunked"))
    if not keeps_alive:
        fields.append((b"Connection", b"close"))
    return ReplyHead(_wire(event, fields), is_chunked, keeps_alive)


def _end_to_end(event: h11.Response | h11.InformationalResponse) -> Fields:
    return end_to_end(tuple((bytes(name), bytes(value)) for name, value in event.headers.raw_items()))


def _without_length(fields: Fields) -> Fields:
    return [field for field in fields if field[0].lower() != b"content-length"]


def _via(event: h11.Response | h11.InformationalResponse, via: str) -> tuple[bytes, bytes]:
    return via_field(bytes(event.http_version).decode("ascii"), via)


def _wire(event: h11.Response | h11.InformationalResponse, fields: Fields) -> bytes:
    # Control characters as spaces: who reads on behind us may take them for more (RFC 9110 section 5.5)
    lines = b"".join(b"%b: %b\r\n" % (name, value.translate(_AS_SPACES)) for name, value in fields)
    reason = bytes(event.reason).translate(_AS_SPACES)
    return b"HTTP/1.1 %d %b\r\n%b\r\n" % (event.status_code, reason, lines)
