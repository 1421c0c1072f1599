"""TokenKeys: one account's hash at a time, in memory, and an environment that is as it was in the end."""

import os
import struct
from pathlib import Path

import pytest

from protocol.errors import AuthMalformed
from protocol.ntlm_message import AUTHENTICATE, ClaimedAccount
from relay.login_hashes import NT, hash_in, nt_verifier
from relay.token_keys import TokenKeys
from relay.users import Users

NAMES = ("ada", "LAB\\ada", "Bob", "bob", "eve@lab.test")
USERS = Users({name: {NT: nt_verifier(f"password of {name}")} for name in NAMES} | {"none": {"scrypt": "$"}})


def token(domain: str, user: str) -> bytes:
    texts = [domain.encode("utf-16-le"), user.encode("utf-16-le")]
    fields, at = b"", 64
    for text in texts:
        fields += struct.pack("<HHI", len(text), len(text), at)
        at += len(text)
    return AUTHENTICATE + bytes(16) + fields + bytes(16) + struct.pack("<I", 1) + b"".join(texts)


def line_for(keys: TokenKeys, given: bytes) -> str:
    with keys.lent_for(given):
        path = os.environ["NTLM_USER_FILE"]
        return Path(path).read_text("utf-8")


@pytest.mark.parametrize(("domain", "user", "found"), [
    ("", "ada", "ada"), ("", "ADA", "ada"), ("OTHER", "Ada", "ada"), ("LAB", "ada", "LAB\\ada"),
    ("lab", "ADA", "LAB\\ada"), ("", "Bob", "Bob"), ("X", "bob", "bob"), ("", "BOB", None),
    ("", "eve@lab.test", "eve@lab.test"), ("", "eve", None), ("", "none", None), ("", "nobody", None),
])  # fmt: skip
def test_names(domain: str, user: str, found: str | None) -> None:
    """With the domain first, then without; a case that is not told apart is nobody's."""
    assert found == TokenKeys(USERS).user_of(ClaimedAccount(domain, user))


def test_one_account_is_lent_at_a_time() -> None:
    """Its own hash; for one that is not known another one each time, in a line of the same form."""
    keys = TokenKeys(USERS)
    try:
        known = line_for(keys, token("LAB", "ada"))
        assert known.startswith("LAB\\ada:0:")
        assert known.split(":")[3] == hash_in(USERS.verifiers["LAB\\ada"][NT])
        lines = [line_for(keys, token("LAB", "eva")) for _ in range(2)]
        assert lines[0] != lines[1]
        assert [len(known)] * 2 == [len(line) for line in lines]
        assert "" == line_for(keys, b"NTLMSSP\0\x01\0\0\0")
        with keys.lent_for(token("LAB", "ada")):
            pass
        assert "" == Path(os.environ["NTLM_USER_FILE"]).read_text()
    finally:
        keys.close()


def test_the_environment_is_put_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """NTLMv2 only, and no keytab but our own, while it is open; then everything as before."""
    monkeypatch.setenv("KRB5_KTNAME", "FILE:/before")
    monkeypatch.delenv("LM_COMPAT_LEVEL", raising=False)
    keys = TokenKeys(USERS)
    with keys.lent_for(b""):
        found = {name: os.environ[name] for name in ("LM_COMPAT_LEVEL", "KRB5_KTNAME")}
    assert {"LM_COMPAT_LEVEL": "5", "KRB5_KTNAME": "MEMORY:none"} == found
    keys.keytab = "/etc/proxy.keytab"
    with keys.lent_for(b""):
        assert "FILE:/etc/proxy.keytab" == os.environ["KRB5_KTNAME"]
    keys.close()
    keys.close()
    assert ("FILE:/before", None) == (os.environ["KRB5_KTNAME"], os.environ.get("LM_COMPAT_LEVEL"))
    assert "NTLM_USER_FILE" not in os.environ


@pytest.mark.parametrize(("domain", "user"), [
    ("", ""), ("LAB", ""), ("", "ada:x"), ("", "x\nada"), ("", "x\u2028ada"), ("a\\b", "c"), ("", "LAB\\ada"),
    ("x\r", "ada"), ("", "a" * 257), ("LAB:0", "ada"),
])  # fmt: skip
def test_names_that_would_be_another_line(domain: str, user: str) -> None:
    """Nothing of it reaches the file."""
    keys = TokenKeys(USERS)
    with pytest.raises(AuthMalformed), keys.lent_for(token(domain, user)):
        pass
    keys.close()
