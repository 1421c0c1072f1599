"""The users file: what is written, what is read, what is refused, and what proves a password."""

import stat
from pathlib import Path

import pytest

from relay.failure import SettingsError
from relay.users import SCRYPT, Users, hash_password, read_users, set_password

ONE = "$scrypt$ln=14,r=8,p=1$6FBnaPeaXWSe+T/sau0mZA$3AHrH6SMG2UVGCvBUNaJzQJnb1qI7FmnzFfDZREGIvs"
"""The verifier of the password "secret"."""


def test_a_password_proves_its_user() -> None:
    """Only the right one of the right user; composed and decomposed letters are the same."""
    users = Users({"alice": {SCRYPT: hash_password("p\u00e4ss")}})
    assert users.proves("alice", "p\u00e4ss")
    assert users.proves("alice", "pa\u0308ss")
    for user, password in (("alice", "pass"), ("bob", "p\u00e4ss"), ("", "")):
        assert not users.proves(user, password)
    assert Users({"alice": {SCRYPT: ONE}}).proves("alice", "secret")
    assert "scrypt" not in repr(users)


def test_an_unknown_user_costs_the_same(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """One scrypt of the dearest parameters in the file, whether the user is there, has a verifier, or not."""
    path = tmp_path / "users"
    path.write_text(f"alice:{ONE}\n")
    users = read_users(path)
    costs: list[tuple[int, int, int]] = []
    monkeypatch.setattr("relay.users._scrypt", lambda *given: costs.append(given[2:]) or b"")
    for user in ("alice", "bob", ""):
        assert not users.proves(user, "x")
    assert [(14, 8, 1)] * 3 == costs


def test_each_hash_has_its_own_salt() -> None:
    """The same password twice is not seen to be the same."""
    assert hash_password("one") != hash_password("one")


def test_set_and_read(tmp_path: Path) -> None:
    """A new file is for its owner only; comments, order and mode stay; the last password holds."""
    path = tmp_path / "users"
    assert set_password(path, "alice", "first")
    assert 0o600 == stat.S_IMODE(path.stat().st_mode)
    path.write_text("# staff\n" + path.read_text() + "\n")
    path.chmod(0o640)
    assert set_password(path, "bob", "second")
    assert not set_password(path, "alice", "third")
    assert ["# staff", "alice", "", "bob"] == [line.split(":")[0] for line in path.read_text().splitlines()]
    assert 0o640 == stat.S_IMODE(path.stat().st_mode)
    users = read_users(path)
    assert users.proves("alice", "third")
    assert users.proves("bob", "second")
    assert [path] == list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "line",
    [
        "alice", "alice:", "alice:secret", ":" + ONE, f"a b :{ONE}", f"a\x01:{ONE}",
        f"alice:{ONE}:{ONE}", f"alice:{ONE.replace('ln=14', 'ln=30')}", f"alice:{ONE[:-1]}",
        f"alice:{ONE.replace('r=8', 'r=99')}", f"alice:{ONE}\nalice:{ONE}", "alice:$SCRYPT$x",
    ],
)  # fmt: skip
def test_lines_that_are_none(tmp_path: Path, line: str) -> None:
    """File and line are named; nothing of a verifier is quoted."""
    path = tmp_path / "users"
    path.write_text(f"# a comment\n{line}\n")
    with pytest.raises(SettingsError, match=r"users: line [23]: ") as raised:
        read_users(path)
    assert ONE[-10:] not in str(raised.value)


def test_a_verifier_of_another_scheme(tmp_path: Path) -> None:
    """It is kept for that scheme, and proves no password."""
    path = tmp_path / "users"
    path.write_text("# comment\n\nalice:$later-one$abc\n")
    users = read_users(path)
    assert "$later-one$abc" == users.verifier("alice", "later-one")
    assert not users.proves("alice", "abc")


def test_files_that_are_none(tmp_path: Path) -> None:
    """Missing, a folder, no UTF-8."""
    (tmp_path / "bad").write_bytes(b"\n\nalice:\xff\n")
    with pytest.raises(SettingsError, match="bad: line 3"):
        read_users(tmp_path / "bad")
    for name in ("missing", "."):
        with pytest.raises(SettingsError, match="cannot be read"):
            read_users(tmp_path / name)


@pytest.mark.parametrize("user", ["", "a:b", "a\n", " a", "#a", "a" * 300, "a\udc80"])
def test_names_that_no_file_carries(tmp_path: Path, user: str) -> None:
    """Nothing is written."""
    with pytest.raises(SettingsError, match="user"):
        set_password(tmp_path / "users", user, "x")
    assert [] == list(tmp_path.iterdir())
