"""What a ticket claims was seen, of the machine that it was seen of."""

from typing import Any

import pytest

import relay.reports  # noqa: F401 - enters every report into REPORTS
from relay.catalogue import causes
from relay.diagnosis import diagnose
from relay.finding import Finding, Findings
from relay.reading import read_refusal
from relay.report import REPORTS, Told, fill
from relay.suite_outcome import place_of

FIRST, SECOND, TARGET = "http://10.0.0.9:3128", "http://10.0.0.8:3128", "far.example:5000"


def told(hops: tuple[str, ...], *findings: Finding) -> Told:
    found = Findings(TARGET, hops, "2026-01-01T00:00:00Z", 1.0, 1, (Finding("route", "proxy"), *findings))
    return Told(found, diagnose(found, causes()))


def refusal(status: int, body: bytes = b"", *fields: tuple[str, str], **evidence: Any) -> Finding:
    reading = read_refusal(status, fields, body)
    seen = {"status": status, "own_words": reading.own_words, "said": "nothing", "hop": 0, **evidence}
    return Finding("tunnel", reading.word, "", {"speed": "at-once", "literal": False, **seen})


def sentences(shown: Told) -> dict[str, str]:
    return {cause.id: fill(cause.sentence, shown) for cause in shown.diagnosis.causes}


def test_a_portal_in_front_of_the_proxy() -> None:
    """511 is no 200 with a page (RFC 6585 section 6): somebody must log in to the network."""
    shown = told((FIRST,), refusal(511, b"<h1>Log in</h1>"))
    assert ["proxy-network-login"] == list(sentences(shown))
    assert "511" in shown.sentence
    assert "200" not in shown.sentence + shown.headline


def test_no_reason_is_made_up() -> None:
    """A proxy that does not say why has not reported what may be the reason."""
    unsaid = told((FIRST,), refusal(503, b"Service unavailable"))
    assert "perhaps because" in unsaid.headline
    silent = sentences(unsaid)
    assert {"proxy-upstream-refused", "proxy-upstream-dns", "proxy-upstream-unreachable"} <= set(silent)
    assert not [words for words in silent.values() if "reports" in words]
    said = sentences(told((FIRST,), refusal(502, b"Connection refused")))
    assert "reports that far.example:5000 refuses the connection" in said["proxy-upstream-refused"]


def test_a_limit_that_is_said_is_the_cause() -> None:
    """And not the server, which nobody has asked."""
    shown = told((FIRST,), refusal(503, b"Too many clients.", ("Retry-After", "5")))
    assert ["proxy-overloaded"] == list(sentences(shown))


def test_a_slow_word_of_no_route() -> None:
    """Whatever a field says of the connection's own time."""
    shown = told((FIRST,), refusal(502, b"No route to host", ("Keep-Alive", "timeout=5"), speed="slow"))
    assert ["proxy-upstream-unreachable"] == list(sentences(shown))


@pytest.mark.parametrize(
    ("cause", "outcome", "code"),
    [("route-unreachable", "unreachable", 1), ("fw-reject-net", "prohibited", 9)],
)
def test_a_way_to_the_proxy_is_asked_for_where_the_proxy_is_not_reached(
    cause: str, outcome: str, code: int
) -> None:
    """A route to the target would not help: this machine never goes there."""
    seen = {"address": "10.0.0.9", "sender": "between", "sender_address": "10.0.0.1", "icmp_code": code}
    shown = told((FIRST,), Finding("connect", outcome, "", seen))
    named = next(one for one in shown.diagnosis.causes if one.id == cause)
    assert "10.0.0.9" in fill(named.hint, shown)
    assert "far.example" not in fill(named.hint, shown)


CHAIN = (FIRST, SECOND)
OPEN = Finding("tunnel", "opened", "", {"target": TARGET})


def test_an_open_tunnel_accuses_nobody_of_a_chain() -> None:
    """Each proxy of it carries the bytes: which one ends a tunnel that rests cannot be seen from outside."""
    rest = Finding("idle", "closed", "", {"lasted_seconds": 2.0})
    shown = told(CHAIN, OPEN, Finding("ping", "answered"), rest)
    both = f"One of the proxies {FIRST}, {SECOND} closes tunnels after 2 s of silence."
    assert ("tunnel-idle-timeout", both) == (shown.diagnosis.causes[0].id, shown.headline)
    drawn = REPORTS["text"](shown).split("BROKEN")[0]
    assert f"{FIRST}, {SECOND} (one of these proxies)" == place_of(shown)
    assert 2 == drawn.count("<- here?")
    assert 2 == REPORTS["html"](shown).count("perhaps here")
    alone = told((FIRST,), OPEN, Finding("ping", "answered"), rest)
    assert alone.headline.startswith(f"{FIRST} closes tunnels")
    assert 1 == REPORTS["html"](alone).count("broken here")


def test_a_refusal_accuses_the_one_that_refuses() -> None:
    """Of the first tunnel, or of the second where the first one was opened."""
    assert told(CHAIN, refusal(403, b"Access violation", hop=1)).suspects == (1,)
    again = Finding("ping", "no-tunnel", "", {"refusal": "answered 403", "hop": 1})
    shown = told(CHAIN, OPEN, again)
    assert f"{SECOND} opens one tunnel to {TARGET} and not the next." == shown.headline


def test_without_a_tunnel_it_is_the_first_one() -> None:
    """Nothing has come farther."""
    assert (0,) == told(CHAIN, Finding("connect", "refused")).suspects
    assert () == told((), Finding("connect", "refused")).suspects
