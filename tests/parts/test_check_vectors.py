"""Evidence recorded from real broken networks (tests/vectors/checks.py), judged without any of them."""

import json
from pathlib import Path
from typing import Any

import pytest

from relay.catalogue import causes
from relay.diagnosis import Verdict, diagnose, exclusion, facts_of
from relay.finding import read_findings
from relay.lab.scenario import read_scenarios

LAB: list[dict[str, Any]] = json.loads(
    (Path(__file__).parents[1] / "vectors" / "lab.json").read_text("utf-8")
)
VECTORS: list[dict[str, Any]] = json.loads(
    (Path(__file__).parents[1] / "vectors" / "checks.json").read_text("utf-8")
)


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: str(vector["name"]))
def test_recorded_evidence_gives_the_same_verdict(vector: dict[str, Any]) -> None:
    """The cause of each scenario is named first; a good path has none."""
    diagnosis = diagnose(read_findings(vector["record"]), causes())
    assert vector["cause"] == (diagnosis.first.id if diagnosis.first else "")
    assert (Verdict.BROKEN if vector["cause"] else Verdict.GOOD) == diagnosis.verdict


@pytest.mark.parametrize("vector", LAB, ids=lambda vector: str(vector["name"]))
def test_what_was_seen_in_the_lab_gives_the_same_verdict(vector: dict[str, Any]) -> None:
    """The same cause first as when it was recorded, and the one that was really there among those named."""
    diagnosis = diagnose(read_findings(vector["record"]), causes())
    named = [cause.id for cause in diagnosis.causes]
    assert (vector["cause"], Verdict.BROKEN if vector["cause"] else Verdict.GOOD) == (
        named[0] if named else "",
        diagnosis.verdict,
    )
    assert vector["expect"] in (named or [""])


@pytest.mark.parametrize("vector", LAB, ids=lambda vector: str(vector["name"]))
def test_each_answer_only_ever_excludes(vector: dict[str, Any]) -> None:
    """As the answers of a real run come in one by one, no cause that was excluded comes back."""
    found = read_findings(vector["record"]).findings
    excluded: set[str] = set()
    for count in range(len(found) + 1):
        facts = facts_of(found[:count])
        now = {cause.id for cause in causes() if exclusion(cause, facts)}
        assert excluded <= now
        excluded = now


def test_every_scenario_has_its_vector() -> None:
    """The lab's scenarios and the vectors are the same; `relay lab run --all --record` makes them anew."""
    assert set(read_scenarios()) == {vector["name"] for vector in LAB}


def test_there_are_vectors_of_many_causes() -> None:
    """The recorded scenarios cover a good part of what a run can name."""
    assert len({vector["cause"] for vector in VECTORS}) >= 35
