"""Name a protocol by the first bytes of a stream: what answered where something else was expected."""

import re
from collections.abc import Callable
from typing import Final

MAX_LOOK_BYTES: Final = 1_024
"""How much is looked at. Marks stand in the first few dozen bytes; a page may have white space before it."""

_TLS_RECORD: Final = re.compile(rb"([\x14-\x17])\x03[\x00-\x04]([\x00-\x48].)(.?)", re.DOTALL)
_TLS_MAX_RECORD_BYTES: Final = 2**14 + 2_048  # RFC 5246 section 6.2.3; TLS 1.3 allows less
_TLS_HANDSHAKES: Final = {b"\x01": "a TLS ClientHello", b"\x02": "a TLS ServerHello"}

_FRAME_LENGTHS: Final = range(36, 2**24)
_FRAME_SAMPLE_BYTES: Final = 64

_PATTERNS: Final = tuple(
    (words, re.compile(pattern, re.DOTALL))
    for words, pattern in (
        # Text. The more special pattern stands first.
        ("an HTTP/2 preface", rb"PRI \* HTTP/2\.0\r\n"),
        ("an HTTP reply", rb"HTTP/[0-9]"),
        ("an HTTP request", rb"[A-Z]{3,20} [!-~]{1,900} HTTP/1\.[0-9]\r?\n"),
        ("an HTTP request", rb"(?:GET|HEAD|POST|PUT|DELETE|OPTIONS|PATCH|TRACE) (?:[/*]|https?://)"),
        ("an HTTP request", rb"CONNECT [!-~]{1,900}:[0-9]{1,5} "),
        ("an HTML page", rb"(?i:(?:\xef\xbb\xbf)?\s*(?:<\?xml[^>]*>\s*)?(?:<!doctype html|<html[\s>]))"),
        ("an HTML page", rb"(?i:\s*<(?:head|body|title|meta|script)[\s>])"),
        ("an XML document", rb"(?:\xef\xbb\xbf)?\s*<\?xml[\s?]"),
        ("an SSH banner", rb"SSH-[0-9]"),
        ("an SMTP greeting", rb"220[ -][^\r\n]*(?i:SMTP)"),
        ("an FTP greeting", rb"220[ -][^\r\n]*(?i:FTP)"),
        ("an SMTP or FTP greeting", rb"220[ -]"),
        ("a POP3 greeting", rb"\+OK [^\r\n]+\r\n"),
        ("a POP3 or Redis error", rb"-ERR [^\r\n]+\r\n"),
        ("an IMAP greeting", rb"\* (?:OK|PREAUTH|BYE)[ \r]"),
        ("a VNC greeting", rb"RFB [0-9]{3}\.[0-9]{3}\n"),
        ("an AMQP header", rb"AMQP[\x00-\x03]"),
        # Bytes. Each fixes more of them than the length prefix of a Framework frame, which is tried last.
        ("an HTTP/2 SETTINGS frame", rb"\x00[\x00-\x0f].\x04[\x00\x01]\x00\x00\x00\x00"),
        ("telnet negotiation", rb"\xff(?:[\xfb-\xfe][\x00-\x31\xff]|\xfa[\x00-\x31])"),
        ("an RDP (TPKT) packet", rb"\x03\x00[\x00-\x0f].[\x02-\xfe][\xd0\xe0\xf0]"),
        ("a MySQL greeting", rb"..\x00\x00(?:\x0a[0-9]{1,2}\.[0-9]|\xff..[#A-Za-z])"),
        ("a PostgreSQL startup", rb"\x00\x00..\x00\x03\x00[\x00-\x02]"),
        ("a PostgreSQL startup", rb"\x00\x00\x00\x08\x04\xd2\x16[\x2e-\x30]"),  # cancel, TLS and GSS requests
        ("an SMB message", rb"\x00[\x00\x01]..[\xfd-\xff]SMB"),
        ("a SOCKS4 request", rb"\x04[\x01\x02][^\x00].....[!-~]{0,255}\x00"),
        ("a SOCKS4 request", rb"\x04[\x01\x02]\x00[^\x00]....[!-~]{0,255}\x00"),
    )
)


def resembles(data: bytes) -> str | None:
    """Say in words what a stream that begins with `data` looks like ("an SSH banner"), None when unknown.

    A guess for people: fixed bytes and lengths are checked, nothing is parsed. Give all the bytes that have
    come: fewer are recognised less often, and less exactly.
    """
    data = data[:MAX_LOOK_BYTES]
    for look in _LOOKS:
        words = look(data)
        if words is not None:
            return words
    return None


def excerpt(data: bytes, limit_bytes: int = 64) -> str:
    """Quote the first bytes of `data` for an error: escaped as Python does, and with a count of the rest."""
    more = f" and {len(data) - limit_bytes} bytes more" if len(data) > limit_bytes else ""
    return repr(bytes(data[:limit_bytes]))[1:] + more


def _tls(data: bytes) -> str | None:
    record = _TLS_RECORD.match(data)
    if record is None:
        return None
    kind, length, first = record.groups()
    size = int.from_bytes(length)
    if not 0 < size <= _TLS_MAX_RECORD_BYTES:
        return None
    if kind == b"\x15":
        return "a TLS alert" if size == 2 else "a TLS record"  # a longer one is encrypted
    return _TLS_HANDSHAKES.get(first, "a TLS record") if kind == b"\x16" else "a TLS record"


def _socks(data: bytes) -> str | None:
    if len(data) == 8 and data[0] == 0 and 0x5A <= data[1] <= 0x5D:
        return "a SOCKS4 reply"
    if len(data) < 2 or data[0] != 5:
        return None
    if len(data) == 2 and data[1] in (0, 2, 0xFF):
        return "a SOCKS5 reply"  # the method chosen (RFC 1928 section 3)
    if 1 <= data[1] == len(data) - 2 and max(data[2:]) < 0x0A:
        return "a SOCKS5 greeting"
    if len(data) >= 5 and data[1] <= 8 and data[2] == 0 and data[3] in (1, 3, 4):
        size = {1: 10, 3: 7 + data[4], 4: 22}[data[3]]
        if len(data) == size:
            # Commands are 1 to 3, reply codes 0 to 8: the same bytes may be either.
            return "a SOCKS5 request or reply" if 1 <= data[1] <= 3 else "a SOCKS5 reply"
    return None


def _pattern(data: bytes) -> str | None:
    return next((words for words, pattern in _PATTERNS if pattern.match(data)), None)


def _framework_frame(data: bytes) -> str | None:
    if len(data) < 16 or int.from_bytes(data[:4]) not in _FRAME_LENGTHS:
        return None
    # A length prefix alone is weak: many protocols begin so. Nonce and sealed bytes look random, theirs do
    # not; and DNS over TCP counts its own length in the first two bytes.
    sample = data[4 : 4 + _FRAME_SAMPLE_BYTES]
    is_random = len(set(sample)) * 3 >= len(sample) and not sample.isascii()
    is_dns = int.from_bytes(data[:2]) == len(data) - 2 and data[6:8] == b"\x00\x01"
    return "a Framework frame" if is_random and not is_dns else None


_LOOKS: Final[tuple[Callable[[bytes], str | None], ...]] = (_tls, _socks, _pattern, _framework_frame)
