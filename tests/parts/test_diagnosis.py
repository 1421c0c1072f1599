"""The engine, on evidence as data: no network, no root."""

import ast
import itertools
import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import relay.checks
from relay.catalogue import causes
from relay.cause import Cause, Severity
from relay.check import CHECKS
from relay.diagnosis import Verdict, as_dict, diagnose, exclusion, facts_of, is_named, next_questions
from relay.finding import UNTESTED, Finding, Findings

CATALOGUE = causes()
ALL = {cause.id: cause for cause in CATALOGUE}


def findings(answers: Mapping[str, str]) -> list[Finding]:
    """Findings from answers: "connect" and, for its evidence, "connect.sender"."""
    found = []
    for question in dict.fromkeys(key.split(".")[0] for key in answers):
        prefix = f"{question}."
        evidence: dict[str, Any] = {
            key.removeprefix(prefix): {"yes": True, "no": False}.get(word, word)
            for key, word in answers.items()
            if key.startswith(prefix)
        }
        found.append(Finding(question, answers.get(question, "seen"), "", evidence))
    return found


def record(answers: Mapping[str, str]) -> Findings:
    hops = ("http://proxy.example:3128",) if answers.get("route") == "proxy" else ()
    return Findings("far.example:5000", hops, "2026-01-01T00:00:00Z", 1.0, 1, tuple(findings(answers)))


def pattern_of(cause: Cause) -> dict[str, str]:
    """What the cause shows, with the first of the words it allows, and all that it predicts."""
    return {key: min(cause.allowed(key) or {"?"}) for key in (*cause.shows, *cause.predicts)}


@pytest.mark.parametrize("cause", CATALOGUE, ids=lambda cause: str(cause.id))
def test_a_cause_is_named_by_its_own_pattern(cause: Cause) -> None:
    """Its own evidence names it, among those that look the same; a fault breaks the path."""
    diagnosis = diagnose(record(pattern_of(cause)), CATALOGUE)
    told = (*diagnosis.causes, *diagnosis.notices, *diagnosis.consequences)
    assert cause.id in {one.id for one in told}
    if cause.severity is Severity.FAULT:
        assert Verdict.BROKEN == diagnosis.verdict


OBVIOUS = {
    "client-no-route": {"route": "direct", "connect": "no-route"},
    "dns-nxdomain": {"route": "direct", "resolve": "not-found", "nameserver": "nxdomain"},
    "dns-servfail": {"route": "direct", "resolve": "failed", "nameserver": "servfail"},
    "dns-refused": {"route": "direct", "resolve": "failed", "nameserver": "refused"},
    "dns-timeout": {"route": "direct", "resolve": "timed-out", "nameserver": "silent"},
    "dns-server-unreachable": {"route": "direct", "resolve": "failed", "nameserver": "unreachable"},
    "dns-unconfigured": {"route": "direct", "resolve": "failed", "nameserver": "unconfigured"},
    "dns-sinkhole": {
        "route": "direct", "resolve": "sinkhole", "connect": "refused", "closed-port": "refused",
    },
    "dns-hijack-wildcard": {
        "route": "direct", "resolve": "found", "random-name": "found", "connect": "timed-out",
    },
    "fw-drop-syn": {
        "route": "direct", "connect": "timed-out", "hops": "last-talking", "other-port": "open",
    },
    "server-port-closed": {"route": "direct", "connect": "refused", "closed-port": "refused"},
    "host-down-on-link": {"route": "direct", "connect": "nobody-on-link"},
    "syn-proxy": {
        "route": "direct", "connect": "open", "ping": "reset", "closed-port": "open", "ping.acked": "yes",
    },
    "proxy-refused": {"route": "proxy", "connect": "refused"},
    "proxy-timeout": {"route": "proxy", "connect": "timed-out", "hops": "last-talking"},
    "proxy-port-policy": {
        "route": "proxy", "tunnel": "denied", "other-port": "opened", "tunnel.said": "nothing",
    },
    "proxy-destination-policy": {
        "route": "proxy", "tunnel": "denied", "other-port": "denied", "tunnel.said": "destination",
    },
    "proxy-client-acl": {
        "route": "proxy", "tunnel": "denied", "other-port": "denied", "tunnel.said": "client",
    },
    "proxy-407-scheme-unsupported": {
        "route": "proxy", "tunnel": "login-required", "tunnel.offers": "other",
    },
    "proxy-upstream-timeout": {
        "route": "proxy", "tunnel": "gateway-timed-out", "tunnel.speed": "slow", "other-port.answers": "yes",
    },
    "proxy-upstream-unreachable": {
        "route": "proxy", "tunnel": "gateway-unreachable", "tunnel.speed": "at-once",
    },
    "proxy-parent-down": {"route": "proxy", "tunnel": "parent-failed"},
    "proxy-icap-failure": {"route": "proxy", "tunnel": "scanner-failed"},
    "proxy-overloaded": {"route": "proxy", "tunnel": "limited"},
    "proxy-loop": {"route": "proxy", "tunnel": "loop"},
    "tls-inspection-kills-nontls": {
        "route": "proxy", "tunnel": "opened", "ping": "closed", "fake-200": "opened", "listen": "quiet",
        "tls-hello": "silent",
    },
    "payload-rewritten": {"route": "direct", "ping": "answered", "binary-clean": "changed"},
    "mtu-blackhole-up": {
        "route": "direct", "ping": "answered", "sizes": "up-stalls", "path-size": "small-pass",
    },
    "tunnel-idle-timeout": {"route": "proxy", "ping": "answered", "idle": "closed"},
    "idle-timeout-rst": {"route": "direct", "ping": "answered", "idle": "reset"},
}  # fmt: skip


@pytest.mark.parametrize("cause", OBVIOUS)
def test_the_usual_evidence_names_the_cause_first(cause: str) -> None:
    """What a run sees of a fault names it before its look-alikes."""
    diagnosis = diagnose(record(OBVIOUS[cause]), CATALOGUE)
    assert cause == (diagnosis.first.id if diagnosis.first else None), [one.id for one in diagnosis.causes]


def words_of(question: str) -> list[str]:
    named = {word for cause in CATALOGUE for word in cause.allowed(question) or ()}
    return sorted(named | set(CHECKS[question].words if question in CHECKS else ()))


QUESTIONS = sorted({key for cause in CATALOGUE for key in (*cause.shows, *cause.predicts)})
ANSWERS = st.lists(
    st.sampled_from(QUESTIONS).flatmap(lambda key: st.tuples(st.just(key), st.sampled_from(words_of(key)))),
    max_size=8,
)


@given(ANSWERS, ANSWERS)
def test_more_evidence_never_brings_back_an_excluded_cause(
    first: list[tuple[str, str]], more: list[tuple[str, str]]
) -> None:
    """Whatever is learnt later, what was excluded stays so, even when a question is answered twice."""
    before = [one for answer in first for one in findings(dict([answer]))]
    after = [*before, *(one for answer in more for one in findings(dict([answer])))]
    excluded = {cause.id for cause in CATALOGUE if exclusion(cause, facts_of(before))}
    assert excluded <= {cause.id for cause in CATALOGUE if exclusion(cause, facts_of(after))}
    named = {cause.id for cause in CATALOGUE if is_named(cause, facts_of(after))}
    assert set() == named & excluded


@given(ANSWERS)
def test_the_order_of_answers_means_nothing(answers: list[tuple[str, str]]) -> None:
    """Checks run side by side: the same answers give the same judgement."""
    one = diagnose(record(dict(answers)), CATALOGUE)
    other = diagnose(record(dict(reversed(list(dict(answers).items())))), CATALOGUE)
    assert [cause.id for cause in one.causes] == [cause.id for cause in other.causes]


def test_what_was_not_asked_says_nothing() -> None:
    """A question that could not be put excludes nothing and names nothing."""
    assert {} == facts_of([Finding("connect", UNTESTED, "no time was left")])


def test_an_earlier_fault_explains_a_later_one() -> None:
    """A name that a filter blocks is the cause; that nothing listens there is its consequence."""
    diagnosis = diagnose(record({"route": "direct", "resolve": "sinkhole", "connect": "refused"}), CATALOGUE)
    assert "dns-sinkhole" == (diagnosis.first.id if diagnosis.first else None)
    assert "server-port-closed" in {cause.id for cause in diagnosis.consequences}


def test_an_excluded_cause_has_its_observation() -> None:
    """For every excluded cause the question and what was seen are told."""
    diagnosis = diagnose(record({"route": "direct", "connect": "refused"}), CATALOGUE)
    (out,) = [out for out in diagnosis.excluded if out.cause.id == "fw-drop-syn"]
    assert "connect was refused; it would be timed-out" == out.because


def test_the_next_question_is_the_one_that_splits() -> None:
    """A tunnel that ends on our packet: whether 200 was a lie is what tells inspection from the server."""
    seen = findings({"route": "proxy", "tunnel": "opened", "ping": "closed"})
    wanted = next_questions(seen, CATALOGUE, ["fake-200", "hops", "nameserver"])
    assert ["fake-200"] == wanted


def test_nothing_is_asked_where_nothing_splits() -> None:
    """A healthy path, and a cause that stands alone, raise no further question."""
    askable = list(CHECKS)
    healthy = {"route": "direct", "resolve": "literal", "connect": "open", "ping": "answered", "sizes": "all"}
    assert [] == next_questions(findings(healthy), CATALOGUE, askable)
    alone = {
        "route": "proxy", "resolve": "literal", "connect": "open", "tunnel": "tls-untrusted",
        "tunnel.tls": "unknown-issuer",
    }  # fmt: skip
    assert [] == next_questions(findings(alone), CATALOGUE, askable)


def test_a_fault_that_no_cause_fits_is_still_a_fault() -> None:
    """Broken without a known cause: the failing question is told, and no cause is made up."""
    diagnosis = diagnose(record({"route": "direct", "connect": "failed"}), CATALOGUE)
    assert (Verdict.BROKEN, None) == (diagnosis.verdict, diagnosis.first)
    assert "connect" == (diagnosis.unexplained.question if diagnosis.unexplained else None)


def test_a_way_that_was_not_walked_to_its_end_is_no_verdict() -> None:
    """All that was asked is well, but nobody has answered a packet: nothing can be said."""
    answers = {"route": "direct", "resolve": "literal", "connect": "open"}
    assert Verdict.UNTESTED == diagnose(record(answers), CATALOGUE).verdict
    assert Verdict.GOOD == diagnose(record({**answers, "ping": "answered"}), CATALOGUE).verdict


def test_no_answers_are_no_verdict() -> None:
    """Nothing asked, nothing said."""
    assert Verdict.UNTESTED == diagnose(record({}), CATALOGUE).verdict


def test_a_diagnosis_can_be_written_as_json() -> None:
    """Every diagnosis of the catalogue's own patterns is JSON."""
    for cause in itertools.islice(CATALOGUE, 0, None, 7):
        json.dumps(as_dict(diagnose(record(pattern_of(cause)), CATALOGUE)), allow_nan=False)


def test_the_engine_touches_no_network() -> None:
    """In a fresh interpreter judging brings in no socket, event loop, thread or file reader of its own."""
    program = (
        "import sys; before = set(sys.modules);"
        " import relay.diagnosis, relay.finding, relay.cause, relay.reading;"
        " print(*{'socket', 'asyncio', 'ssl', 'subprocess', 'threading'} & (set(sys.modules) - before))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "" == done.stdout.strip()
    tree = ast.parse(Path(sys.modules["relay.diagnosis"].__file__ or "").read_text("utf-8"))
    assert [] == [node for node in ast.walk(tree) if isinstance(node, ast.Await | ast.AsyncFunctionDef)]
    assert relay.checks.__all__
