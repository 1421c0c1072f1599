"""The file of a suite: what it says, and how a mistake in it is told."""

from pathlib import Path

import pytest

from relay.failure import SettingsError
from relay.route import Endpoint
from relay.suite import Suite
from relay.suite_file import read_suite

SECRET = "correct horse"
HEAD = """\
[suite]
name = "nightly"
jobs = 2
[proxy.near]
url = "http://near.example:3128"
[proxy.far]
url = "socks5h://far.example"
user = "bob"
password = "${FAR_PASSWORD}"
[route.both]
via = ["near", "far"]
[target.framework]
at = "fw.example"
[target.mail]
at = "${MAIL_HOST}:25"
"""
PATHS = """\
[[path]]
route = "*"
target = "framework"
expect = "ok"
timeout_seconds = 3
[[path]]
route = ["near", "b*"]
target = "mail"
expect = ["proxy-port-policy", "proxy-destination-policy"]
"""
FEW_PATHS = PATHS.replace('"*"', '["direct", "both"]')
ENVIRON = {"FAR_PASSWORD": SECRET, "MAIL_HOST": "mail.example"}


def read(folder: Path, text: str) -> Suite:
    file = folder / "relay.toml"
    file.write_text(text, "utf-8")
    return read_suite(file, ENVIRON)


def test_the_matrix(tmp_path: Path) -> None:
    """Names and patterns become paths, in the order of the file; each knows its line and its settings."""
    suite = read(tmp_path, HEAD + PATHS)
    assert ("nightly", 2, 1) == (suite.name, suite.jobs, suite.repeat)
    told = [(cell.name, cell.expect, cell.line, cell.timeout_seconds) for cell in suite.cells]
    ok, refused = ("ok",), ("proxy-port-policy", "proxy-destination-policy")
    assert [
        ("direct/framework", ok, 16, 3.0),
        ("near/framework", ok, 16, 3.0),
        ("far/framework", ok, 16, 3.0),
        ("both/framework", ok, 16, 3.0),
        ("near/mail", refused, 21, 10.0),
        ("both/mail", refused, 21, 10.0),
    ] == told


def test_routes_and_secrets(tmp_path: Path) -> None:
    """A chain has its hops nearest first; ${NAME} is the environment's; no secret is in a repr."""
    cell = read(tmp_path, HEAD + PATHS).cells[-1]
    assert Endpoint("mail.example", 25) == cell.route.target
    assert ["http://near.example:3128", "socks5h://far.example:1080"] == [str(hop) for hop in cell.route.hops]
    assert ("bob", SECRET) == (cell.route.hops[1].user, cell.route.hops[1].password)
    assert SECRET not in repr(cell)


def test_a_password_from_a_file(tmp_path: Path) -> None:
    """The file stands beside the suite; its one line is the password."""
    (tmp_path / "secret").write_text(f"{SECRET}\n")
    suite = read(tmp_path, HEAD.replace('password = "${FAR_PASSWORD}"', 'password_file = "secret"') + PATHS)
    assert SECRET == suite.cells[-1].route.hops[1].password


@pytest.mark.parametrize(
    ("old", "new", "line", "words"),
    [
        ("jobs = 2", "job = 2", 3, "[suite]: 'job': no such key; expected one of name, timeout_seconds"),
        ("jobs = 2", "jobs = 0", 3, "[suite]: jobs: 0; expected a whole number from 1 to 64"),
        ("jobs = 2", 'jobs = "2"', 3, "[suite]: jobs: '2'; expected a whole number"),
        ("[suite]", "[suit]", 1, "'suit': no such key; expected one of suite, proxy, route, target, path"),
        ("http://near.example:3128", "http://near.example", 5, "has no port; expected HOST:PORT"),
        ("http://near.example:3128", "ftp://near.example:1", 5, "scheme 'ftp'; expected one of http://"),
        ("http://near.example:3128", f"http://a:{SECRET}@near.example:1", 5, "url: holds a login"),
        ("http://near.example:3128", "auto", 5, "url: 'auto': that asks this machine's settings; expected"),
        ("http://near.example:3128", "pac+file:///p.pac", 5, "that asks this machine's settings; expected"),
        ('user = "bob"', 'ca_file = "ca.pem"', 8, "[proxy.far]: ca_file: is of https:// proxies; expected"),
        ("socks5h://far.example\"", "https://far.example\"\nca_file = \"none\"", 8, "ca_file: cannot use"),
        ("[proxy.near]", "[proxy.direct]", 4, "this name is the route without a proxy"),
        ("[proxy.near]", '[proxy."a/b"]', 4, "'a/b'; expected a name of letters"),
        ("${FAR_PASSWORD}", SECRET, 9, "password: expected \"${NAME}\" of the environment, or password_file"),
        ('"${FAR_PASSWORD}"', "12345", 9, "password: expected \"${NAME}\" of the environment"),
        ("${FAR_PASSWORD}", f"{SECRET}${{FAR_PASSWORD}}", 9, 'password: expected "${NAME}" of the env'),
        ('user = "bob"', 'user = "bob"\nauth = "guess"', 9, "[proxy.far]: auth: 'guess'; expected some of"),
        ('user = "bob"', 'user = "bob"\nspn = "a b"', 9, "[proxy.far]: spn: 'a b'; expected HTTP/NAME"),
        ('name = "nightly"', 'name = "a\\u001b[31m"', 2, "name: 'a\\x1b[31m'; expected printable characters"),
        ('route = ["near", "b*"]', "route = []", 22, "[[path]] 2: route: []; expected a name or more"),
        ('target = "mail"', "target = []", 23, "[[path]] 2: target: []; expected a name or more"),
        ("${FAR_PASSWORD}", "${NOT_SET}", 9, "${NOT_SET}: the environment has no such variable"),
        ('password = "${FAR_PASSWORD}"', "", 8, "user: without a password; expected password or"),
        ('user = "bob"', "", 9, "password: without user; expected both"),
        ('password = "${FAR_PASSWORD}"', 'password_file = "none"', 9, "No such file or directory; expected"),
        ('via = ["near", "far"]', 'via = ["near", "fa"]', 11, "via: 'fa'; expected names of [proxy.NAME]"),
        ('via = ["near", "far"]', 'via = ["near", "near"]', 11, "'near' after 'near', which is the same"),
        ('via = ["near", "far"]', "via = []", 11, "expected a list, each text in quotes of 1 to 8 values"),
        ("[route.both]", "[route.near]", 10, "a route of this name is there already"),
        ('at = "fw.example"', 'at = "fw.example:0"', 13, "at: port 0; expected 1 to 65535"),
        ('at = "fw.example"', "", 12, "[target.framework]: at: is missing; expected text in quotes"),
        ("${MAIL_HOST}", "${OTHER}", 15, "${OTHER}: the environment has no such variable"),
        ('expect = "ok"', 'expect = "okay"', 19, "expect: 'okay'; expected \"ok\" alone, or ids of causes"),
        ('expect = "ok"', 'expect = "fw-drop"', 19, "perhaps fw-drop-syn"),
        ('expect = "ok"', 'expect = ["ok", "fw-drop-syn"]', 19, "expected \"ok\" alone"),
        ('expect = "ok"', "expect = []", 19, "expected \"ok\" alone"),
        ('expect = "ok"', 'expect = "tunnel-half-close"', 19, "expected \"ok\" alone, or ids of causes"),
        ('expect = "ok"', "", 16, "expect: is missing"),
        ("timeout_seconds = 3", "timeout_seconds = -3", 20, "expected a number from 0.001 to 3600"),
        ('route = ["near", "b*"]', 'route = ["nea"]', 22, "'nea'; expected of: direct, near, far, both"),
        ('target = "mail"', 'target = "framework"', 21, "near/framework: is in [[path]] 1 already"),
        ('target = "mail"', "target = 7", 23, "target: 7; expected text in quotes or a list"),
    ],
)  # fmt: skip
def test_a_mistake_is_told_with_its_line(tmp_path: Path, old: str, new: str, line: int, words: str) -> None:
    """File, line, table and key, and what was expected; never a secret."""
    assert 1 == (HEAD + PATHS).count(old)
    with pytest.raises(SettingsError) as told:
        read(tmp_path, (HEAD + PATHS).replace(old, new))
    assert str(told.value).startswith(f"{tmp_path}/relay.toml:{line}: ")
    assert words in str(told.value)
    assert SECRET not in str(told.value)
    assert "12345" not in str(told.value)


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        (HEAD, 1, "[[path]]: expected at least one"),
        (HEAD + "[path]\nroute = 'direct'\n", 16, "[path]: expected [[path]], in two brackets"),
        (HEAD + "[proxy.idle]\nurl = 'http://a.example:1'\n" + FEW_PATHS, 16, "[proxy.idle]: is on no"),
        (HEAD + "[target.idle]\nat = 'a.example:1'\n" + PATHS, 16, "[target.idle]: is on no [[path]]"),
        (HEAD + "[route.idle]\nvia = ['far']\n" + FEW_PATHS, 16, "[route.idle]: is on no [[path]]"),
    ],
)
def test_what_nothing_tests_is_a_mistake(tmp_path: Path, text: str, line: int, words: str) -> None:
    """A proxy or a target that no path has would be taken for tested."""
    with pytest.raises(SettingsError) as told:
        read(tmp_path, text)
    assert str(told.value).startswith(f"{tmp_path}/relay.toml:{line}: {words}")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[suite]\nname = \n", "2: this is no TOML: "),
        ("[suite]\njobs = 2\n[route.a]\nvia = [\n'b',\n[target.f]\n", "; it begins in line 4"),
        ("[route.a]\nvia = ['b'\n", "2: this is no TOML: "),
        ("[suite]\njobs = " + "1" * 5000 + "\n[route.a]\n", "2: this is no TOML: a number has too many"),
        ("[suite]\nname = \"\"\"x\n\n[target.f]\n", "4: this is no TOML: "),
        ("[suite]\nname = \"\"\"x\n\n[target.f]\n", "; it begins in line 2"),
    ],
)
def test_no_toml(tmp_path: Path, text: str, words: str) -> None:
    """The line that TOML's reader stumbles over, and where what is broken begins, if that is before."""
    with pytest.raises(SettingsError) as told:
        read(tmp_path, text)
    assert str(told.value).startswith(f"{tmp_path}/relay.toml:")
    assert words in str(told.value)
    if not words.startswith(";"):
        assert str(told.value).startswith(f"{tmp_path}/relay.toml:{words}")


def test_a_separator_that_ends_no_line_of_toml(tmp_path: Path) -> None:
    """U+2028 and U+0085 in a comment do not shift the lines that are told."""
    with pytest.raises(SettingsError, match=r"relay\.toml:3: \[suite\]: jobs: 0"):
        read(tmp_path, "# a\u2028b\x85c\n[suite]\njobs = 0\n")


SOCKS_4 = """\
[proxy.old]
url = "socks4a://old.example"
[target.six]
at = "[2001:db8::1]:5000"
[[path]]
route = "old"
target = "six"
expect = "ok"
"""


def test_a_path_that_cannot_work(tmp_path: Path) -> None:
    """SOCKS 4 carries no IPv6 address, to a target or to the next proxy; that it fails may be expected."""
    words = r"toml:7: \[\[path\]\] 1: target: old/six cannot work: socks4a://old.example:1080 is SOCKS 4"
    with pytest.raises(SettingsError, match=words):
        read(tmp_path, SOCKS_4)
    read(tmp_path, SOCKS_4.replace('"ok"', '"socks-unsupported"'))
    chain = SOCKS_4.replace("[2001:db8::1]", "192.0.2.1").replace('"old"', '"both"')
    chain += '[proxy.six]\nurl = "http://[2001:db8::2]:3128"\n[route.both]\nvia = ["old", "six"]\n'
    with pytest.raises(SettingsError, match=r"both/six cannot work: .* the IPv6 address 2001:db8::2"):
        read(tmp_path, chain)


def test_no_file(tmp_path: Path) -> None:
    """A file that is not there is named."""
    with pytest.raises(SettingsError, match=r"none\.toml: cannot be read: No such file"):
        read_suite(tmp_path / "none.toml", {})
