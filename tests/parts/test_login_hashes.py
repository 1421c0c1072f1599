"""What a users file keeps for Digest and NTLM: written, read, and never shown."""

from pathlib import Path

import pytest

from protocol.digest_hash import base_hash
from relay.failure import SettingsError
from relay.login_hashes import NT, digest_kind, digest_verifiers, hash_in, kind_of, nt_verifier
from relay.users import read_users, set_verifiers


def test_the_nt_hash() -> None:
    """The one that every list has for this password, and that of text beyond ASCII."""
    assert "$nt$8846f7eaee8fb117ad06bdd830b7586c" == nt_verifier("password")
    assert "$nt$" + "0123456789abcdef" * 2 != nt_verifier(":".join(["0123456789abcdef" * 2] * 2))
    assert nt_verifier("p\u00e4ss") != nt_verifier("pass")


def test_what_digest_needs() -> None:
    """One hash for each algorithm, with its realm, in whatever characters."""
    for realm in ("proxy", 'Our "own": realm', "r" * 200):
        for made, name in zip(digest_verifiers("al\u00efce", realm, "x"), ("SHA-256", "MD5"), strict=True):
            assert digest_kind(name, realm) == kind_of(made)
            assert base_hash(name, "al\u00efce".encode(), realm.encode(), b"x") == hash_in(made)


def test_written_and_read(tmp_path: Path) -> None:
    """Verifiers of two realms and of NTLM stand in one line; Basic needs scrypt, which is not among them."""
    path = tmp_path / "users"
    made = [*digest_verifiers("a", "one", "x"), *digest_verifiers("a", "two", "x"), nt_verifier("x")]
    assert set_verifiers(path, "a", made)
    users = read_users(path)
    assert made[2] == users.verifier("a", digest_kind("SHA-256", "two"))
    assert made[4] == users.verifier("a", NT)
    assert not users.proves("a", "x")
    assert hash_in(made[4]) not in repr(users)


@pytest.mark.parametrize(
    "verifier",
    [
        "$nt$", "$nt$" + "0" * 31, "$nt$" + "0" * 33, "$nt$" + "A" * 32, "$digest-md5$abc",
        "$digest-md5$$" + "0" * 32, "$digest-md5$cHJveHk$" + "0" * 64, "$digest-md5$a b$" + "0" * 32,
        "$digest-sha-256$cHJveHk$" + "0" * 32,
        "$nt$" + "0" * 32 + ":$nt$" + "1" * 32, ":".join(digest_verifiers("a", "r", "x") * 2),
    ],
)  # fmt: skip
def test_verifiers_that_are_none(tmp_path: Path, verifier: str) -> None:
    """File and line are named; what stands there is not quoted."""
    (tmp_path / "users").write_text(f"alice:{verifier}\n")
    with pytest.raises(SettingsError, match="users: line 1: expected NAME") as raised:
        read_users(tmp_path / "users")
    assert "0000" not in str(raised.value)
