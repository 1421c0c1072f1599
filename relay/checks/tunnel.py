"""CONNECT to the target, and what the proxy answers, in its own words."""

import contextlib
import time
from typing import Any

from relay.check import Trip, check, found
from relay.failure import ProxyRefused, Reason, RelayError, Stage
from relay.finding import Finding
from relay.reading import AT_ONCE_SECONDS, read_refusal

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


@check("tunnel", WORDS, needs={"connect": "open"}, routes=("proxy",))
async def tunnel(trip: Trip) -> Finding:
    """Does the proxy open a tunnel to the target?"""
    word, words, evidence = await try_connect(trip, None, trip.patience.tunnel)
    return found("tunnel", word, words, **evidence)


async def try_connect(trip: Trip, target: Any, limit_seconds: float) -> tuple[str, str, dict[str, Any]]:
    """CONNECT once; the word of `WORDS`, a line for people, and the evidence. Raises: BudgetSpent."""
    asked = str(target or trip.route.target)
    began = time.monotonic()
    try:
        stream = await trip.open(target, limit_seconds)
    except RelayError as error:
        return _refusal(trip, error, time.monotonic() - began)
    milliseconds = round((time.monotonic() - began) * 1000, 3)
    with contextlib.suppress(OSError, RelayError):
        await stream.aclose()
    return "opened", f"tunnel to {asked} is open", {"target": asked, "milliseconds": milliseconds}


def _refusal(trip: Trip, error: RelayError, seconds: float) -> tuple[str, str, dict[str, Any]]:
    failure = error.failure
    hop = failure.hop or 0
    evidence: dict[str, Any] = {
        "milliseconds": round(seconds * 1000, 3),
        "speed": "at-once" if seconds < AT_ONCE_SECONDS else "slow",
        "hop": hop,
        "reason": str(failure.reason),
        "detail": failure.detail[:600],
        "literal": trip.route.target.is_literal,
    }
    if not isinstance(error, ProxyRefused):
        word = _BY_REASON.get(failure.reason, "closed")
        if failure.stage is Stage.TLS and word not in ("tls-untrusted", "tls-failed"):
            word = "tls-failed"
        if hop > 0 and failure.stage in (Stage.RESOLVE, Stage.CONNECT):
            word = "next-hop"
        return word, failure.sentence, evidence
    sent_login = failure.reason is Reason.LOGIN_REFUSED
    reading = read_refusal(error.status, error.headers, error.body, sent_login=sent_login)
    fields = {name.lower(): value for name, value in error.headers}
    evidence |= {
        "status": error.status,
        "said": reading.said or "nothing",
        "vendor": reading.vendor or "unknown",
        "own_words": reading.own_words,
        "parent": reading.parent,
        "schemes": [
            value.split(" ")[0] for name, value in error.headers if name.lower() == "proxy-authenticate"
        ],
        "via": fields.get("via", "")[:200],
        "server": (fields.get("server") or fields.get("proxy-agent") or "")[:200],
        "location": fields.get("location", "")[:400],
    }
    offered = {scheme.lower() for scheme in evidence["schemes"]}
    usable = "basic" if "basic" in offered else "none" if not offered else "other"
    return reading.word, failure.sentence, {**evidence, "offers": usable}
