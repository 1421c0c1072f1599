"""What the proxy answers when it refuses or fails: status, Proxy-Status (RFC 9209) and a page of words."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from email.utils import formatdate
from http import HTTPStatus

from relay.failure import ProxyRefused, Reason, RelayError, Stage
from relay.quoted import quoted

PROXY_NAME = "framework-relay"

# Methods that are forwarded: those of RFC 9110, PATCH (RFC 5789), and what WebDAV, Subversion and UPnP use.
METHODS = (
    "CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE",
    "ACL", "BIND", "CHECKOUT", "COPY", "LINK", "LOCK", "M-SEARCH", "MERGE", "MKACTIVITY", "MKCALENDAR",
    "MKCOL", "MOVE", "NOTIFY", "PROPFIND", "PROPPATCH", "PURGE", "QUERY", "REBIND", "REPORT", "SEARCH",
    "SUBSCRIBE", "UNBIND", "UNLINK", "UNLOCK", "UNSUBSCRIBE",
)  # fmt: skip
ALLOW = ("Allow", ", ".join(METHODS))
# A request in origin-form asks for a resource of the proxy itself, and it has none: this is what it is for.
ALLOW_HERE = ("Allow", "CONNECT")


@dataclass(frozen=True)
class Refusal:
    """`error` is a proxy error type of RFC 9209 section 2.3; `words` go to the log, and to the client
    unless there is something else for it in `told`. `next_hop` is the parent proxy that failed, and
    `received_status` what it answered.

    The words never quote what the client sent, apart from a target that was found to be well-formed.
    """

    status: int
    error: str
    words: str
    fields: Sequence[tuple[str, str]] = field(default=())
    told: str | None = None
    next_hop: str = ""
    received_status: int | None = None

    @property
    def proxy_status(self) -> str:
        """The value of the Proxy-Status field: a token with parameters (RFC 8941 section 3.1.2)."""
        parent = f"; next-hop={quoted(self.next_hop)}" if self.next_hop else ""
        if self.received_status is not None:
            parent += f"; received-status={self.received_status}"
        return f"{PROXY_NAME}; error={self.error}{parent}; details={quoted(self.told or self.words)}"

    def reply(self, *, with_body: bool = True, keeps_alive: bool = False) -> bytes:
        """The whole reply; the connection is closed behind it (RFC 9931 section 8 for CONNECT).

        Args: keeps_alive: it is not, for a login that goes on over the same connection.
        """
        reason = HTTPStatus(self.status).phrase
        body = f"{self.status} {reason}\n\n{PROXY_NAME}: {self.told or self.words}\n".encode()
        fields = [
            ("Date", formatdate(usegmt=True)),
            ("Proxy-Status", self.proxy_status),
            *self.fields,
            ("Content-Type", "text/plain; charset=utf-8"),
            ("Content-Length", str(len(body))),
            ("Cache-Control", "no-store"),
            ("Connection", "keep-alive" if keeps_alive else "close"),
        ]
        head = f"HTTP/1.1 {self.status} {reason}\r\n" + "".join(f"{n}: {v}\r\n" for n, v in fields) + "\r\n"
        return head.encode("latin-1") + (body if with_body else b"")


@dataclass(frozen=True)
class LoginRefused(Refusal):
    """Who asks must log in. was_wrong: they tried, and it was not accepted."""

    was_wrong: bool = False


def malformed(words: str) -> Refusal:
    """400: the request itself is wrong."""
    return Refusal(HTTPStatus.BAD_REQUEST, "http_request_error", words)


def denied(words: str, *, tells: bool = True) -> Refusal:
    """403: the policy says no. Without `tells` the reason goes to the log only."""
    told = None if tells else "the policy does not allow it"
    return Refusal(HTTPStatus.FORBIDDEN, "http_request_denied", words, told=told)


def too_slow(words: str) -> Refusal:
    """408: the client began to send something and did not end in time."""
    return Refusal(HTTPStatus.REQUEST_TIMEOUT, "http_request_error", words)


def too_large(words: str) -> Refusal:
    """431: the header section is beyond a limit."""
    return Refusal(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "http_request_error", words)


def login_required(words: str, challenges: Sequence[str], *, was_wrong: bool = False) -> Refusal:
    """407: who asks has not said who they are, or not so that it was accepted (RFC 9110 section 15.5.8)."""
    fields = tuple(("Proxy-Authenticate", challenge) for challenge in challenges)
    status = HTTPStatus.PROXY_AUTHENTICATION_REQUIRED
    return LoginRefused(status, "http_request_denied", words, fields, was_wrong=was_wrong)


def too_many(words: str, retry_seconds: int) -> Refusal:
    """429: this client asks too often (RFC 6585 section 4)."""
    fields = (("Retry-After", str(retry_seconds)),)
    return Refusal(HTTPStatus.TOO_MANY_REQUESTS, "http_request_denied", words, fields)


def over_the_limit(words: str) -> Refusal:
    """503: as many are there as may be (RFC 9209 section 2.3.12)."""
    return Refusal(HTTPStatus.SERVICE_UNAVAILABLE, "connection_limit_reached", words)


def not_for_a_proxy() -> Refusal:
    """405: a request in origin-form, for which there are no resources here."""
    words = "this is a proxy: send CONNECT host:port, or a request with an absolute http:// URI"
    return Refusal(HTTPStatus.METHOD_NOT_ALLOWED, "http_request_error", words, (ALLOW_HERE,))


def not_implemented(words: str, *fields: tuple[str, str]) -> Refusal:
    """501: well-formed, but not known here."""
    return Refusal(HTTPStatus.NOT_IMPLEMENTED, "proxy_internal_response", words, fields)


def other_version() -> Refusal:
    """505: neither HTTP/1.0 nor HTTP/1.1."""
    words = "only HTTP/1.0 and HTTP/1.1 are spoken here"
    return Refusal(HTTPStatus.HTTP_VERSION_NOT_SUPPORTED, "proxy_internal_response", words)


def went_in_a_circle() -> Refusal:
    """502: our own name stands in Via already."""
    return Refusal(HTTPStatus.BAD_GATEWAY, "proxy_loop_detected", "it has been through this proxy before")


_BY_REASON = {
    Reason.NAME_NOT_FOUND: (HTTPStatus.BAD_GATEWAY, "dns_error"),
    Reason.NAME_LOOKUP_FAILED: (HTTPStatus.BAD_GATEWAY, "dns_error"),
    Reason.REFUSED: (HTTPStatus.BAD_GATEWAY, "connection_refused"),
    Reason.UNREACHABLE: (HTTPStatus.BAD_GATEWAY, "destination_ip_unroutable"),
    Reason.NOT_PERMITTED: (HTTPStatus.BAD_GATEWAY, "destination_ip_unroutable"),
    Reason.RESET: (HTTPStatus.BAD_GATEWAY, "connection_terminated"),
    Reason.CLOSED: (HTTPStatus.BAD_GATEWAY, "connection_terminated"),
    Reason.NO_RESOURCES: (HTTPStatus.SERVICE_UNAVAILABLE, "proxy_internal_error"),
    Reason.TIMED_OUT: (HTTPStatus.GATEWAY_TIMEOUT, "connection_timeout"),
}


def unreachable(error: RelayError) -> Refusal:
    """502 or 504: the target could not be reached (RFC 9209 section 2.3 has the recommended codes)."""
    failure = error.failure
    if failure.stage is Stage.RESOLVE and failure.reason is Reason.TIMED_OUT:
        return Refusal(HTTPStatus.GATEWAY_TIMEOUT, "dns_timeout", failure.sentence)
    status, kind = _BY_REASON.get(failure.reason, (HTTPStatus.BAD_GATEWAY, "destination_unavailable"))
    return Refusal(status, kind, failure.sentence)


# RFC 9209 sections 2.3.15 to 2.3.17.
_OF_TLS = {Reason.TLS_UNTRUSTED: "tls_certificate_error", Reason.TLS_FAILED: "tls_protocol_error"}


def through_parent(error: RelayError, parents: str) -> Refusal:
    """502 or 504: the parent proxy failed, or would not let us through (RFC 9209 section 2.1)."""
    found = unreachable(error)
    kind = _OF_TLS.get(error.failure.reason, found.error)
    status = error.status if isinstance(error, ProxyRefused) and 100 <= error.status <= 599 else None
    words = f"the next proxy: {found.words}"
    return Refusal(found.status, kind, words, next_hop=parents, received_status=status)
