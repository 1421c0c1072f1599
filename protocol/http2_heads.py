"""Heads of HTTP/2 as those of HTTP/1.1, and back: rules, logins and words are about the latter only."""

import re
from collections.abc import Mapping, Sequence
from typing import Final

# 2.0: of a persona that answers in the version in which it was asked
_STATUS_LINE: Final = re.compile(rb"HTTP/(?:1\.[01]|2\.0) ([1-9][0-9]{2})(?: [^\r\n]*)?\Z")
_ILLEGAL: Final = re.compile(r"[\r\n\0]")
# Of one HTTP/1.1 connection: they mean nothing in HTTP/2 (RFC 9113 section 8.2.2).
_LEFT_OUT: Final = {"connection", "proxy-connection", "keep-alive", "transfer-encoding", "upgrade"}


def head_of(fields: Sequence[tuple[str, str]]) -> bytes | None:
    """The request as an HTTP/1.1 head; None when it is malformed (RFC 9113 section 8.3.1).

    What is for an https URI is for the proxy itself, and comes out in origin-form: who wants another server's
    asks for a tunnel.
    """
    pseudo = {name: value for name, value in fields if name.startswith(":")}
    if any(_ILLEGAL.search(name + value) for name, value in fields) or " " in "".join(pseudo.values()):
        return None
    method, authority = pseudo.get(":method", ""), pseudo.get(":authority") or dict(fields).get("host", "")
    if method == "CONNECT":
        if set(pseudo) != {":method", ":authority"}:
            return None
        target = authority
    elif (found := _target_of(method, authority, pseudo)) is not None:
        target = found
    else:
        return None
    left_out = {"host", "cookie", *_LEFT_OUT}
    kept = [f"{name}: {value}" for name, value in fields if name[0] != ":" and name not in left_out]
    if cookies := [value for name, value in fields if name == "cookie"]:
        # RFC 9113 section 8.2.3: HTTP/2 may cut it in pieces, HTTP/1.1 has one field
        kept.append(f"cookie: {'; '.join(cookies)}")
    lines = [f"{method} {target} HTTP/1.1", f"Host: {authority}", *kept, "", ""]
    return "\r\n".join(lines).encode("latin-1", "replace")


def _target_of(method: str, authority: str, pseudo: Mapping[str, str]) -> str | None:
    scheme, path = pseudo.get(":scheme", ""), pseudo.get(":path", "")
    is_whole_server = method == "OPTIONS" and path == "*"
    if not path.startswith("/") and not is_whole_server:
        return None
    if scheme == "https":
        return path
    return f"{scheme}://{authority}{'' if is_whole_server else path}"


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
