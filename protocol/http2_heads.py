"""Heads of HTTP/2 as those of HTTP/1.1, and back: rules, logins and words are about the latter only."""

import re
from collections.abc import Iterable, Mapping
from typing import Final

# 2.0: of a persona that answers in the version in which it was asked
_STATUS_LINE: Final = re.compile(rb"HTTP/(?:1\.[01]|2\.0) ([1-9][0-9]{2})(?: [^\r\n]*)?\Z")
Fields = list[tuple[str, str]]

# RFC 9113 section 8.2.1: a name is a token in lower case; a value has no white space at its ends.
_NAME: Final = re.compile(rb":?[!#$%&'*+\-.^_`|~0-9a-z]+\Z")
_VALUE: Final = re.compile(rb"(?![ \t])[^\r\n\0]*(?<![ \t])\Z")
_PSEUDO: Final = {b":method", b":scheme", b":authority", b":path"}
_OF_ONE_CONNECTION: Final = {
    b"connection", b"proxy-connection", b"keep-alive", b"transfer-encoding", b"upgrade",
}  # fmt: skip
_MAX_DIGITS: Final = 19
_USUAL_PORTS: Final = {"http": ":80", "https": ":443"}
_ILLEGAL: Final = re.compile(r"[\r\n\0]")
# Of one HTTP/1.1 connection: they mean nothing in HTTP/2 (RFC 9113 section 8.2.2).
_LEFT_OUT: Final = {"connection", "proxy-connection", "keep-alive", "transfer-encoding", "upgrade"}


def checked(headers: Iterable[tuple[bytes, bytes]] | None, *, is_trailer: bool = False) -> Fields | None:
    """The fields as text; None when a rule of RFC 9113 sections 8.2 and 8.3 makes the message malformed.

    Which pseudo-header fields there must be is another question (head_of).
    """
    found: Fields = []
    seen: set[bytes] = set()
    for name, value in headers or ():
        is_pseudo = name.startswith(b":")
        if _NAME.match(name) is None or _VALUE.match(value) is None or name in _OF_ONE_CONNECTION:
            return None
        if name == b"te" and value.lower() != b"trailers":
            return None
        is_late = is_trailer or (found and found[-1][0][0] != ":")
        if is_pseudo and (is_late or name in seen or name not in _PSEUDO):
            return None
        seen.add(name)
        found.append((name.decode("ascii"), value.decode("latin-1")))
    fields = dict(found)
    hosts = [value for name, value in found if name == "host"]
    named = [*hosts, fields.get(":authority", "")]
    names = {_plain(name, fields.get(":scheme", "")) for name in named if name}
    # Section 8.3.1: a server should treat it as malformed, and nobody may guess
    return found if len(names) < 2 else None


def _plain(authority: str, scheme: str) -> str:
    """To be compared: in lower case, without the port that goes without saying."""
    return authority.lower().removesuffix(_USUAL_PORTS.get(scheme, ":"))


def body_bytes_of(fields: Fields) -> int | None:
    """What Content-Length says, None where it says nothing that DATA could be compared with."""
    values = {value for name, value in fields if name == "content-length"}
    value = values.pop() if len(values) == 1 else ""
    return int(value) if value.isascii() and value.isdigit() and len(value) <= _MAX_DIGITS else None


def head_of(fields: Fields) -> bytes | None:
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
