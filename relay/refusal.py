"""What the proxy answers when it refuses or fails: status, Proxy-Status (RFC 9209) and a page of words."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from email.utils import formatdate
from http import HTTPStatus

from relay.failure import Reason, RelayError, Stage

PROXY_NAME = "framework-relay"


@dataclass(frozen=True)
class Refusal:
    """`error` is a proxy error type of RFC 9209 section 2.3; `words` go to the client and to the log."""

    status: int
    error: str
    words: str
    fields: Sequence[tuple[str, str]] = field(default=())

    @property
    def proxy_status(self) -> str:
        """The value of the Proxy-Status field: an RFC 8941 item with parameters."""
        printable = "".join(c if " " <= c <= "~" else "?" for c in self.words)
        details = printable.replace("\\", "\\\\").replace('"', '\\"')
        return f'{PROXY_NAME}; error={self.error}; details="{details}"'

    def reply(self, *, with_body: bool = True) -> bytes:
        """The whole reply; the connection is closed behind it (RFC 9931 section 8 for CONNECT)."""
        reason = HTTPStatus(self.status).phrase
        body = f"{self.status} {reason}\n\n{PROXY_NAME}: {self.words}\n".encode()
        fields = [
            ("Date", formatdate(usegmt=True)),
            ("Proxy-Status", self.proxy_status),
            *self.fields,
            ("Content-Type", "text/plain; charset=utf-8"),
            ("Content-Length", str(len(body))),
            ("Cache-Control", "no-store"),
            ("Connection", "close"),
        ]
        head = f"HTTP/1.1 {self.status} {reason}\r\n" + "".join(f"{n}: {v}\r\n" for n, v in fields) + "\r\n"
        return head.encode("latin-1") + (body if with_body else b"")


def malformed(words: str) -> Refusal:
    """400: the request itself is wrong."""
    return Refusal(HTTPStatus.BAD_REQUEST, "http_request_error", words)


def denied(words: str) -> Refusal:
    """403: the policy says no."""
    return Refusal(HTTPStatus.FORBIDDEN, "http_request_denied", words)


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
