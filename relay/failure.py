"""The closed words for what went wrong, and the only place that looks at foreign exceptions."""

import errno
import socket
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from enum import StrEnum
from ssl import SSLCertVerificationError, SSLError
from typing import Any

from protocol.errors import AuthMalformed, HeadMalformed, SealBroken, StreamTruncated, WireError


class Stage(StrEnum):
    """Where on the path it happened, in the order in which a connection is made."""

    RESOLVE = "resolve"
    CONNECT = "connect"
    TLS = "tls"
    PROXY = "proxy"
    LOGIN = "login"
    TUNNEL = "tunnel"
    FRAMEWORK = "framework"


class Reason(StrEnum):
    """What happened there."""

    NAME_NOT_FOUND = "name-not-found"
    NAME_LOOKUP_FAILED = "name-lookup-failed"
    REFUSED = "refused"
    UNREACHABLE = "unreachable"
    TIMED_OUT = "timed-out"
    RESET = "reset"
    CLOSED = "closed"
    NOT_PERMITTED = "not-permitted"
    NO_RESOURCES = "no-resources"
    TLS_UNTRUSTED = "tls-untrusted"
    TLS_FAILED = "tls-failed"
    DENIED = "denied"
    NO_CONNECT = "no-connect"
    LOGIN_REQUIRED = "login-required"
    LOGIN_REFUSED = "login-refused"
    GATEWAY = "gateway"
    REDIRECTED = "redirected"
    NOT_HTTP = "not-http"
    MALFORMED = "malformed"
    TRUNCATED = "truncated"
    PORTAL = "portal"
    SEAL_BROKEN = "seal-broken"
    ANSWER_LOST = "answer-lost"
    OTHER = "other"


_WORDS = {
    Reason.NAME_NOT_FOUND: "the name does not exist",
    Reason.NAME_LOOKUP_FAILED: "the name could not be looked up",
    Reason.REFUSED: "refused the connection: nothing listens on that port, or a firewall rejects it",
    Reason.UNREACHABLE: "cannot be reached: no route, or a router or firewall says so",
    Reason.TIMED_OUT: "did not answer in time",
    Reason.RESET: "reset the connection",
    Reason.CLOSED: "closed the connection",
    Reason.NOT_PERMITTED: "may not be connected to: this machine forbids it",
    Reason.NO_RESOURCES: "could not be tried: this machine has run out of something",
    Reason.TLS_UNTRUSTED: "shows a certificate that is not trusted here",
    Reason.TLS_FAILED: "did not complete the TLS handshake",
    Reason.NOT_HTTP: "does not answer as an HTTP proxy does",
    Reason.SEAL_BROKEN: "sent a packet that does not open: another key, or bytes changed on the way",
    Reason.TRUNCATED: "closed the connection in the middle of its answer",
}

_BY_ERRNO = {
    errno.ECONNREFUSED: Reason.REFUSED,
    errno.ENETUNREACH: Reason.UNREACHABLE,
    errno.EHOSTUNREACH: Reason.UNREACHABLE,
    errno.ENETDOWN: Reason.UNREACHABLE,
    errno.EHOSTDOWN: Reason.UNREACHABLE,
    errno.EADDRNOTAVAIL: Reason.UNREACHABLE,
    errno.ETIMEDOUT: Reason.TIMED_OUT,
    errno.ECONNRESET: Reason.RESET,
    errno.EPIPE: Reason.RESET,
    errno.ECONNABORTED: Reason.RESET,
    errno.EACCES: Reason.NOT_PERMITTED,
    errno.EPERM: Reason.NOT_PERMITTED,
    errno.EMFILE: Reason.NO_RESOURCES,
    errno.ENFILE: Reason.NO_RESOURCES,
    errno.ENOBUFS: Reason.NO_RESOURCES,
    errno.ENOMEM: Reason.NO_RESOURCES,
}

_NOT_FOUND = {
    code
    for code in (getattr(socket, name, None) for name in ("EAI_NONAME", "EAI_NODATA", "EAI_ADDRFAMILY"))
    if code is not None
}


@dataclass(frozen=True)
class Answered:
    """What a proxy said when it refused, fit to be shown: without secrets, printable, bounded.

    `head` has one field a line; `body` is the beginning of its text, without markup.
    """

    status: int
    head: str
    body: str = ""
    proxy_status: str | None = None
    squid_error: str | None = None
    via: str | None = None


@dataclass(frozen=True)
class Failure:
    """One thing that went wrong: where, what, with whom, and the words of whoever said so.

    Attributes: hop: counts proxies from 0, None means the target itself. role: "proxy", "proxy 2 of 3",
    "target". reply: of a proxy that refused.
    """

    stage: Stage
    reason: Reason
    peer: str
    detail: str = ""
    hop: int | None = None
    role: str = ""
    reply: Answered | None = None

    @property
    def sentence(self) -> str:
        """One line for people: stage, peer, cause, and the evidence in brackets."""
        words = _WORDS.get(self.reason)
        # Of a single proxy the URL says enough
        who = f"{self.peer} [{self.role}]" if " of " in self.role else self.peer
        if words is None:
            return f"{self.stage}: {who} {self.detail or self.reason}"
        return f"{self.stage}: {who} {words}" + (f" ({self.detail})" if self.detail else "")

    def as_dict(self) -> dict[str, Any]:
        """The same for machines; `hop` counts proxies from 0, null means the target itself."""
        return {
            "stage": str(self.stage),
            "reason": str(self.reason),
            "peer": self.peer,
            "detail": self.detail,
            "hop": self.hop,
            "role": self.role or ("target" if self.hop is None else "proxy"),
            "reply": None if self.reply is None else asdict(self.reply),
            "sentence": self.sentence,
        }


class RelayError(Exception):
    """Something between us and the far end failed; `.failure` says what and where."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.sentence)
        self.failure = failure

    def __str__(self) -> str:
        return self.failure.sentence


class DialFailed(RelayError, ConnectionError):
    """A name, TCP or TLS step towards a hop failed, or an open connection broke."""


class TimedOut(RelayError, TimeoutError):
    """A step did not end within its limit."""


class PeerMisbehaved(RelayError, ConnectionError):
    """A peer sent bytes that its protocol does not allow, or stopped in the middle."""


class AnswerLost(RelayError, ConnectionError):
    """The connection died after a request was sent: it may have been carried out, or not."""


class ProxyRefused(RelayError, ConnectionError):
    """A hop answered CONNECT outside 2xx, or SOCKS with a refusal.

    `status` is its status code (of SOCKS: the reply code), `headers` its header fields in order, `body` at
    most 64 KiB of its body, both as they came.
    """

    def __init__(
        self, failure: Failure, status: int, headers: Iterable[tuple[str, str]] = (), body: bytes = b""
    ) -> None:
        super().__init__(failure)
        self.status = status
        self.headers = tuple(headers)
        self.body = body


class SettingsError(ValueError):
    """A flag, file or key holds what cannot be; the message names it and what was expected."""


def classify(error: BaseException, stage: Stage, peer: str, hop: int | None = None) -> RelayError:
    """Turn any exception of a network step into the error with our words for it.

    Source: errno(3), getaddrinfo(3).
    """
    if isinstance(error, RelayError):
        return error
    if isinstance(error, WireError):
        return PeerMisbehaved(Failure(stage, _wire_reason(error), peer, str(error), hop))
    reason, detail = _os_reason(error)
    failure = Failure(stage, reason, peer, detail, hop)
    return TimedOut(failure) if reason is Reason.TIMED_OUT else DialFailed(failure)


def _wire_reason(error: WireError) -> Reason:
    if isinstance(error, StreamTruncated):
        return Reason.TRUNCATED
    if isinstance(error, SealBroken):
        return Reason.SEAL_BROKEN
    if isinstance(error, HeadMalformed | AuthMalformed):
        return Reason.NOT_HTTP if "HTTP" in str(error) else Reason.MALFORMED
    return Reason.MALFORMED


def _os_reason(error: BaseException) -> tuple[Reason, str]:
    if isinstance(error, socket.gaierror):
        # gaierror first: its errno is an EAI_ code, which means something else as an errno
        found = Reason.NAME_NOT_FOUND if error.errno in _NOT_FOUND else Reason.NAME_LOOKUP_FAILED
        return found, (error.strerror or str(error))
    if isinstance(error, SSLCertVerificationError):
        return Reason.TLS_UNTRUSTED, error.verify_message or str(error)
    if isinstance(error, SSLError):
        return Reason.TLS_FAILED, error.reason or str(error)
    if isinstance(error, OSError) and error.errno is not None:
        reason = _BY_ERRNO.get(error.errno, Reason.OTHER)
        name = errno.errorcode.get(error.errno, str(error.errno))
        return reason, name if reason is not Reason.OTHER else f"{name}: {error.strerror}"
    if isinstance(error, TimeoutError):
        return Reason.TIMED_OUT, ""
    if isinstance(error, ConnectionError):
        return Reason.RESET, str(error)
    return Reason.OTHER, f"{type(error).__name__}: {error}"
