"""Answers that no check gives: what the settings say, a person has told, other runs have seen. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from relay.diagnosis import Verdict
from relay.far_record import QUESTION as RECORD_QUESTION
from relay.far_record import WORDS as RECORD_WORDS
from relay.finding import Finding, Findings

SETTINGS_WORDS: Final = {
    "environment": "the environment names the proxy",
    "pac": "a PAC file names the proxy",
    "no-proxy-match": "an entry of NO_PROXY sends this host past the proxy",
    "no-proxy": "no proxy is set",
    "pac-direct": "the PAC file sends this host past every proxy",
    "proxy-invalid": "what the settings name is no proxy's address",
}
HISTORY_WORDS: Final = {
    "steady-good": "every run was good",
    "steady-broken": "every run was broken",
    "varying": "some runs were good and some broken, by no rule that shows",
    "by-hour": "runs are broken at the same hours of each day, and good at others",
    "sudden-for-all": "all open connections died at once, and new ones work",
    "address-changed": "the address of this machine has changed between two runs",
    "after-hours-of-login": "the proxy took the login at first, and later no more",
}
GIVEN: Final[Mapping[str, Mapping[str, str]]] = {
    "route": {"direct": "without a proxy", "proxy": "through a proxy"},
    "settings": SETTINGS_WORDS,
    "client": {"fails": "another client fails on this path"},
    "other-source": {
        "works": "another machine reaches the server",
        "fails": "another machine does not reach it either",
    },
    "history": HISTORY_WORDS,
    RECORD_QUESTION: RECORD_WORDS,
}
"""Question -> its words, as `Check.words` has them."""

DAYS_FOR_A_RULE: Final = 2
"""What happens at one hour of one day is no rule."""


def given(question: str, outcome: str, words: str = "", **evidence: str) -> Finding:
    """A finding of one of these questions. Raises: ValueError for a word that it has not."""
    known = GIVEN[question]
    if outcome not in known:
        raise ValueError(f"{question} cannot be answered by {outcome!r}")
    return Finding(question, outcome, words or known[outcome], evidence)


def seen_elsewhere(there: Findings, verdict: Verdict) -> Finding | None:
    """What the report of another machine says; None when it says nothing."""
    if verdict is Verdict.UNTESTED:
        return None
    word = "works" if verdict is Verdict.GOOD else "fails"
    return given("other-source", word, f"{there.target} from another machine at {there.began}: {word}")


@dataclass(frozen=True)
class Round:
    """One run of many. held, lost: connections that were kept open, and those of them that died meanwhile."""

    found: Findings
    verdict: Verdict
    held: int = 0
    lost: int = 0


def history(rounds: Sequence[Round]) -> Finding:
    """What many runs on one path have in common."""
    word = _rule(rounds) or _plain(rounds)
    good = sum(one.verdict is Verdict.GOOD for one in rounds)
    return given("history", word, f"{HISTORY_WORDS[word]}: {good} of {len(rounds)} runs good")


def _rule(rounds: Sequence[Round]) -> str:
    if any(one.held >= 2 and one.lost == one.held and one.verdict is Verdict.GOOD for one in rounds):
        return "sudden-for-all"
    if len({address for one in rounds if (address := _local(one.found))}) > 1:
        return "address-changed"
    tunnels = [answer.outcome for one in rounds if (answer := one.found.of("tunnel")) is not None]
    if "opened" in tunnels and {"login-refused", "login-required"} & set(tunnels[tunnels.index("opened") :]):
        return "after-hours-of-login"
    return "by-hour" if _is_by_hour(rounds) else ""


def _plain(rounds: Sequence[Round]) -> str:
    verdicts = {one.verdict for one in rounds}
    if verdicts == {Verdict.GOOD}:
        return "steady-good"
    return "steady-broken" if verdicts == {Verdict.BROKEN} else "varying"


def _local(found: Findings) -> str:
    connect = found.of("connect")
    value = connect.evidence.get("local") if connect is not None else None
    return value if isinstance(value, str) else ""


def _is_by_hour(rounds: Sequence[Round]) -> bool:
    """Whether the hours of broken runs and of good ones are apart, each seen on two days at least."""
    days: dict[bool, set[object]] = {True: set(), False: set()}
    hours: dict[bool, set[int]] = {True: set(), False: set()}
    for one in rounds:
        try:
            when = datetime.fromisoformat(one.found.began)
        except ValueError:
            continue
        is_good = one.verdict is Verdict.GOOD
        days[is_good].add(when.date())
        hours[is_good].add(when.hour)
    enough = all(len(one) >= DAYS_FOR_A_RULE for one in days.values())
    return enough and not hours[True] & hours[False]
