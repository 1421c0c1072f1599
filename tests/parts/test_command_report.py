"""The command `relay report`: a saved report in another form, and what changed between two."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from relay.commands import guarded
from relay.report import REPORTS

Command = Callable[..., tuple[int, str, str]]
VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "checks.json").read_text("utf-8"))


def record_of(cause: str) -> dict[str, Any]:
    return dict(next(vector["record"] for vector in VECTORS if vector["cause"] == cause))


@pytest.fixture
def report(capsys: pytest.CaptureFixture[str]) -> Command:
    """Run the command in this process: exit status, stdout, stderr."""

    def run(*arguments: object) -> tuple[int, str, str]:
        status = guarded("report", [str(argument) for argument in arguments], "relay report")
        return (status, *capsys.readouterr())

    return run


@pytest.fixture
def save(tmp_path: Path) -> Callable[[str, dict[str, Any]], Path]:
    def write(name: str, record: dict[str, Any]) -> Path:
        path = tmp_path / f"{name}.json"
        path.write_text(json.dumps(record))
        return path

    return write


Save = Callable[[str, dict[str, Any]], Path]


@pytest.mark.parametrize("form", ["html", "json", "junit", "markdown", "text", "ticket"])
def test_a_saved_report_is_shown(form: str, report: Command, save: Save, tmp_path: Path) -> None:
    """In every form that `relay check` has, on stdout or in a file; the status is of the command alone."""
    path = save("one", record_of("proxy-port-policy"))
    status, out, err = report("show", path, "--format", form)
    assert (0, "") == (status, err)
    assert form in REPORTS
    assert "port" in out
    assert (0, "", "") == report("show", path, "--format", form, "--output", tmp_path / "out")
    assert out == (tmp_path / "out").read_text("utf-8")


def test_nothing_has_changed(report: Command, save: Save) -> None:
    """Twice the same: 0, and so it is said."""
    path = save("one", record_of("fw-drop-syn"))
    status, out, err = report("diff", path, path)
    assert (0, "") == (status, err)
    assert "nothing has changed" in out


def test_to_worse_and_back(report: Command, save: Save) -> None:
    """A path that breaks is 1, one that is mended 0; causes and answers that changed are listed."""
    target = {"target": "far.example:5000", "hops": []}
    good = save("good", {**record_of(""), **target})
    bad = save("bad", {**record_of("fw-drop-syn"), **target})
    status, out, _ = report("diff", good, bad)
    assert 1 == status
    assert re.search(r"^  new   fw-drop-syn$", out, re.MULTILINE)
    assert re.search(r"^  connect +open -> timed-out ", out, re.MULTILINE)
    status, out, _ = report("diff", bad, good)
    assert 0 == status
    assert re.search(r"^  gone  fw-drop-syn$", out, re.MULTILINE)


def test_another_fault_is_worse_too(report: Command, save: Save) -> None:
    """Broken before and after, by something else: whoever waits for the mending must look again."""
    one, other = save("one", record_of("fw-drop-syn")), save("other", record_of("server-port-closed"))
    status, out, _ = report("diff", one, other, "--json")
    made = json.loads(out)
    assert (1, True) == (status, made["worse"])
    first = [made[side]["causes"][0] for side in ("before", "after")]
    assert ["fw-drop-syn", "server-port-closed"] == first
    assert "server-port-closed" in made["appeared"]


def test_slower_answers_are_listed(report: Command, save: Save) -> None:
    """The same verdict, and a step that takes ten times as long."""
    before = record_of("")
    after = json.loads(json.dumps(before))
    (ping,) = [one for one in after["findings"] if one["question"] == "ping"]
    ping["seconds"] = 2.0
    status, out, _ = report("diff", save("before", before), save("after", after))
    assert 0 == status
    assert re.search(r"^  ping +answered -> answered .* 2000\.0 ms$", out, re.MULTILINE)


def test_two_paths_are_no_change(report: Command, save: Save) -> None:
    """Reports of different targets are compared, and that they differ is said first."""
    one = save("one", {**record_of(""), "target": "a.example:5000"})
    other = save("other", {**record_of(""), "target": "b.example:5000"})
    assert report("diff", one, other)[1].startswith("These are two paths: ")


WRONG = {
    "nothing": ([], "show|diff"),
    "no file": (["show"], "FILE"),
    "another form": (["show", "x", "--format", "pdf"], "--format"),
    "not there": (["show", "/nonexistent"], "FILE: cannot read '/nonexistent'"),
    "empty": (["diff", "/dev/null", "/dev/null"], "BEFORE: '/dev/null' is no JSON"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_usage(name: str, report: Command) -> None:
    """One line with the file and what was expected, status 2."""
    arguments, words = WRONG[name]
    status, out, err = report(*arguments)
    assert (2, "") == (status, out)
    assert words in err
    assert 1 == err.count("\n")


def test_a_record_that_is_none(report: Command, save: Save) -> None:
    """The key that is wrong is named, and the file."""
    good, bad = save("good", record_of("")), save("bad", {"version": 1, "findings": 7})
    status, _, err = report("diff", good, bad)
    assert 2 == status
    assert "AFTER" in err
    assert "bad.json" in err
    assert "findings: int; expected list" in err
