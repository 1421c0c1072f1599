"""Evidence recorded from real broken networks (tests/vectors/checks.py), judged without any of them."""

import json
from pathlib import Path
from typing import Any

import pytest

from relay.catalogue import causes
from relay.diagnosis import Verdict, diagnose
from relay.finding import read_findings

VECTORS: list[dict[str, Any]] = json.loads(
    (Path(__file__).parents[1] / "vectors" / "checks.json").read_text("utf-8")
)


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: str(vector["name"]))
def test_recorded_evidence_gives_the_same_verdict(vector: dict[str, Any]) -> None:
    """The cause of each scenario is named first; a good path has none."""
    diagnosis = diagnose(read_findings(vector["record"]), causes())
    assert vector["cause"] == (diagnosis.first.id if diagnosis.first else "")
    assert (Verdict.BROKEN if vector["cause"] else Verdict.GOOD) == diagnosis.verdict


def test_there_are_vectors_of_many_causes() -> None:
    """The recorded scenarios cover a good part of what a run can name."""
    assert len({vector["cause"] for vector in VECTORS}) >= 35
