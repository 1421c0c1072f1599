"""tools/find-python: which Python `make` takes, and what it says when there is none."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

FIND = Path(__file__).parents[2] / "tools" / "find-python"


def script(folder: Path, name: str, says: str) -> Path:
    """A program of that name that prints something, whatever it is asked."""
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\necho '{says}'\n")
    path.chmod(0o755)
    return path


def find(*folders: Path | str, named: str = "") -> subprocess.CompletedProcess[str]:
    path = ":".join(map(str, folders))
    return subprocess.run(
        ["/bin/sh", str(FIND), named], env={"PATH": path}, capture_output=True, text=True, timeout=60
    )


def test_a_lean_build_of_the_same_version_comes_first(tmp_path: Path) -> None:
    """Behind a plain one on PATH too; but a newer version that is plain comes before."""
    plain, lean = tmp_path / "a folder", tmp_path / "b"
    script(plain, "python3.11", "3.11 venv plain")
    path = script(lean, "python3.11", "3.11 venv lean")
    assert (0, f"{path}\n", "") == _told(find(plain, lean))
    newer = script(plain, "python3.12", "3.12 venv plain")
    assert (0, f"{newer}\n", "") == _told(find(lean, plain))


def test_a_plain_build_is_better_than_none(tmp_path: Path) -> None:
    """The first of them on PATH."""
    first = script(tmp_path / "a", "python3", "3.11 venv plain")
    script(tmp_path / "b", "python3", "3.11 venv plain")
    assert (0, f"{first}\n", "") == _told(find(tmp_path / "a", tmp_path / "b"))


@pytest.mark.parametrize(
    "says",
    ["", "hello", "3.x venv lean", "3. venv lean", "3.12", "3.13.1 blah", "3.12 other lean", "12 venv lean"],
)
def test_what_is_no_python_is_passed_over(tmp_path: Path, says: str) -> None:
    """Whatever a program of that name prints; also a folder, and a link to nothing."""
    script(tmp_path / "a", "python3.13", says)
    (tmp_path / "a" / "python3.12").mkdir()
    (tmp_path / "a" / "python3.14").symlink_to("nothing")
    good = script(tmp_path / "b", "python3.11", "3.11 venv lean")
    assert (0, f"{good}\n", "") == _told(find(tmp_path / "a", "", tmp_path / "*", tmp_path / "b"))


def test_none_will_do(tmp_path: Path) -> None:
    """Status 1, and what is there: too old, too new, or without venv; with what to install."""
    script(tmp_path, "python3", "3.9 venv lean")
    script(tmp_path, "python3.14", "3.15 venv lean")
    status, out, words = _told(find(tmp_path))
    assert (1, "") == (status, out)
    assert "is 3.9" in words
    assert "is 3.15" in words
    assert "apt-get install" in words
    script(tmp_path, "python3.12", "3.12 bare lean")
    assert "cannot make a virtual environment" in find(tmp_path).stderr
    assert "behind the name" in find(tmp_path / "nothing", named="python3.12").stderr


def test_a_real_one_is_found() -> None:
    """On the PATH of whoever runs this; and the one that runs this, by its name."""
    status, out, words = _told(find(os.environ["PATH"]))
    assert (0, "") == (status, words)
    assert Path(out.strip()).is_file()
    assert (0, f"{sys.executable}\n", "") == _told(find(os.environ["PATH"], named=sys.executable))


def _told(done: subprocess.CompletedProcess[str]) -> tuple[int, str, str]:
    return done.returncode, done.stdout, done.stderr
