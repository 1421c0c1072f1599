"""docs/transcripts.md is what `relay check` prints of three paths that are broken for real."""

from pathlib import Path

import pytest

from tests.path.real import Tool
from tests.path.transcripts import CASES, Case, run

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "transcripts.md").read_text("utf-8")
README = (ROOT / "README.md").read_text("utf-8")


def verdict_of(text: str) -> str:
    """The drawing, the verdict, who mends it and what is sent: up to the list of questions."""
    return "\n".join(line.rstrip() for line in text.partition("\n\n   route")[0].splitlines())


def letter_of(ticket: str) -> str:
    """What is written to whom, without the list of all that was seen."""
    return ticket.partition("\nSeen:")[0].rstrip()


@pytest.mark.parametrize("case", CASES, ids=lambda case: str(case.cause))
def test_a_transcript_is_true(case: Case, tool: Tool) -> None:
    """The same verdict, sentence and letter as in the manual, of the path as it is broken now."""
    told = run(case, tool)
    section = PAGE.partition(f"## {case.title}\n")[2].partition("\n## ")[0]
    shown, letter = (block.partition("```")[0] for block in (
        section.partition("```console\n")[2].partition("\n")[2], section.partition("```text\n")[2],
    ))  # fmt: skip
    assert verdict_of(shown) == verdict_of(told.text)
    assert letter_of(letter) == letter_of(told.ticket)
    assert f"  cause   {case.cause}\n" in told.text
    assert (1, 1) == (README.count(verdict_of(told.text)), README.count(letter_of(told.ticket)))
