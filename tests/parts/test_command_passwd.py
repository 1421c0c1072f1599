"""`relay proxy passwd`: which hashes are written for which schemes."""

import io
import os
import re
from pathlib import Path

import pytest

from relay.commands.passwd import run
from relay.failure import SettingsError

USER = "alice"


@pytest.fixture(autouse=True)
def stdin(monkeypatch: pytest.MonkeyPatch) -> None:
    """One line with the password."""
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"tr0ub4dor\n")))


@pytest.mark.parametrize(
    ("options", "kinds"),
    [
        ([], ["scrypt"]),
        (["--scheme", "Basic, ntlm", "--realm", "a b"], ["scrypt", "nt"]),
        (["--scheme", "digest", "--realm", "a b"], ["digest-sha-256", "digest-md5"]),
        (["--scheme", "ntlm,ntlm"], ["nt"]),
    ],
)  # fmt: skip
def test_what_is_written(tmp_path: Path, options: list[str], kinds: list[str]) -> None:
    """scrypt alone unless told otherwise; each once, and never the password."""
    assert 0 == run([str(tmp_path / "users"), USER, *options], "relay proxy passwd")
    text = (tmp_path / "users").read_text()
    assert kinds == re.findall(r"\$([a-z0-9-]+)\$", text)
    assert "tr0ub4dor" not in text


@pytest.mark.parametrize(
    ("option", "words"), [("--scheme", "basic, digest, ntlm"), ("--realm", "printable ASCII")]
)
def test_options_that_are_none(tmp_path: Path, option: str, words: str) -> None:
    """What was expected; nothing is written."""
    with pytest.raises(SettingsError, match=f"{option}: .*{words}"):
        run([str(tmp_path / "users"), USER, option, "\u00e4"], "relay proxy passwd")
    assert [] == list(tmp_path.iterdir())


def test_a_file_that_is_a_pipe(tmp_path: Path) -> None:
    """It is not waited for and not replaced; nor is a device, such as /dev/null."""
    os.mkfifo(tmp_path / "users")
    with pytest.raises(SettingsError, match="users: is a pipe or a device; expected a file, or none"):
        run([str(tmp_path / "users"), USER], "relay proxy passwd")
    assert (tmp_path / "users").is_fifo()
