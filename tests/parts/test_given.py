"""What no check asks: the server's journal beside our record, and many runs beside each other."""

import json

import pytest

from relay.diagnosis import Verdict
from relay.far_record import compare, read_journal
from relay.finding import Finding, Findings, RecordMalformed
from relay.given import GIVEN, Round, given, history

FIRST = "000000280011223344556677889900aa"


def run(ping: str = "silent", began: str = "2026-01-01T12:00:00Z", **more: Finding) -> Findings:
    seen = Finding("ping", ping, "", {"sent_first_bytes": FIRST})
    return Findings("far.example:5000", (), began, 1.0, 1, (seen, *more.values()))


def line(**more: object) -> str:
    record = {"peer": "192.0.2.1:5", "began": "2026-01-01T12:01:00+00:00", "first_bytes": FIRST,
              "ended": "client-closed", "packets_sent": 0, "bytes_received": 44}  # fmt: skip
    return json.dumps({**record, **more})


PROXY_HEADER = b"PROXY TCP4 192.0".hex()


@pytest.mark.parametrize(
    ("ping", "record", "word"),
    [
        ("silent", {"packets_sent": 1}, "answered"),
        ("silent", {}, "received"),
        ("answered", {"packets_sent": 1}, "fine"),
        ("closed", {}, "not-closed"),
        ("closed", {"ended": "seal-broken"}, "seal-broken"),
        ("reset", {"ended": "client-reset"}, "reset-seen"),
        ("reset", {"ended": "server-stopped"}, "restarted"),
        ("reset", {"ended": "too-many-connections"}, "refused"),
        ("silent", {"first_bytes": "00"}, "never-arrived"),
        ("silent", {"first_bytes": "", "bytes_received": 0}, "nothing-came"),
        ("closed", {"first_bytes": PROXY_HEADER}, "proxy-header-first"),
        ("closed", {"first_bytes": PROXY_HEADER, "began": "2026-01-02T12:00:00+00:00"}, "never-arrived"),
    ],
)
def test_what_the_journal_says(ping: str, record: dict[str, object], word: str) -> None:
    """Our connection is found by its first bytes, which are random; others only by their time."""
    assert word == compare(run(ping), read_journal([line(**record), ""])).outcome


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"peer": 1}', "[" * 30_000, "x" * 30_000])
def test_a_journal_that_is_none(text: str) -> None:
    """The line is named."""
    with pytest.raises(RecordMalformed, match="line 2"):
        read_journal(["", text])


def rounds(*verdicts: str, days: int = 1) -> list[Round]:
    """One run an hour; for each day the same."""
    return [
        Round(run(began=f"2026-01-0{day + 1}T{hour:02}:00:00Z"), Verdict(verdict))
        for day in range(days)
        for hour, verdict in enumerate(verdicts)
    ]


def with_local(address: str) -> Round:
    return Round(run(connect=Finding("connect", "open", "", {"local": address})), Verdict.GOOD)


def with_tunnel(word: str) -> Round:
    return Round(run(tunnel=Finding("tunnel", word)), Verdict.BROKEN)


HISTORIES = {
    "steady-good": rounds("good", "good"),
    "steady-broken": rounds("broken", "broken"),
    "varying": rounds("good", "broken"),
    "by-hour": rounds("good", "broken", days=2),
    "sudden-for-all": [*rounds("good"), Round(run(), Verdict.GOOD, held=3, lost=3)],
    "address-changed": [with_local("192.0.2.1"), with_local("192.0.2.2")],
    "after-hours-of-login": [with_tunnel("opened"), with_tunnel("login-refused")],
}


@pytest.mark.parametrize("word", HISTORIES)
def test_many_runs(word: str) -> None:
    """What they have in common; one day is no rule."""
    assert word == history(HISTORIES[word]).outcome


def test_only_known_words() -> None:
    """A word that the question does not have is a defect."""
    assert "fails" == given("client", "fails").outcome
    with pytest.raises(ValueError, match="cannot be answered"):
        given("client", "sings")
    assert set(HISTORIES) == set(GIVEN["history"])
