"""Requests other than CONNECT, as personas read them."""

from dataclasses import replace

from relay.request_head import RawFields, RequestLine

_HTTPS = "https://"


def as_http(line: RequestLine) -> RequestLine | None:
    """An https URI with http in its place, for a proxy that forwards it in the clear; None for any other."""
    if line.target[: len(_HTTPS)].lower() != _HTTPS:
        return None
    authority, slash, path = line.target[len(_HTTPS) :].partition("/")
    has_port = ":" in authority.rpartition("]")[2]
    return replace(line, target=f"http://{authority}{'' if has_port else ':443'}{slash}{path}")


def answers_last_hop(line: RequestLine, fields: RawFields) -> bool:
    """Whether RFC 9110 section 7.6.2 has the proxy answer by itself: Max-Forwards is 0."""
    if line.method not in ("TRACE", "OPTIONS"):
        return False
    return any(name.lower() == b"max-forwards" and value == b"0" for name, value in fields)
