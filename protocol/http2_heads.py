"""Heads of HTTP/2 as those of HTTP/1.1, and back: rules, logins and words are about the latter only."""

import re
from collections.abc import Sequence
from typing import Final

# 2.0: of a persona that answers in the version in which it was asked
_STATUS_LINE: Final = re.compile(rb"HTTP/(?:1\.[01]|2\.0) ([1-9][0-9]{2})(?: [^\r\n]*)?\Z")
_ILLEGAL: Final = re.compile(r"[\r\n\0]")
# Of one HTTP/1.1 connection: they mean nothing in HTTP/2 (RFC 9113 section 8.2.2).
_LEFT_OUT: Final = {"connection", "proxy-connection", "keep-alive", "transfer-encoding", "upgrade"}


def head_of(fields: Sequence[tuple[str, str]]) -> bytes | None:
    """The request as an HTTP/1.1 head; b"" when it is for something else; None when it is malformed."""
    pseudo = {name: value for name, value in fields if name.startswith(":")}
    if any(_ILLEGAL.search(name + value) for name, value in fields) or " " in "".join(pseudo.values()):
        return None
    method, authority = pseudo.get(":method", ""), pseudo.get(":authority", "")
    if method == "CONNECT":
        if set(pseudo) != {":method", ":authority"}:
            return None
        line = f"CONNECT {authority} HTTP/1.1"
    elif method in ("GET", "HEAD") and pseudo.get(":scheme") == "https":
        # What the proxy itself may have: a PAC file
        path = pseudo.get(":path", "")
        if not path.startswith("/"):
            # RFC 9113 section 8.3.1; as an absolute URI it would be forwarded, which is not done here
            return None
        line = f"{method} {path} HTTP/1.1"
    else:
        return b""
    left_out = {"host", *_LEFT_OUT}
    kept = [f"{name}: {value}" for name, value in fields if name[0] != ":" and name not in left_out]
    return "\r\n".join([line, f"Host: {authority}", *kept, "", ""]).encode("latin-1", "replace")


def fields_of(head: bytes, *, is_tunnel: bool) -> list[tuple[str, str]] | None:
    """An HTTP/1.1 reply head as fields of HTTP/2; None when it is none."""
    line, *lines = head.split(b"\r\n")
    match = _STATUS_LINE.match(line)
    if match is None:
        return None
    status = match[1].decode("ascii")
    left_out = {*_LEFT_OUT, "content-length"} if is_tunnel and status.startswith("2") else _LEFT_OUT
    fields = [(":status", status)]
    for text in lines:
        name, colon, value = text.decode("latin-1").partition(":")
        name = name.lower()
        if not colon or not name or _ILLEGAL.search(text.decode("latin-1")):
            return None
        if name not in left_out:
            fields.append((name, value.strip(" \t")))
    return fields
