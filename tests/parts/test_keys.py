"""Where the key comes from, and what is said when it cannot be had; never its content."""

from pathlib import Path

import pytest

from protocol.sealing import Key
from relay.failure import SettingsError
from relay.keys import KEY_FILE_VARIABLE, MAX_KEY_FILE_BYTES, load_key

DIGITS = b"0123456789abcdef" * 4


@pytest.fixture(autouse=True)
def no_key_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(KEY_FILE_VARIABLE, raising=False)


def test_without_a_file_it_is_the_public_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither flag nor variable, or an empty variable: the public key."""
    assert load_key(None).is_public
    monkeypatch.setenv(KEY_FILE_VARIABLE, "")
    assert load_key(None).is_public


def test_the_flag_goes_before_the_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The variable names a file, and the flag another one that wins."""
    by_flag, by_variable = tmp_path / "flag", tmp_path / "variable"
    by_flag.write_bytes(b"  " + DIGITS.upper() + b"\r\n")
    by_variable.write_text("ff" * 32)
    monkeypatch.setenv(KEY_FILE_VARIABLE, str(by_variable))
    assert Key(b"\xff" * 32) == load_key(None)
    assert Key(bytes.fromhex(DIGITS.decode())) == load_key(str(by_flag))


@pytest.mark.parametrize(
    "content",
    [b"", DIGITS[:-1], b"g" * 64, b"\xef\xbb\xbf" + DIGITS, DIGITS + b" " * MAX_KEY_FILE_BYTES],
    ids=["empty", "63_digits", "no_digits", "byte_order_mark", "too_large"],
)
def test_what_is_no_key_is_refused_without_a_word_of_it(content: bytes, tmp_path: Path) -> None:
    """The error names flag, file and what was expected; it quotes nothing of the content."""
    path = tmp_path / "key"
    path.write_bytes(content)
    with pytest.raises(SettingsError) as caught:
        load_key(str(path))
    said = f"--key-file: {str(path)!r} does not hold a key; expected 64 hexadecimal digits"
    assert said == str(caught.value)


@pytest.mark.parametrize(
    ("name", "why"), [("nosuch", "No such file or directory"), (".", "Is a directory"), ("a\0b", "null byte")]
)
def test_a_file_that_cannot_be_read_is_named(name: str, why: str, tmp_path: Path) -> None:
    """A file that is not there, a directory, and what is no name at all, end in one sentence."""
    with pytest.raises(SettingsError, match=f"^--key-file: cannot read .*: .*{why}"):
        load_key(f"{tmp_path}/{name}")


def test_the_variable_is_blamed_where_it_is_to_blame(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who has not given a flag is told which variable is wrong."""
    monkeypatch.setenv(KEY_FILE_VARIABLE, "/nosuch")
    with pytest.raises(SettingsError, match=f"^{KEY_FILE_VARIABLE}: cannot read '/nosuch'"):
        load_key(None)


def test_an_empty_flag_is_not_the_public_key() -> None:
    """--key-file "$KEY" with KEY unset must not silently mean the key that everybody has."""
    with pytest.raises(SettingsError, match=r"^--key-file: no file is named"):
        load_key("")
