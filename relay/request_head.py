"""The head of a request, read strictly (RFC 9112 sections 2, 3, 5 and 6; RFC 9110 sections 5.5 and 7.2)."""

import re
from dataclasses import dataclass

from relay.authority import AbsoluteTarget, TargetMalformed, read_absolute, read_authority, read_host_field
from relay.refusal import (
    ALLOW,
    METHODS,
    Refusal,
    malformed,
    not_for_a_proxy,
    not_implemented,
    other_version,
    too_large,
)
from relay.refused import Refused
from relay.route import Endpoint

# squid's limit for a head is 64 KiB too; a Kerberos token of a user in many groups takes tens of KiB.
MAX_VALUE_BYTES = 65_536
MAX_TARGET_BYTES = 65_536
# 2^63 - 1 is what most implementations count to; longer bodies do not exist.
MAX_BODY_BYTES = 2**63 - 1

_TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_LINE = re.compile(rb"(%b) ([\x21-\x7e]+) HTTP/([0-9])\.([0-9])\Z" % _TOKEN)
_NAME = re.compile(rb"%b\Z" % _TOKEN)
# RFC 9110 section 5.5: visible characters, obs-text, space and tab.
_VALUE = re.compile(rb"[\t\x20-\x7e\x80-\xff]*\Z")
_LENGTH = re.compile(rb"[0-9]+\Z")
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")

RawFields = tuple[tuple[bytes, bytes], ...]


@dataclass(frozen=True)
class RequestLine:
    """The first line, well-formed; `version` is (1, 0) or (1, n), as it was received, or (2, 0)."""

    method: str
    target: str
    version: tuple[int, int]


@dataclass(frozen=True)
class RequestHead:
    """A whole head. `fields` are as they came, the white space around their values left out.

    to: what the target means: Endpoint for CONNECT, None for `*`, else an http URI taken apart.
    body_bytes: the length of the body that follows; None means that it is chunked.
    """

    line: RequestLine
    fields: RawFields
    to: Endpoint | AbsoluteTarget | None
    body_bytes: int | None

    @property
    def is_modern(self) -> bool:
        """HTTP/1.1 or a later 1.x: it understands chunked and persistent connections.

        HTTP/2 has no chunks, and each of its streams carries one request only.
        """
        return (1, 1) <= self.line.version < (2, 0)

    @property
    def knows_interim(self) -> bool:
        """Whether its client understands 1xx, which HTTP/1.0 does not (RFC 9110 section 15.2)."""
        return self.line.version >= (1, 1)

    @property
    def keeps_alive(self) -> bool:
        """A proxy keeps no connection of an HTTP/1.0 client (RFC 9112 section 9.3)."""
        return self.is_modern and "close" not in connection_options(self.fields)

    def values(self, name: bytes) -> list[bytes]:
        """All values of a field, in their order; `name` in lower case."""
        return [value for field, value in self.fields if field.lower() == name]


def connection_options(fields: RawFields) -> set[str]:
    """What Connection names (RFC 9110 section 7.6.1), in lower case; Proxy-Connection is an old spelling."""
    return {
        option.strip().lower()
        for name, value in fields
        if name.lower() in (b"connection", b"proxy-connection")
        for option in value.decode("latin-1").split(",")
    }


def too_long() -> Refusal:
    """414: the target is beyond the limit."""
    return Refusal(414, "http_request_error", f"the target is beyond {MAX_TARGET_BYTES} bytes")


def read_request_line(line: bytes) -> RequestLine:
    """Read a request line without its line end. Raises: Refused (400, 414, 501, 505)."""
    match = _LINE.match(line)
    if match is None:
        raise Refused(malformed("the request line is not METHOD TARGET HTTP/1.1, with single spaces"))
    if len(match[2]) > MAX_TARGET_BYTES:
        raise Refused(too_long())
    major, minor = int(match[3]), int(match[4])
    if major != 1:
        raise Refused(other_version())
    method = match[1].decode("ascii")
    if method not in METHODS:
        raise Refused(not_implemented("the method is not known here; methods are case-sensitive", ALLOW))
    return RequestLine(method, match[2].decode("ascii"), (major, minor))


def read_field(line: bytes) -> tuple[bytes, bytes]:
    """Read a field line without its line end.

    Raises: Refused: obs-fold, white space before the colon, a name that is no token, control characters
            (RFC 9112 section 5, RFC 9110 section 5.5), a value beyond the limit.
    """
    if line[:1] in (b" ", b"\t"):
        raise Refused(malformed("a header line begins with white space: folded lines are not accepted"))
    name, colon, value = line.partition(b":")
    if not colon or not _NAME.match(name):
        raise Refused(malformed("a header line is not of the form name: value, or its name is no token"))
    value = value.strip(b" \t")
    if not _VALUE.match(value):
        raise Refused(malformed("a header value has control characters"))
    if len(value) > MAX_VALUE_BYTES:
        raise Refused(too_large(f"a header value is beyond {MAX_VALUE_BYTES} bytes"))
    return name, value


def complete_head(line: RequestLine, fields: RawFields) -> RequestHead:
    """Check what the fields say together. Raises: Refused."""
    head = RequestHead(line, fields, None, 0)
    _check_host(head)
    is_bodiless = line.method in ("CONNECT", "TRACE")
    if is_bodiless and head.values(b"transfer-encoding"):
        raise Refused(malformed(f"a {line.method} request has no body"))
    body_bytes = _body_bytes(head)
    if is_bodiless and body_bytes:
        # RFC 9110 sections 9.3.6 and 9.3.8: what follows could be taken for a body or for something else
        raise Refused(malformed(f"a {line.method} request has no body"))
    return RequestHead(line, fields, read_target(line.method, line.target), body_bytes)


def _check_host(head: RequestHead) -> None:
    hosts = head.values(b"host")
    if len(hosts) > 1:
        raise Refused(malformed("more than one Host field"))
    if not hosts and head.is_modern:
        raise Refused(malformed("no Host field, which HTTP/1.1 requires"))
    for host in hosts:
        try:
            read_host_field(host.decode("latin-1"))
        except TargetMalformed as error:
            raise Refused(malformed(str(error))) from None


def _body_bytes(head: RequestHead) -> int | None:
    """RFC 9112 section 6.3, without any leniency: two readings of a length are how requests are smuggled."""
    codings, lengths = head.values(b"transfer-encoding"), head.values(b"content-length")
    if codings:
        _check_codings(head, b",".join(codings).decode("latin-1"), is_sized=bool(lengths))
        return None
    if not lengths:
        return 0
    if len(lengths) > 1 or not _LENGTH.match(lengths[0]):
        raise Refused(malformed("Content-Length is not one number"))
    digits = lengths[0].lstrip(b"0") or b"0"
    # Compare lengths first: Python converts no text of thousands of digits
    if len(digits) > len(str(MAX_BODY_BYTES)) or int(digits) > MAX_BODY_BYTES:
        raise Refused(malformed("Content-Length is beyond all limits"))
    return int(digits)


def _check_codings(head: RequestHead, codings: str, *, is_sized: bool) -> None:
    if not head.is_modern:
        raise Refused(malformed("Transfer-Encoding in an HTTP/1.0 request (RFC 9112 section 6.1)"))
    if is_sized:
        raise Refused(malformed("both Transfer-Encoding and Content-Length"))
    names = [name.strip(" \t").lower() for name in codings.split(",")]
    if names[-1] != "chunked" or names.count("chunked") > 1 or not all(names):
        raise Refused(malformed("Transfer-Encoding must end in chunked, and name it once"))
    if len(names) > 1:
        raise Refused(not_implemented("chunked is the only transfer coding known here"))


def read_target(method: str, target: str) -> Endpoint | AbsoluteTarget | None:
    """What the target of a request means; None is `*`.

    Raises: Refused: 400 malformed, 405 origin-form, 501 a scheme other than http (RFC 9112 section 3.2).
    """
    try:
        if method == "CONNECT":
            return read_authority(target)
        if target == "*" and method == "OPTIONS":
            return None
        if target.startswith("/"):
            raise Refused(not_for_a_proxy())
        scheme = _SCHEME.match(target)
        if scheme is None:
            raise TargetMalformed("the target is no absolute URI")
        if scheme[1].lower() != "http":
            raise Refused(not_implemented("only http:// URIs are forwarded; use CONNECT for others"))
        return read_absolute(target)
    except TargetMalformed as error:
        raise Refused(malformed(str(error))) from None
