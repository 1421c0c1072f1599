"""CONNECT to the target, and what the proxy answers, in its own words."""

import contextlib
import time
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from relay.check import Trip, check, found
from relay.failure import Failure, ProxyRefused, Reason, RelayError, Stage
from relay.finding import Finding
from relay.hop_refusal import TURNED_AWAY
from relay.reading import AT_ONCE_SECONDS, Reading, read_refusal, read_socks
from relay.route import Hop
from relay.trace import Trace

WORDS = {
    "opened": "the proxy opened the tunnel",
    "login-required": "the proxy wants a login",
    "login-refused": "the proxy does not accept this login",
    "denied": "the proxy's policy does not allow it",
    "limited": "the proxy has too many connections",
    "redirected": "the proxy sends a browser elsewhere",
    "portal": "a page comes instead of a tunnel",
    "no-connect": "it does not do CONNECT",
    "bad-request": "it does not understand CONNECT",
    "gateway-refused": "the target refused the proxy",
    "gateway-timed-out": "the target did not answer the proxy",
    "gateway-unreachable": "the proxy has no way to the target",
    "gateway-dns": "the proxy cannot resolve the name",
    "gateway-failed": "the proxy could not connect, and does not say why",
    "cannot-forward": "the proxy cannot resolve the name, or its own parent proxy is down",
    "parent-failed": "the proxy cannot reach its own parent proxy",
    "scanner-failed": "the proxy's content scanner is down",
    "loop": "the request came back to the proxy",
    "closed": "the proxy closed the connection without an answer",
    "reset": "the proxy reset the connection without an answer",
    "silent": "the proxy did not answer",
    "not-http": "what answers is no HTTP proxy",
    "tls-untrusted": "the proxy's certificate is not trusted here",
    "tls-failed": "TLS with the proxy failed",
    "next-hop": "a later proxy of the chain cannot be reached",
}
_BY_REASON = {
    Reason.CLOSED: "closed",
    Reason.TRUNCATED: "closed",
    Reason.RESET: "reset",
    Reason.TIMED_OUT: "silent",
    Reason.PORTAL: "portal",
    Reason.NOT_HTTP: "not-http",
    Reason.MALFORMED: "not-http",
    Reason.TLS_UNTRUSTED: "tls-untrusted",
    Reason.TLS_FAILED: "tls-failed",
    Reason.LOGIN_REQUIRED: "login-required",
    Reason.LOGIN_REFUSED: "login-refused",
}


_SOCKS_WORDS = {
    Reason.DENIED: "ruleset",
    Reason.NO_CONNECT: "unsupported",
    Reason.LOGIN_REQUIRED: "no-method",
    Reason.LOGIN_REFUSED: "login-failed",
    Reason.GATEWAY: "gateway",
    Reason.CLOSED: "closed",
}
_FOR_THE_NEXT = frozenset(
    {
        "denied", "cannot-forward", "gateway-refused", "gateway-timed-out", "gateway-unreachable",
        "gateway-dns", "gateway-failed",
    }
)  # fmt: skip
"""What a proxy that is not the last one of a chain says of the next proxy, and not of the target."""

_PASSWORD_SCHEMES = frozenset({"digest", "ntlm"})
"""With Basic: what a user and a password log in to."""

_NOT_TLS = ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "PROXY_REQUEST", "UNKNOWN_PROTOCOL", "PACKET_LENGTH")
"""What OpenSSL says of bytes that are no TLS record (SSLerr)."""

SOONEST_TIMEOUT_SECONDS = 0.5
"""No proxy gives up a connection sooner: one that says so has another reason (ncat says 504 to all)."""

CLOCK_SECONDS = 300.0


@check("tunnel", WORDS, needs={"connect": "open"}, routes=("proxy",))
async def tunnel(trip: Trip) -> Finding:
    """Does the proxy open a tunnel to the target?"""
    word, words, evidence = await try_connect(trip, None, trip.patience.tunnel)
    return found("tunnel", word, words, **evidence)


async def try_connect(trip: Trip, target: Any, limit_seconds: float) -> tuple[str, str, dict[str, Any]]:
    """CONNECT once; the word of `WORDS`, a line for people, and the evidence. Raises: BudgetSpent."""
    asked = str(target or trip.route.target)
    began = time.monotonic()
    trace = Trace(limit_seconds)
    trace.hops = len(trip.route.hops)
    try:
        stream = await trip.open(target, limit_seconds, trace)
    except RelayError as error:
        return _refusal(trip, error, time.monotonic() - began, trace)
    milliseconds = round((time.monotonic() - began) * 1000, 3)
    with contextlib.suppress(OSError, RelayError):
        await stream.aclose()
    told = trace.steps[-1].evidence if trace.steps else {}
    oddities = [str(one) for one in told.get("leniencies", ())]
    is_odd = bool(oddities) or told.get("status", 200) not in (0, 90, 200)
    evidence = {"target": asked, "milliseconds": milliseconds, "odd": is_odd, "oddities": oddities}
    return "opened", f"tunnel to {asked} is open", evidence


def is_answer(word: str) -> bool:
    """Whether the proxy said something."""
    return word not in ("silent", "closed", "reset")


def _login(failure: Failure, trace: Trace) -> str:
    """How far the login got: "none", "ended", or "cut-in-the-middle" (RFC 4559 section 6)."""
    if TURNED_AWAY in failure.detail:
        return "turned-away"
    if not any(step.stage is Stage.LOGIN for step in trace.steps):
        return "none"
    is_cut = failure.reason in (Reason.CLOSED, Reason.RESET, Reason.TRUNCATED)
    return "cut-in-the-middle" if is_cut else "ended"


def _socks(trip: Trip, failure: Failure) -> str:
    """What a SOCKS server means (RFC 1928 section 6); "none" when it is no SOCKS proxy."""
    hop = trip.route.hops[min(failure.hop or 0, len(trip.route.hops) - 1)]
    if hop.socks is None:
        return "none"
    if failure.stage is Stage.RESOLVE:
        return "local-name-unknown"
    if failure.reason is Reason.TIMED_OUT:
        return "hangs"
    if "HTTP" in failure.detail:
        return "http"
    return _SOCKS_WORDS.get(failure.reason, "other")


def _is_named(trip: Trip, hop: Hop) -> bool:
    """Whether this proxy is given a name, and must look it up."""
    here = hop.looks_up_here or hop.socks in ("socks5", "socks4")
    return not here and not trip.route.target.is_literal


def _tls(failure: Failure) -> str:
    """How TLS with the proxy failed: what was there spoke no TLS, or it did and did not want us."""
    if failure.reason is Reason.TIMED_OUT:
        return "silent"
    if failure.reason is Reason.TLS_UNTRUSTED:
        return _untrusted(failure.detail.lower())
    if failure.reason is not Reason.TLS_FAILED:
        return "cut" if failure.stage is Stage.TLS else "none"
    if "CERTIFICATE_REQUIRED" in failure.detail:
        return "wants-certificate"
    if any(mark in failure.detail for mark in _NOT_TLS):
        return "not-tls"
    return "alert" if "ALERT" in failure.detail else "other"


def _untrusted(detail: str) -> str:
    """What is wrong with a certificate, in the words of OpenSSL's X509_verify_cert_error_string."""
    if "expired" in detail or "not yet valid" in detail:
        return "wrong-time"
    return "other-name" if "mismatch" in detail else "unknown-issuer"


def _clock(fields: Mapping[str, str]) -> dict[str, Any]:
    """How the proxy's clock differs from ours; Kerberos bears five minutes (RFC 4120 section 5.2.3)."""
    try:
        theirs = parsedate_to_datetime(fields.get("date", ""))
    except ValueError:
        return {"clock": "unknown"}
    offset = (theirs.astimezone(UTC) - datetime.now(UTC)).total_seconds()
    return {"clock": "off" if abs(offset) > CLOCK_SECONDS else "right", "clock_offset_seconds": round(offset)}


def _refusal(trip: Trip, error: RelayError, seconds: float, trace: Trace) -> tuple[str, str, dict[str, Any]]:
    failure = error.failure
    hop = failure.hop or 0
    asked = trip.route.hops[min(hop, len(trip.route.hops) - 1)]
    evidence: dict[str, Any] = {
        "milliseconds": round(seconds * 1000, 3),
        "speed": "at-once" if seconds < AT_ONCE_SECONDS else "slow",
        "hop": hop,
        "reason": str(failure.reason),
        "detail": failure.detail[:600],
        "literal": trip.route.target.is_literal,
        "named": _is_named(trip, asked),
        "login": _login(failure, trace),
        "socks": _socks(trip, failure),
        "socks_version": asked.socks[5] if asked.socks else "none",
        "over_tls": asked.tls,
        "tls": _tls(failure) if failure.stage is Stage.TLS or failure.reason is Reason.TLS_FAILED else "none",
    }
    if not isinstance(error, ProxyRefused):
        word = _BY_REASON.get(failure.reason, "closed")
        if failure.stage is Stage.TLS and word not in ("tls-untrusted", "tls-failed"):
            word = "tls-failed"
        if hop > 0 and failure.stage in (Stage.RESOLVE, Stage.CONNECT):
            word = "next-hop"
        return word, failure.sentence, evidence
    reading = _reading(error, trip.route.hops[hop].socks)
    word = reading.word
    evidence |= _said(error, reading)
    if word == "gateway-timed-out" and seconds < SOONEST_TIMEOUT_SECONDS:
        word = "gateway-failed"
    if word in _FOR_THE_NEXT and hop + 1 < len(trip.route.hops):
        evidence["next_hop"] = "denied" if word == "denied" else "failed"
        word = "next-hop"
    return word, failure.sentence, evidence


def _said(error: ProxyRefused, reading: Reading) -> dict[str, Any]:
    """What stands in a refusal, in words of ours and in its own."""
    fields = {name.lower(): value for name, value in error.headers}
    schemes = [value.split(" ")[0] for name, value in error.headers if name.lower() == "proxy-authenticate"]
    offered = {scheme.lower() for scheme in schemes}
    return {
        "status": error.status,
        "said": reading.said or "nothing",
        "vendor": reading.vendor or "unknown",
        "own_words": reading.own_words,
        "parent": reading.parent,
        "schemes": schemes,
        "offers": _offers(offered),
        "negotiate": "negotiate" in offered,
        "via": fields.get("via", "")[:200],
        "server": (fields.get("server") or fields.get("proxy-agent") or "")[:200],
        "location": fields.get("location", "")[:400],
        **_clock(fields),
    }


def _offers(schemes: set[str]) -> str:
    """What it takes to log in: basic, password (Digest, NTLM), ticket (Negotiate), other, none."""
    if "basic" in schemes:
        return "basic"
    if schemes & _PASSWORD_SCHEMES:
        return "password"
    if "negotiate" in schemes:
        return "ticket"
    return "other" if schemes else "none"


def _reading(error: ProxyRefused, socks: str | None) -> Reading:
    if socks is None:
        sent_login = error.failure.reason is Reason.LOGIN_REFUSED
        return read_refusal(error.status, error.headers, error.body, sent_login=sent_login)
    reading = read_socks(socks, error.status)
    if error.failure.stage is Stage.LOGIN:
        return replace(reading, word=_BY_REASON[error.failure.reason])
    return reading
