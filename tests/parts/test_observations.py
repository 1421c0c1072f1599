"""The catalogue names only what can be seen: every word of it is an answer of some check, or is given."""

import ast
import functools
import inspect
import re
import sys
from pathlib import Path

import pytest

import relay.checks  # noqa: F401 - enters every check into CHECKS
from relay.catalogue import causes
from relay.check import CHECKS
from relay.given import GIVEN

CATALOGUE = causes()
NAMED = sorted(
    {
        (key, word)
        for cause in CATALOGUE
        for table in (cause.shows, cause.predicts, cause.contradicted_by)
        for key, words in table.items()
        for word in words
    }
)
QUESTIONS = Path(__file__).parents[2] / "docs" / "check.md"


def words_of(question: str) -> set[str]:
    return set(CHECKS[question].words if question in CHECKS else ()) | set(GIVEN.get(question, ()))


@functools.cache
def strings_in(question: str) -> set[str]:
    """Every string, and the names of keyword arguments, in the modules that answer a question."""
    source = inspect.getsource(sys.modules[CHECKS[question].run.__module__])
    names = ("relay.checks.tunnel", "relay.checks.ping", "relay.reading", "relay.probe")
    shared = [sys.modules[name] for name in names]
    found: set[str] = set()
    for text in (source, *(inspect.getsource(module) for module in shared)):
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.add(node.value)
            elif isinstance(node, ast.keyword) and node.arg is not None:
                found.add(node.arg)
    return found


@pytest.mark.parametrize(("key", "word"), NAMED, ids=str)
def test_what_a_cause_names_can_be_seen(key: str, word: str) -> None:
    """An answer is one of the check's own words; what lies in its evidence is written in its module."""
    question, _, inside = key.partition(".")
    assert question in CHECKS or question in GIVEN, f"no check asks {question!r}"
    if not inside:
        assert word in words_of(question)
        return
    written = strings_in(question)
    assert inside in written, f"{question} has no evidence {inside!r}"
    # Flags are told as yes and no, numbers as they are
    assert word in {"yes", "no"} or word.isdigit() or word in written


def test_every_fault_of_the_research_has_its_row() -> None:
    """At least one cause for each fault that is known; none twice."""
    ids = [cause.id for cause in CATALOGUE]
    assert len(ids) == len(set(ids))
    assert len(ids) >= 163


@pytest.mark.parametrize("question", CHECKS)
def test_every_check_says_what_it_costs(question: str) -> None:
    """docs/check.md has a row for it with its connections; what may disturb is on request, and says how."""
    check = CHECKS[question]
    rows = [line.split("|") for line in QUESTIONS.read_text("utf-8").splitlines() if line.startswith("| ")]
    told = {name.strip(): row[2].strip() for row in rows for name in row[1].split(",")}
    assert question in told, f"docs/check.md does not name {question}"
    numbers = re.findall(r"\d+", told[question])
    assert str(check.connections or "no connection") in (numbers or told[question])
    assert not check.disturbs or check.on_request
    assert check.summary.endswith("?") or "?" in check.summary


def test_the_questions_put_unasked_fit_into_one_run() -> None:
    """All that a run may ask about a good path costs less than it may open."""
    from relay.check import MAX_CONNECTIONS
    from relay.survey import HEALTHY, SPINE

    assert sum(CHECKS[question].connections for question in (*SPINE, *HEALTHY)) <= MAX_CONNECTIONS
