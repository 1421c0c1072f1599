"""Where user and password of a proxy come from, in which order, and that no mistake shows them."""

import argparse
import sys
import types
from collections.abc import Mapping
from pathlib import Path

import pytest

from relay.client_logins import STRONGEST_FIRST, LoginRules
from relay.commands.options import Parser, add_proxy_options, hops_of, route_of
from relay.credentials import MAX_FILE_BYTES, Credentials, read_netrc, read_user_file
from relay.failure import SettingsError
from relay.route import Endpoint, Hop

SECRET = "s3cret:with@all#of it"


def arguments(*words: str) -> argparse.Namespace:
    parser = Parser()
    add_proxy_options(parser)
    return parser.parse_args(words)


def hops(*words: str) -> tuple[Hop, ...]:
    return hops_of(arguments("-x", "http://proxy.example:3128", *words))


USER_FILE = "--proxy-user-file"


def pairwise_of(words: tuple[str, ...]) -> list[tuple[str, str]]:
    return list(zip(words[::2], words[1::2], strict=True))


def login(*words: str) -> tuple[str | None, str | None]:
    [hop] = hops(*words)
    return hop.user, hop.password


@pytest.fixture(autouse=True)
def environ(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing of the user's own."""
    for name in ("RELAY_PROXY_USER", "RELAY_PROXY_PASSWORD", "NETRC"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))


def written(path: Path, text: str, mode: int = 0o600) -> str:
    path.write_text(text)
    path.chmod(mode)
    return str(path)


def test_without_any_there_is_none() -> None:
    """Only a Kerberos ticket could log in then."""
    assert (None, None) == login()


def test_a_file(tmp_path: Path) -> None:
    """USER:PASSWORD, with all behind the first colon and no more than one line end cut off."""
    for end in ("", "\n", "\r\n"):
        path = written(tmp_path / "login", f"ada:{SECRET} {end}")
        assert ("ada", f"{SECRET} ") == login("--proxy-user-file", path)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"no colon s3cret", "it is not one line USER:PASSWORD"),
        (b"a:s3cret\nb:s3cret\n", "it is not one line USER:PASSWORD"),
        (b"a:s3cret\xff", "it is not UTF-8"),
        (b"a:" + b"s" * MAX_FILE_BYTES, f"it has more than {MAX_FILE_BYTES} bytes"),
        (b"a:s3cret\x01", r"the password has the control character U\+0001"),
    ],
)
def test_a_file_that_cannot_be_used(tmp_path: Path, text: bytes, words: str) -> None:
    """The words name the file and what is wrong, and quote nothing of it."""
    path = tmp_path / "login"
    path.write_bytes(text)
    with pytest.raises(SettingsError, match=words) as caught:
        login("--proxy-user-file", str(path))
    assert "s3cret" not in str(caught.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    """No such file, by name."""
    with pytest.raises(SettingsError, match=r"--proxy-user-file: cannot use .*missing.*: No such file"):
        login("--proxy-user-file", str(tmp_path / "missing"))


def test_each_proxy_has_its_own_file(tmp_path: Path) -> None:
    """A file is for the -x before it; a proxy without one gets no login that was meant for another."""
    near, far = written(tmp_path / "a", "near:1"), written(tmp_path / "b", "far:2")
    for words, expected in (
        ((near, "two", far, "three"), [("near", "1"), ("far", "2"), (None, None)]),
        ((near, "two"), [("near", "1"), (None, None)]),
    ):
        chain = [word for file, name in pairwise_of(words) for word in (USER_FILE, file, "-x", f"http://{name}.test:1")]
        assert expected == [(hop.user, hop.password) for hop in hops(*chain)]
    with pytest.raises(SettingsError, match="given twice for one proxy"):
        hops(USER_FILE, near, USER_FILE, far)
    with pytest.raises(SettingsError, match="must follow the -x it is for"):
        hops_of(arguments(USER_FILE, near, "-x", "http://one.test:1", "-x", "http://two.test:1"))


def test_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """User and password, for the nearest proxy alone."""
    monkeypatch.setenv("RELAY_PROXY_USER", "ada")
    monkeypatch.setenv("RELAY_PROXY_PASSWORD", SECRET)
    found = hops("-x", "http://two.example:1")
    assert [("ada", SECRET), (None, None)] == [(hop.user, hop.password) for hop in found]


def test_the_url_comes_first(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What is written with the proxy is meant for it."""
    monkeypatch.setenv("RELAY_PROXY_USER", "other")
    path = written(tmp_path / "login", "third:x")
    [hop] = hops_of(arguments("-x", "http://ada:s%20x@proxy.example:1", "--proxy-user-file", path))
    assert ("ada", "s x") == (hop.user, hop.password)


NETRC = """
machine other.example login bob password no
machine proxy.example login ada password s3cret
default login any password any
"""


def test_netrc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the proxy's name: of the file named, of NETRC, of ~/.netrc; `default` is for no proxy."""
    path = written(tmp_path / "logins", NETRC)
    assert ("ada", "s3cret") == login("--proxy-netrc", path)
    assert read_netrc(path, "nobody.example") is None
    assert read_netrc(path, "default") is None
    monkeypatch.setenv("NETRC", path)
    assert ("ada", "s3cret") == login("--proxy-netrc")
    monkeypatch.delenv("NETRC")
    written(tmp_path / ".netrc", NETRC.replace("s3cret", "own"))
    assert ("ada", "own") == login("--proxy-netrc")
    assert (None, None) == login()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"machine proxy.example login ada password s3cret nonsense s3cret\n", "line 1 cannot be read"),
        (b"\xff s3cret", "is not UTF-8|line 1 cannot be read"),
    ],
)
def test_a_netrc_that_cannot_be_read(tmp_path: Path, text: bytes, words: str) -> None:
    """By file and line, without a word out of it."""
    path = tmp_path / "logins"
    path.write_bytes(text)
    with pytest.raises(SettingsError, match=words) as caught:
        login("--proxy-netrc", str(path))
    assert "s3cret" not in str(caught.value)
    with pytest.raises(SettingsError, match=r"--proxy-netrc: cannot use .*: No such file"):
        login("--proxy-netrc", str(tmp_path / "missing"))
    path.write_bytes(b"#" * (2**20 + 1))
    for endless in (str(path), "/dev/zero"):
        with pytest.raises(SettingsError, match="expected a file of at most 1048576 bytes"):
            login("--proxy-netrc", endless)


def test_no_password_is_not_an_empty_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty variable, and a netrc without a password: nothing is sent, it would count as an attempt."""
    monkeypatch.setenv("RELAY_PROXY_PASSWORD", "")
    path = written(tmp_path / "logins", "machine proxy.example login ada\n")
    by_netrc = ["-x", "http://proxy.example:1", "--proxy-netrc", path]
    for words in (["-x", "http://ada@proxy.example:1"], by_netrc):
        with pytest.raises(SettingsError, match=r"no password for http://proxy\.example:1"):
            hops_of(arguments(*words))
    monkeypatch.setenv("RELAY_PROXY_PASSWORD", SECRET)
    assert ("ada", SECRET) == login("--proxy-netrc", path)
    [hop] = hops_of(arguments("-x", "http://ada:@proxy.example:1"))
    assert ("ada", "") == (hop.user, hop.password)


class Keyring(types.ModuleType):
    """Stands in for keyring; a real store needs a desktop."""

    class KeyringError(Exception):
        """As keyring.errors has it."""

    def __init__(self, kept: Mapping[tuple[str, str], str]) -> None:
        super().__init__("keyring")
        self.kept = kept
        self.errors = types.SimpleNamespace(KeyringError=self.KeyringError)
        self.is_locked = False

    def get_password(self, service: str, user: str) -> str | None:
        if self.is_locked:
            raise self.KeyringError("s3cret")
        return self.kept.get((service, user))

    def get_credential(self, service: str, user: None) -> object:
        for kept_service, name in self.kept:
            if kept_service == service:
                return types.SimpleNamespace(username=name, password=self.get_password(service, name))
        return None


@pytest.fixture
def keyring(monkeypatch: pytest.MonkeyPatch) -> Keyring:
    """A keyring with one login for the proxy."""
    made = Keyring({("http://proxy.example:3128", "ada"): "s3cret"})
    monkeypatch.setitem(sys.modules, "keyring", made)
    monkeypatch.setitem(sys.modules, "keyring.errors", made.errors)  # type: ignore[arg-type]
    return made


def test_the_keyring(keyring: Keyring) -> None:
    """By the proxy's URL: the user too, or the password of the user in -x; only when asked for."""
    assert ("ada", "s3cret") == login("--proxy-keyring")
    [hop] = hops_of(arguments("-x", "http://ada@proxy.example:3128", "--proxy-keyring"))
    assert ("ada", "s3cret") == (hop.user, hop.password)
    assert (None, None) == login()


def test_a_keyring_that_is_locked(keyring: Keyring) -> None:
    """A sentence, without the words of the store."""
    keyring.is_locked = True
    with pytest.raises(SettingsError, match=r"the keyring cannot be read \(KeyringError\)"):
        login("--proxy-keyring")


def test_without_keyring(monkeypatch: pytest.MonkeyPatch) -> None:
    """The extra is named."""
    monkeypatch.setitem(sys.modules, "keyring", None)
    with pytest.raises(SettingsError, match=r"framework-relay\[keyring\]"):
        login("--proxy-keyring")


def test_a_person_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """For the password of a user without one, and only at a terminal; Kerberos alone needs none."""
    asked = []

    def getpass(prompt: str) -> str:
        asked.append(prompt)
        return SECRET

    monkeypatch.setattr("getpass.getpass", getpass)
    monkeypatch.setattr("sys.stdin", types.SimpleNamespace(isatty=lambda: True))
    words = ("-x", "http://ada@proxy.example:1")
    assert SECRET == hops_of(arguments(*words))[0].password
    assert ["Password for http://proxy.example:1: "] == asked
    [hop] = hops_of(arguments(*words, "--proxy-auth", "negotiate"))
    assert ("ada", None, 1) == (hop.user, hop.password, len(asked))
    monkeypatch.setattr("sys.stdin", types.SimpleNamespace(isatty=lambda: False))
    with pytest.raises(SettingsError, match="no password for"):
        hops_of(arguments(*words))


def test_the_rules_of_each_proxy() -> None:
    """Once is for all, more often is each for the -x before it."""
    chain = ("-x", "http://two.example:1")
    assert [LoginRules(("basic",))] * 2 == [hop.login for hop in hops(*chain, "--proxy-auth", "basic")]
    spn = ("--proxy-spn", "p.test")
    found = hops("--proxy-auth", "Digest, basic", *chain, "--proxy-auth", "ntlm", *spn)
    assert [
        LoginRules(("digest", "basic"), spn=("HTTP", "p.test")),
        LoginRules(("ntlm",), spn=("HTTP", "p.test")),
    ] == [hop.login for hop in found]
    assert LoginRules(STRONGEST_FIRST, "latin-1") == hops("--proxy-charset", "Latin-1")[0].login


@pytest.mark.parametrize(
    ("flag", "value", "words"),
    [
        ("--proxy-auth", "kerberos", "'kerberos'; expected some of negotiate,ntlm,digest,basic"),
        ("--proxy-auth", "basic,basic", "each once"),
        ("--proxy-auth", "", "expected some of"),
        ("--proxy-charset", "cp1252", "expected utf-8 or latin-1"),
        ("--proxy-spn", "HTTP/a@REALM", "expected HTTP/NAME"),
        ("--proxy-spn", "HTTP/", "expected HTTP/NAME"),
        ("--proxy-spn", "a/b/c", "expected HTTP/NAME"),
        ("--proxy-spn", "x" * 300, "expected HTTP/NAME"),
    ],
)
def test_rules_that_cannot_be(flag: str, value: str, words: str) -> None:
    """The flag and what was expected, also where no proxy is there that it could be for."""
    for given in (arguments("-x", "http://one.test:3128", flag, value), arguments(flag, value)):
        with pytest.raises(SettingsError, match=f"{flag}: .*{words}"):
            hops_of(given)
    with pytest.raises(SettingsError, match="given twice for one proxy"):
        hops(flag, "basic", flag, "basic")


def test_socks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Version 5 has user and password, whatever --proxy-auth says of others; version 4 a user alone."""
    file = written(tmp_path / "login", f"ada:{SECRET}")
    [hop] = hops_of(arguments("-x", "socks5h://one.test:1080", USER_FILE, file))
    assert ("ada", SECRET) == (hop.user, hop.password)
    with pytest.raises(SettingsError, match=r"no password for socks5h://one\.test:1080"):
        hops_of(arguments("-x", "socks5h://ada@one.test:1080", "--proxy-auth", "negotiate"))
    monkeypatch.setenv("RELAY_PROXY_PASSWORD", SECRET)
    [hop] = hops_of(arguments("-x", "socks4a://ada@one.test:1080"))
    assert ("ada", None) == (hop.user, hop.password)
    with pytest.raises(SettingsError, match=r"--proxy-user-file: socks4a://one\.test:1080 takes no password"):
        hops_of(arguments("-x", "socks4a://one.test:1080", USER_FILE, file))


def test_a_source_that_names_no_proxy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A login is for the proxy that -x auto finds; where it finds none the way is straight."""
    options = arguments("-x", "auto", USER_FILE, written(tmp_path / "login", f"ada:{SECRET}"))
    monkeypatch.setenv("https_proxy", "http://one.test:3128")
    monkeypatch.setenv("no_proxy", "near.example")
    [hop] = route_of(options, Endpoint("far.example", 5000)).hops
    assert ("ada", SECRET) == (hop.user, hop.password)
    assert () == route_of(options, Endpoint("near.example", 5000)).hops


def test_latin_1(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the charset lacks is refused before anything is sent."""
    monkeypatch.setenv("RELAY_PROXY_PASSWORD", "10 \u20ac")
    with pytest.raises(SettingsError, match=r"the password has U\+20AC in it, which Latin-1 lacks"):
        hops_of(arguments("-x", "http://ada@proxy.example:1", "--proxy-charset", "latin-1"))


def test_reprs_have_no_password(tmp_path: Path) -> None:
    """Nor the hop that holds it."""
    found = read_user_file(written(tmp_path / "login", f"ada:{SECRET}"))
    assert Credentials("ada", SECRET) == found
    assert SECRET not in repr(found)
    assert SECRET not in repr(hops("--proxy-user-file", str(tmp_path / "login")))
