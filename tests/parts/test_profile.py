"""Profiles: what a file may say, and what is said about one that says something else."""

from pathlib import Path

import pytest

from relay.failure import SettingsError
from relay.fault_rule import rule_from_text
from relay.limits import Limits
from relay.persona import load
from relay.profile import TABLES, Profile, read_profile
from relay.route import Endpoint
from relay.users import set_password

WHOLE = """
[listen]
on = ["127.0.0.1:8080", "[::1]:8080"]
via = "proxy1"
admin = "127.0.0.1:9128"
grace_seconds = 30

[access]
default = "deny"
allow_local = true
tell_reason = false
[[access.rule]]
action = "deny"
reason = "not at night"
time = "22:00-06:00"
[[access.rule]]
action = "allow"
suffix = { file = "domains" }
port = [443, "5000-5010"]

[login]
users = "users"
realm = "Example"
schemes = ["Basic"]
before_access = false
[login.basic]

[limits]
connections = 1000
client_requests_per_second = 2
head_timeout_seconds = 5

[log]
file = "access.log"
format = "squid"
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "domains").write_text("# ours\nexample.com\n\n.example.org  \r\n")
    set_password(tmp_path / "users", "alice", "x")
    return tmp_path


def read(folder: Path, text: str) -> Profile:
    (folder / "p.toml").write_text(text, encoding="utf-8")
    return read_profile(folder / "p.toml")


def test_an_empty_file_changes_nothing(tmp_path: Path) -> None:
    """It is the same as no file."""
    assert Profile() == read(tmp_path, "")


def test_a_whole_profile(folder: Path) -> None:
    """Every table is read, paths begin at the file's folder."""
    profile = read(folder, WHOLE)
    assert [] == [name for name in TABLES if f"[{name}]" not in WHOLE]
    assert (Endpoint("127.0.0.1", 8080), Endpoint("::1", 8080)) == profile.listen.on
    assert ("proxy1", Endpoint("127.0.0.1", 9128)) == (profile.listen.via, profile.listen.admin)
    assert 30.0 == profile.listen.grace_seconds
    access = profile.access
    assert (True, False, False) == (access.allow_local, access.tell_reason, access.allow_others)
    rules = [(rule.allows, rule.words) for rule in access.rules]
    assert [(False, "not at night"), (True, "rule 2 denies it")] == rules
    assert profile.login is not None
    assert ("Example", False) == (profile.login.realm, profile.login.before_access)
    assert profile.login.users.proves("alice", "x")
    limits = Limits(connections=1000, client_requests_per_second=2.0, head_timeout_seconds=5.0)
    assert limits == profile.limits
    assert (str(folder / "access.log"), "squid") == (profile.log.file, profile.log.format)
    assert "-" == read(folder, '[log]\nfile = "-"').log.file


def test_faults_and_a_persona(folder: Path) -> None:
    """They are read as --fault and --persona have them."""
    text = '[[fault]]\nname = "latency"\nseconds = 2\n[[fault]]\nname = "fin"\n'
    profile = read(folder, 'persona = "squid-5"\n' + text)
    assert ("latency", "fin") == tuple(rule.fault.name for rule in profile.faults)
    assert profile.faults[0] == rule_from_text("latency:seconds=2")
    assert load("squid-5") == profile.persona


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[limits\n", "this is no TOML: .*line 1"),
        ("a = 1\na = 2\n", "this is no TOML: .*line 2"),
        ("[colours]", "'colours': no such key; expected one of listen, access"),
        ("fault = 3", r"fault: 3; expected \[\[fault\]\], at most 100 times"),
        ("fault = [3]", "fault 1: 3; expected a table"),
        ("[[fault]]\nname='fin'\n[[fault]]\nname='x'", "fault 2: there is no fault 'x'; expected one of"),
        ("[[fault]]\nname='latency'\nsecs=1", "fault 1: latency: unknown key 'secs'; expected seconds"),
        ("persona = 3", "persona: 3; expected text in quotes"),
        ("persona = 'nope'", "persona: there is no 'nope'; expected one of 3proxy"),
        ("limits = 3", "limits: 3; expected a table"),
        ("[limits]\nconections = 3", r"\[limits\]: 'conections': no such key; expected one of connections"),
        ("[limits]\nconnections = '3'", r"\[limits\]: connections: '3'; expected a whole number from 1 to"),
        ("[limits]\nconnections = true", r"\[limits\]: connections: true; expected a whole number"),
        ("[limits]\nconnections = 0", r"\[limits\]: connections: 0; expected a whole number from 1 to"),
        ("[limits]\nhead_timeout_seconds = nan", "head_timeout_seconds: nan; expected a number from"),
        ("[limits]\nhead_timeout_seconds = inf", "head_timeout_seconds: inf; expected a number from"),
        ("[limits]\ntunnels = 1.5", r"\[limits\]: tunnels: 1.5; expected a whole number"),
        ("[listen]\non = []", r"\[listen\]: on: \[\]; expected a list, each text in .* 1 to 64 values"),
        ("[listen]\non = '127.0.0.1:1'", r"\[listen\]: on: '127.0.0.1:1'; expected a list"),
        ("[listen]\non = ['127.0.0.1']", r"\[listen\]: on: '127.0.0.1' has no port"),
        ("[listen]\nadmin = 'x'", r"\[listen\]: admin: 'x' has no port"),
        ("[listen]\ngrace_seconds = -1", r"\[listen\]: grace_seconds: -1; expected a number from 0 to 86400"),
        ("[log]\nformat = 'xml'", r"\[log\]: format: 'xml'; expected one of \"json\", \"squid\","),
        ("[access]\ndefault = 'maybe'", r"\[access\]: default: 'maybe'; expected one of \"allow\""),
        ("[access]\nrule = 3", r"\[access\]: rule: expected"),
        ("[access]\nrule = [3]", r"\[\[access.rule\]\] 1: 3; expected a table"),
        ("[[access.rule]]\n[[access.rule]]\naction='allow'", r"\[\[access.rule\]\] 1: action: None; "),
        ("[[access.rule]]\naction='allow'\nports=1", r"\[\[access.rule\]\] 1: 'ports': no such key"),
        ("[[access.rule]]\naction='allow'\nport=true", r"\[\[access.rule\]\] 1: port: true; expected text"),
        ("[[access.rule]]\naction='allow'\nport=[]", r"\[\[access.rule\]\] 1: port: the list is empty"),
        ("[[access.rule]]\naction='allow'\nport='x'", r"\[\[access.rule\]\] 1: port: 'x'; expected a port"),
        ("[[access.rule]]\naction='allow'\nreason=\"a\\nb\"", "1: reason: expected one line"),
        ("[[access.rule]]\naction='allow'\nhost={file='no'}", r"1: host: .*no: cannot be read: No such"),
        ("[[access.rule]]\naction='allow'\nhost={fil='no'}", r"1: host: 'fil': no such key"),
        ("[[access.rule]]\naction='allow'\nhost={file='bad'}", "bad: line 2: 'a b' is no host name"),
        ("[[access.rule]]\naction='allow'\nuser='a'", r"\[access\] has a rule with `user`; expected"),
        ("[login]", r"\[login\]: users: is missing; expected text in quotes"),
        ("[login]\nusers='none'", r"\[login\]: users: .*none: cannot be read"),
        ("[login]\nusers='domains'", "domains: line 2: this user has no password"),
        ("[login]\nusers='users'\nschemes=['Magic']", r"\[login\]: schemes: 'Magic'; expected of Basic"),
        ("[login]\nusers='users'\nrealm='\u00e9'", r"\[login\]: realm: expected printable ASCII"),
        ("[login]\nusers='users'\n[login.basic]\nx=1", r"\[login.basic\]: 'x': no such key"),
    ],
)  # fmt: skip
def test_what_a_profile_may_not_say(folder: Path, text: str, words: str) -> None:
    """The error names file, table and key, and what was expected; the line where TOML is broken."""
    (folder / "bad").write_text("ok.example\na b\n")
    with pytest.raises(SettingsError, match=words) as raised:
        read(folder, text)
    assert str(raised.value).startswith(str(folder))
    assert 1 == len(str(raised.value).splitlines())


def test_a_file_that_is_none(tmp_path: Path) -> None:
    """Missing, a folder, too large, no UTF-8."""
    for name in ("missing.toml", "."):
        with pytest.raises(SettingsError, match="cannot be read"):
            read_profile(tmp_path / name)
    (tmp_path / "large").write_bytes(b"#" * (2**20 + 1))
    with pytest.raises(SettingsError, match="at most 1048576 bytes"):
        read_profile(tmp_path / "large")
    (tmp_path / "latin").write_bytes(b"# a\n# \xe9\n")
    with pytest.raises(SettingsError, match="latin:2: this is no UTF-8"):
        read_profile(tmp_path / "latin")
    (tmp_path / "deep").write_bytes(b"a = " + b"[" * 100_000)
    with pytest.raises(SettingsError):
        read_profile(tmp_path / "deep")
