"""The request CONNECT: every string of it is checked before a byte is made (RFC 9110 section 9.3.6)."""

import ipaddress
import re
from collections.abc import Sequence
from typing import Final

import h11

from protocol.errors import LocalWireError
from protocol.reply import MAX_HEAD_BYTES

_AUTHORITY: Final = re.compile(r"(\[[^\[\]]*\]|[^:\[\]]*):([0-9]{1,5})")
_REGISTERED_NAME: Final = re.compile(r"[A-Za-z0-9._~!$&'()*+,;=%-]+")  # RFC 3986 section 3.2.2
_HEADER_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_NOT_VISIBLE: Final = re.compile(r"[^!-~]")
_NOT_SENDABLE: Final = re.compile(r"[^ -~]")
_NOT_FIELD: Final = re.compile(r"[^ -~\x80-\xff]")

MAX_CREDENTIALS: Final = 131_072
"""Of one Proxy-Authorization: a ticket of 64 KiB in base64 and room; no proxy takes more."""

_OWN_NAMES: Final = {
    "host": "is the target",
    "content-length": "would announce a body, which CONNECT does not have",
    "transfer-encoding": "would announce a body, which CONNECT does not have",
    "proxy-authorization": "comes from a login scheme",
}


def checked_target(target: str) -> str:
    """Return `target` when it is an authority-form: a name or an address (IPv6 in brackets), and a port.

    Raises: LocalWireError.
    Source: RFC 9112 section 3.2.3; RFC 9110 section 9.3.6 (the port is never left out).
    """
    if _NOT_VISIBLE.search(target):
        raise LocalWireError(f"target {target!r}: only visible ASCII can be sent (names as A-labels)")
    match = _AUTHORITY.fullmatch(target)
    if match is None:
        raise LocalWireError(f"target {target!r} is not HOST:PORT, with brackets round an IPv6 address")
    host, port = match.groups()
    if not 1 <= int(port) <= 65_535:
        raise LocalWireError(f"target {target!r}: port {port} is not within 1 to 65535")
    if host.startswith("["):
        try:
            address = ipaddress.IPv6Address(host[1:-1])
        except ValueError as error:
            raise LocalWireError(f"target {target!r} has no IPv6 address in its brackets") from error
        if address.scope_id is not None:
            raise LocalWireError(f"target {target!r} has a zone, which means nothing to a proxy")
    elif not _REGISTERED_NAME.fullmatch(host):
        raise LocalWireError(f"target {target!r} has no host name")
    return target


def checked_headers(headers: Sequence[tuple[str, str]], user_agent: str | None) -> list[tuple[str, str]]:
    """Return what follows Host, in order.

    Raises: LocalWireError; it never quotes a value, which may be secret.
    """
    own = [("User-Agent", user_agent)] if user_agent is not None else []
    own += headers
    for name, value in own:
        if not _HEADER_NAME.fullmatch(name):
            raise LocalWireError(f"header name {name!r} is not a token")
        if name.lower() in _OWN_NAMES:
            raise LocalWireError(f"header {name} cannot be set: it {_OWN_NAMES[name.lower()]}")
        checked_value(value, f"header {name}")
    if sum(name.lower() == "user-agent" for name, _ in own) > 1:
        raise LocalWireError("header User-Agent is set twice")
    return own


def checked_value(value: str, what: str) -> str:
    """Return `value` when it can stand in a header: visible ASCII with single characters of space inside.

    Raises: LocalWireError; it names `what` and the place, and never quotes `value`.
    """
    bad = _NOT_SENDABLE.search(value)
    if bad is not None:
        raise LocalWireError(f"{what}: character U+{ord(bad[0]):04X} at index {bad.start()} cannot be sent")
    if value != value.strip(" "):
        raise LocalWireError(f"{what}: white space round the value would be lost")
    return value


def checked_credentials(value: str, scheme: str) -> str:
    """Return a value for Proxy-Authorization; above ASCII it stands for octets, as Latin-1 maps them.

    Raises: LocalWireError, without a word of it.
    """
    bad = _NOT_FIELD.search(value)
    if bad is not None:
        place = f"character U+{ord(bad[0]):04X} at index {bad.start()}"
        raise LocalWireError(f"the credentials of {scheme}: {place} cannot be sent")
    if len(value) > MAX_CREDENTIALS:
        size = f"{len(value)} bytes, the limit is {MAX_CREDENTIALS}"
        raise LocalWireError(f"the credentials of {scheme} have {size}")
    return value


def connect_request(
    target: str, headers: Sequence[tuple[str, str]], old_form: bool = False
) -> tuple[h11.Connection, bytes]:
    """Return the h11 connection of one CONNECT, and its head as bytes. All arguments were checked before.

    With `old_form` the head is HTTP/1.0 without Host (RFC 1945); h11 itself writes HTTP/1.1 only.
    """
    fields = [(name.encode(), value.encode("latin-1")) for name, value in (("Host", target), *headers)]
    # h11's limit is never reached: HeadCutter has a smaller one, and gives it whole heads.
    connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=2 * MAX_HEAD_BYTES)
    head = connection.send(h11.Request(method="CONNECT", target=target, headers=fields))
    connection.send(h11.EndOfMessage())
    if old_form:
        begins = b"CONNECT %b HTTP/1.1\r\nHost: %b\r\n" % (target.encode(), target.encode())
        head = b"CONNECT %b HTTP/1.0\r\n" % target.encode() + bytes(head).removeprefix(begins)
    return connection, bytes(head)
