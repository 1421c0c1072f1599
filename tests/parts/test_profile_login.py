"""[login]: its schemes and their tables; what nobody could log in with is told before the start."""

import re
from pathlib import Path

import pytest

from relay.commands.passwd import MAKERS
from relay.failure import SettingsError
from relay.login_gate import Login, LoginGate
from relay.profile import read_profile
from relay.users import set_verifiers


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Users of one scheme each, and of all; keytabs."""
    for name, make in MAKERS.items():
        set_verifiers(tmp_path / name, "ada", make("ada", "proxy", "x"))
    of_all = [made for make in MAKERS.values() for made in make("ada", "proxy", "x")]
    set_verifiers(tmp_path / "all", "ada", of_all)
    (tmp_path / "none").write_text("# nobody yet\n")
    (tmp_path / "keytab").write_bytes(b"\x05\x02")
    return tmp_path


@pytest.fixture(autouse=True)
def kerberos(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its libraries are there, or not: here nobody speaks it."""
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name)


def read(folder: Path, text: str) -> Login:
    (folder / "p.toml").write_text(f"[login]\n{text}\n")
    login = read_profile(folder / "p.toml").login
    assert login is not None
    return login


def test_schemes_in_any_case(folder: Path) -> None:
    """In the order given, each once."""
    login = read(folder, "users='all'\nschemes=['negotiate', 'NTLM', 'Digest', 'basic', 'ntlm']")
    assert ("Negotiate", "NTLM", "Digest", "Basic") == tuple(login.schemes)


def test_options(folder: Path) -> None:
    """Each scheme's own; a path begins beside the profile."""
    login = read(
        folder,
        "users='all'\nschemes=['negotiate', 'digest']\n[login.digest]\nnonce_seconds=60\nalgorithms=['MD5']\n"
        "[login.negotiate]\nkeytab='keytab'\nown_realm='EXAMPLE.COM'",
    )
    assert {"nonce_seconds": 60.0, "algorithms": ("MD5",)} == login.options["Digest"]
    assert {"keytab": str(folder / "keytab"), "own_realm": "EXAMPLE.COM"} == login.options["Negotiate"]


def test_a_realm_needs_no_users(folder: Path) -> None:
    """With Negotiate and a keytab alone the users are those of the KDC."""
    login = read(folder, "schemes=['negotiate']\n[login.negotiate]\nkeytab='keytab'")
    assert {} == login.users.verifiers


def test_users_that_come_later(folder: Path) -> None:
    """A file without any is none to complain of."""
    assert 4 == len(read(folder, "users='none'\nschemes=['negotiate','ntlm','digest','basic']").schemes)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("users='basic'\nschemes=['digest']", "[login.digest]: no user has a hash for Digest in the"),
        ("users='all'\nrealm='x'\nschemes=['digest']", "realm 'x'; `relay proxy passwd --scheme digest"),
        ("users='digest'\nschemes=['ntlm']", "[login.ntlm]: no user has an NT hash; `relay proxy passwd"),
        ("users='basic'\nschemes=['negotiate']", "[login.negotiate]: expected keytab, or users with an NT"),
        ("schemes=['ntlm']", "[login]: users: is missing"),
        ("schemes=['negotiate', 'basic']", "[login]: users: is missing"),
        ("schemes=['digest']\nusers='all'\n[login.digest]\nnonce_seconds=0", "[login.digest]: nonce"),
        ("schemes=['digest']\nusers='all'\n[login.digest]\nalgorithms=['SHA-1']", "; expected a list"),
        ("schemes=['digest']\nusers='all'\n[login.digest]\nclock=1", "'clock': no such key"),
        ("schemes=['ntlm']\nusers='all'\n[login.ntlm]\nx=1", "[login.ntlm]: 'x': no such key"),
        ("schemes=['negotiate']\n[login.negotiate]\nkeytab='no'", "no: cannot be read"),
        ("schemes=['negotiate']\n[login.negotiate]\nkeytab='all'", "all: this is no keytab"),
    ],
)  # fmt: skip
def test_what_it_may_not_say(folder: Path, text: str, words: str) -> None:
    """File, table and key, and what was expected."""
    with pytest.raises(SettingsError, match=re.escape(words)) as raised:
        read(folder, text)
    assert str(raised.value).startswith(str(folder))
    assert 1 == len(str(raised.value).splitlines())


def test_kerberos_without_its_library(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Said at the start, with what to install."""
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(SettingsError, match=r"Kerberos needs gssapi and krb5, .*pip install"):
        read(folder, "schemes=['negotiate']\n[login.negotiate]\nkeytab='keytab'")


def test_no_secret_is_shown(folder: Path) -> None:
    """Neither by the profile nor by what stands for it."""
    login = read(folder, "users='all'\nschemes=['ntlm', 'digest']")
    gate = LoginGate(login, None)  # type: ignore[arg-type]
    hashes = [part.rpartition("$")[2] for part in (folder / "all").read_text().strip().split(":")[1:]]
    assert not [one for one in hashes if one in repr(login) + repr(gate) + repr(vars(gate))]
