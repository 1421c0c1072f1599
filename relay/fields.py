"""Which header fields a proxy passes on (RFC 9110 section 7.6), and what it answers itself for Max-Forwards."""

from collections.abc import Iterable, Sequence

from aiohttp import web

from relay.refusal import malformed
from relay.refused import Refused

RawFields = Sequence[tuple[bytes, bytes]]

# RFC 9110 section 7.6.1, and the names from before it that clients still send.
_HOP_BY_HOP = {
    "connection", "keep-alive", "proxy-connection", "proxy-authorization", "proxy-authenticate",
    "proxy-authentication-info", "te", "trailer", "transfer-encoding", "upgrade", "http2-settings",
}  # fmt: skip
# Fields that TRACE must not send back (RFC 9110 section 9.3.8).
_SECRET = {"authorization", "cookie", "proxy-authorization"}
_COUNTED_METHODS = ("TRACE", "OPTIONS")
MAX_FORWARDS_DIGITS = 9


def forwarded_fields(raw: RawFields, via: str | None, method: str = "") -> list[tuple[str, str]]:
    """The fields to pass on: no hop-by-hop ones, none that Connection names, Host left out.

    `via`, when given, is appended as our Via; Max-Forwards of TRACE and OPTIONS is counted down.
    """
    fields = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in raw]
    nominated = {
        token.strip().lower()
        for name, value in fields
        if name.lower() in ("connection", "proxy-connection")
        for token in value.split(",")
    }
    # Connection may not name fields that the message cannot do without (RFC 9110 section 7.6.1)
    dropped = _HOP_BY_HOP | (nominated - {"content-length", "host", "via", "cache-control", "max-forwards"})
    request = via is not None
    kept = [(n, v) for n, v in fields if n.lower() not in dropped and not (request and n.lower() == "host")]
    if request and method in _COUNTED_METHODS:
        kept = [(n, str(int(v) - 1) if n.lower() == "max-forwards" else v) for n, v in kept]
    if via is not None:
        kept.append(("Via", via))
    return kept


def names_us(raw: RawFields, via: str) -> bool:
    """Whether a Via field already has our name: the request goes in a circle."""
    return any(
        via in entry.split()
        for name, value in raw
        if name.lower() == b"via"
        for entry in value.decode("latin-1").split(",")
    )


def max_forwards_reply(request: web.BaseRequest) -> bytes | None:
    """The reply to a TRACE or OPTIONS whose Max-Forwards is 0, which goes no further; else None.

    Raises: Refused for a Max-Forwards that is no number, and for a TRACE with a body.
    """
    if request.method not in _COUNTED_METHODS:
        return None
    if request.method == "TRACE" and not request.content.is_eof():
        raise Refused(malformed("a TRACE request has no body"))
    value = request.headers.get("Max-Forwards")
    if value is None:
        return None
    if not (value.isascii() and value.isdigit() and len(value) <= MAX_FORWARDS_DIGITS):
        raise Refused(malformed("Max-Forwards is not a number"))
    if int(value):
        return None
    if request.method == "OPTIONS":
        return _reply([("Allow", "CONNECT, GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS, TRACE")], b"")
    lines = [f"TRACE {request.raw_path} HTTP/1.{request.version[1]}"]
    lines += [f"{n}: {v}" for n, v in _decoded(request.raw_headers) if n.lower() not in _SECRET]
    return _reply([("Content-Type", "message/http")], ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1"))


def _decoded(raw: RawFields) -> Iterable[tuple[str, str]]:
    return ((name.decode("latin-1"), value.decode("latin-1")) for name, value in raw)


def _reply(fields: list[tuple[str, str]], body: bytes) -> bytes:
    fields = [*fields, ("Content-Length", str(len(body)))]
    return ("HTTP/1.1 200 OK\r\n" + "".join(f"{n}: {v}\r\n" for n, v in fields) + "\r\n").encode("latin-1") + body
