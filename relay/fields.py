"""Which header fields a proxy passes on (RFC 9110 section 7.6), and the replies it gives itself."""

from email.utils import formatdate

from relay.refusal import ALLOW, malformed
from relay.refused import Refused
from relay.request_head import RawFields, RequestHead, connection_options

# RFC 9110 section 7.6.1, and the names from before it that clients still send.
_HOP_BY_HOP = {
    "connection", "keep-alive", "proxy-connection", "proxy-authorization", "proxy-authenticate",
    "proxy-authentication-info", "te", "trailer", "transfer-encoding", "upgrade", "http2-settings",
}  # fmt: skip
# All that Connection names goes (RFC 9110 section 7.6.1), but for what frames and routes the message itself,
# and Expect, which a proxy forwards (section 10.1.1). Without it the origin waits for the body, and
# the client for a 100 that nobody sends.
_KEPT = {"content-length", "host", "via", "expect"}
# Fields that TRACE must not send back (RFC 9110 section 9.3.8).
_SECRET = {b"authorization", b"cookie", b"proxy-authorization"}
_COUNTED_METHODS = ("TRACE", "OPTIONS")
# What is counted down from at most; a proxy may lower a larger number (RFC 9110 section 7.6.2).
MAX_FORWARDS = 999_999_999


def end_to_end(fields: RawFields) -> list[tuple[bytes, bytes]]:
    """The fields without the hop-by-hop ones and those that Connection names, in their order and spelling."""
    dropped = _HOP_BY_HOP | (connection_options(fields) - _KEPT)
    return [(name, value) for name, value in fields if name.decode("latin-1").lower() not in dropped]


def forwarded_fields(head: RequestHead, host: str, via: str) -> list[tuple[bytes, bytes]]:
    """The header fields of a request as it goes to its origin.

    Args: host: the authority of the target, which replaces Host (RFC 9112 section 3.2.2). via: our name.
    """
    line = head.line
    fields = [(b"Host", host.encode("ascii"))]
    for name, value in end_to_end(head.fields):
        match name.lower():
            case b"host":
                continue
            case b"expect" if not head.knows_interim:
                # RFC 9110 section 10.1.1: ignored in HTTP/1.0, whose clients do not wait and know no 100
                continue
            case b"content-length":
                fields.append((name, b"%d" % (head.body_bytes or 0)))
            case b"max-forwards" if line.method in _COUNTED_METHODS:
                # Below 0 only where a persona forwards what it should answer
                fields.append((name, b"%d" % max(0, _count(value) - 1)))
            case _:
                fields.append((name, value))
    fields += [via_field(f"{line.version[0]}.{line.version[1]}", via), (b"Connection", b"close")]
    if head.body_bytes is None:
        fields.append((b"Transfer-Encoding", b"chunked"))
    return fields


def via_field(received_version: str, via: str) -> tuple[bytes, bytes]:
    """Our Via, with the version of the message as it was received (RFC 9110 section 7.6.3)."""
    return b"Via", f"{received_version} {via}".encode("ascii")


def names_us(head: RequestHead, via: str) -> bool:
    """Whether a Via field already has our name: the request goes in a circle."""
    values = [_without_comments(value.decode("latin-1")) for value in head.values(b"via")]
    entries = [entry.split() for value in values for entry in value.split(",")]
    return any(len(words) > 1 and words[1].lower() == via.lower() for words in entries)


def _without_comments(value: str) -> str:
    """Comments may hold commas, quoted pairs and other comments (RFC 9110 section 5.6.5)."""
    kept, depth, is_quoted = [], 0, False
    for letter in value:
        if depth and is_quoted:
            is_quoted = False
        elif depth and letter == "\\":
            is_quoted = True
        elif letter == "(":
            depth += 1
        elif letter == ")" and depth:
            depth -= 1
        elif not depth:
            kept.append(letter)
    return "".join(kept)


def local_reply(head: RequestHead) -> bytes | None:
    """The reply to OPTIONS *, and to TRACE and OPTIONS with Max-Forwards 0, which go no further; else None.

    Raises: Refused for a Max-Forwards that is no number.
    """
    line = head.line
    if line.method not in _COUNTED_METHODS:
        return None
    counts = head.values(b"max-forwards")
    if len(counts) > 1:
        raise Refused(malformed("more than one Max-Forwards field"))
    is_last = bool(counts) and _count(counts[0]) == 0
    if line.method == "OPTIONS" and (is_last or head.to is None):
        return _reply(head, [ALLOW], b"")
    if not is_last:
        return None
    lines = [b"TRACE %b HTTP/%d.%d" % (line.target.encode("ascii"), *line.version)]
    lines += [b"%b: %b" % field for field in head.fields if field[0].lower() not in _SECRET]
    return _reply(head, [("Content-Type", "message/http")], b"\r\n".join(lines) + b"\r\n\r\n")


def _count(value: bytes) -> int:
    if not value.isdigit():
        raise Refused(malformed("Max-Forwards is not a number"))
    digits = value.lstrip(b"0")
    return int(digits or b"0") if len(digits) <= len(str(MAX_FORWARDS)) else MAX_FORWARDS


def _reply(head: RequestHead, fields: list[tuple[str, str]], body: bytes) -> bytes:
    fields = [("Date", formatdate(usegmt=True)), *fields, ("Content-Length", str(len(body)))]
    if not head.keeps_alive or head.body_bytes != 0:
        fields.append(("Connection", "close"))
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields)
    return f"HTTP/1.1 200 OK\r\n{lines}\r\n".encode("ascii") + body
