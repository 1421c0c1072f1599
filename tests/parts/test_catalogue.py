"""The fault catalogue: every row can be read, can be asked for, and can be told to somebody."""

import re
from pathlib import Path

import pytest

import relay.checks
import relay.reports
from relay.catalogue import MENDERS, causes
from relay.catalogue_page import page
from relay.cause import STAGES, Cause, Severity
from relay.check import CHECKS
from relay.checks.sizes import is_lossy
from relay.diagnosis import Diagnosis, Verdict, diagnose
from relay.finding import Finding, Findings
from relay.given import GIVEN
from relay.report import REPORTS, Told, facts_for_people, fill

DOCS = Path(__file__).parents[2] / "docs"
EVIDENCE = {
    "connect.sender": {"target", "this-machine", "between"},
    "connect.icmp_code": {str(code) for code in range(16)},
    "connect.pool": {"one", "all-open", "none-open", "v6-dead", "v4-dead", "some-dead"},
    "connect.speed": {"at-once", "soon", "slow"},
    "ping.acked": {"yes", "no"},
    "ping.again": {"yes", "no"},
    "ping.kind": {"http", "tls", "banner", "socks", "frame", "other", "nothing"},
    "other-port.answers": {"yes", "no"},
    "own-port.answers": {"yes", "no"},
    "http-get.status": None,
    "tunnel.offers": {"basic", "password", "ticket", "none", "other"},
    "tunnel.socks_version": {"4", "5", "none"},
    "tunnel.over_tls": {"yes", "no"},
    "tunnel.tls": {
        "none",
        "not-tls",
        "wants-certificate",
        "wrong-time",
        "other-name",
        "unknown-issuer",
        "alert",
        "cut",
        "silent",
        "other",
    },
    "tunnel.next_hop": {"denied", "failed"},
    "tunnel.said": {"port", "destination", "client", "nothing"},
    "tunnel.vendor": None,
    "tunnel.status": None,
    "tunnel.speed": {"at-once", "slow"},
    "tunnel.parent": {"yes", "no"},
    "tunnel.literal": {"yes", "no"},
    "tunnel.named": {"yes", "no"},
    "tunnel.odd": {"yes", "no"},
    "tunnel.login": {"none", "ended", "cut-in-the-middle", "turned-away"},
    "tunnel.clock": {"off", "right", "unknown"},
    "tunnel.negotiate": {"yes", "no"},
    "tunnel.socks": {
        "none",
        "local-name-unknown",
        "hangs",
        "http",
        "ruleset",
        "unsupported",
        "no-method",
        "login-failed",
        "gateway",
        "closed",
        "other",
    },
    "ping.window": {"zero", "open"},
    "sizes.line": {"clean", "lossy"},
    "sizes.mtu": {"plain", "lowered", "clamped", "options-gone", "unknown"},
    "distance.sooner": {"yes", "no", "unknown"},
    "early-bytes.coalesced": {"yes", "no"},
}
"""What the catalogue asks of a finding's evidence, and which words stand there; None: any."""


def test_there_are_enough_and_each_once() -> None:
    """At least a hundred causes, each with an id of its own."""
    ids = [cause.id for cause in causes()]
    assert len(ids) == len(set(ids))
    assert len(ids) >= 100


@pytest.mark.parametrize("cause", causes(), ids=lambda cause: str(cause.id))
def test_a_cause_asks_only_what_can_be_answered(cause: Cause) -> None:
    """Every question is a check's or answered elsewhere, and every word is one of its answers."""
    assert relay.checks.__all__
    for table in (cause.shows, cause.predicts, cause.contradicted_by):
        for question, words in table.items():
            if question in EVIDENCE:
                known = EVIDENCE[question]
                assert known is None or words <= known, question
            else:
                assert question in CHECKS or question in GIVEN, question
                asked = set(CHECKS[question].words if question in CHECKS else ())
                assert words <= asked | set(GIVEN.get(question, ())), question


@pytest.mark.parametrize("cause", causes(), ids=lambda cause: str(cause.id))
def test_a_cause_is_complete(cause: Cause) -> None:
    """It has a symptom, a mender, a source, texts that end, and its look-alikes are in the catalogue."""
    assert cause.shows
    assert cause.symptom is not None
    assert cause.stage in STAGES
    assert cause.mender in MENDERS
    assert cause.sources
    assert set(cause.alike) <= {one.id for one in causes()} - {cause.id}
    for text in (cause.title, cause.hint, cause.sentence):
        assert text[-1] in ".?!}" or text.endswith('"'), text
    if cause.severity is Severity.FAULT:
        assert cause.sentence != "No action needed." or cause.mender == "you"


@pytest.mark.parametrize("cause", causes(), ids=lambda cause: str(cause.id))
def test_a_cause_can_be_told_with_nothing_known(cause: Cause) -> None:
    """Every {field} of its texts is one that reports fill in, whatever was not seen."""
    found = Findings("far.example:5000", ("http://proxy.example:3128",), "2026-01-01T00:00:00Z", 1.0, 1, ())
    told = Told(found, Diagnosis(Verdict.BROKEN, (cause,)))
    for text in (cause.title, cause.hint, cause.sentence):
        assert not re.search(r"\{[a-z_]+\}", fill(text, told))


def test_fields_are_filled_from_what_was_seen() -> None:
    """A value from outside is put in as it is; braces in it mean nothing."""
    tunnel = Finding("tunnel", "denied", "", {"status": 403, "own_words": "no {host}"})
    found = Findings("[::1]:5000", ("http://proxy.example:3128",), "2026-01-01T00:00:00Z", 1.0, 1, (tunnel,))
    told = Told(found, Diagnosis(Verdict.BROKEN))
    assert "::1 says status 403, no {host}" == fill("{host} says {own_words}", told)
    assert "5000" == facts_for_people(told)["port"]


@pytest.mark.parametrize(
    "cause", [one for one in causes() if one.severity is Severity.FAULT], ids=lambda one: str(one.id)
)
def test_a_fault_asks_for_something(cause: Cause) -> None:
    """Its sentence is sent as it is: it asks for something, or asks something."""
    if cause.sentence != "No action needed." and not cause.id.startswith("socks-"):
        assert re.search(r"[?]|[Pp]lease|needs", cause.sentence), cause.sentence


@pytest.mark.parametrize(
    ("outcome", "passed"), [("up-stalls", "9000"), ("down-stalls", "1300"), ("cut", "1300")]
)
def test_how_much_passes_is_said_of_the_way_that_stalls(outcome: str, passed: str) -> None:
    """What is named is what the evidence under it names; the other way may have come less far, or farther."""
    ways = {"up": {"passed_bytes": 9_000}, "down": {"passed_bytes": 1_300}}
    sizes = Finding("sizes", outcome, "", ways)
    found = Findings("far.example:5000", (), "2026-01-01T00:00:00Z", 1.0, 1, (sizes,))
    assert passed == facts_for_people(Told(found, Diagnosis(Verdict.BROKEN)))["passed_bytes"]


SWEEPS = {
    "sent again, and through": ("passed", 41, 132, True),
    "a pause of this machine": ("passed", 2, 6, False),
    "one in a hundred": ("passed", 4, 400, False),
    "a black hole": ("stalled", 41, 132, False),
}


@pytest.mark.parametrize("name", SWEEPS)
def test_a_lossy_line_is_no_black_hole(name: str) -> None:
    """Only what came through by being sent again shows loss; then it is named before the size of packets."""
    ended, again, sent, lossy = SWEEPS[name]
    end = {"ended": ended, "tcp_info": {"total_retrans": again, "data_segs_out": sent}}
    assert lossy == is_lossy(end)
    sizes = Finding("sizes", "down-stalls", "", {"line": "lossy" if lossy else "clean"})
    seen = (
        Finding("route", "direct"),
        Finding("ping", "answered"),
        sizes,
        Finding("path-size", "small-stall"),
    )
    found = Findings("far.example:5000", (), "2026-01-01T00:00:00Z", 1.0, 1, seen)
    first = diagnose(found, causes()).first
    assert first is not None
    assert ("lossy-path" if lossy else "large-packets-stall") == first.id


def test_a_ticket_of_this_machine_is_not_addressed_to_you() -> None:
    """It is sent away: there, "you" is another one."""
    nowhere = Finding("connect", "no-route", "has no route from this machine")
    found = Findings("far.example:5000", (), "2026-01-01T00:00:00Z", 1.0, 1, (nowhere,))
    mine = next(one for one in causes() if one.id == "client-no-route")
    ticket = REPORTS["ticket"](Told(found, Diagnosis(Verdict.BROKEN, (mine,))))
    assert "To: whoever looks after my machine" == ticket.splitlines()[0]


def test_the_page_is_up_to_date() -> None:
    """docs/causes.md is what `python -m relay.catalogue_page` prints."""
    assert page() == (DOCS / "causes.md").read_text("utf-8")


def test_every_check_says_what_it_asks() -> None:
    """Folder and registry agree; each check has a summary that is a question."""
    folder = Path(relay.checks.__file__).parent
    assert sorted(path.stem for path in folder.glob("*.py") if path.stem != "__init__") == sorted(
        relay.checks.__all__
    )
    assert len(CHECKS) == len(relay.checks.__all__)
    assert [] == [
        one.question for one in CHECKS.values() if not one.summary.endswith(("?", "(RFC 6761 section 6.4)?"))
    ]
