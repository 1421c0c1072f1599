"""Options and their values: what is wrong with a command line is one line and status 2, no traceback."""

import os
from collections.abc import Callable

import pytest

Ping = Callable[..., tuple[int, str, str]]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "the following arguments are required: HOST"),
        (["--nosuch", "h"], "unrecognized arguments: --nosuch"),
        (["h", "i\x1b[2Jj\nk"], "unrecognized arguments: i?[2Jj?k"),
        (["-c", "0", "h"], "argument -c/--count: '0'; expected a whole number from 1"),
        (["-c", "1e3", "h"], "argument -c/--count: '1e3'; expected a whole number from 1"),
        (["-c", "-1", "h"], "argument -c/--count: '-1'; expected a whole number from 1"),
        (["-c", "9" * 5000, "h"], "argument -c/--count: '999"),
        (["-c", "\u0663", "h"], r"argument -c/--count: '\u0663'; expected"),
        (["-i", "nan", "h"], "argument -i/--interval: 'nan'; expected seconds above 0, at most 86400"),
        (["-i", "inf", "h"], "argument -i/--interval: 'inf'; expected seconds above 0"),
        (["-i", "0", "h"], "argument -i/--interval: '0'; expected seconds above 0"),
        (["-W", "1_0", "h"], "argument -W/--wait: '1_0'; expected seconds"),
        (["-W", "\uff11", "h"], r"argument -W/--wait: '\uff11'; expected seconds"),
        (["-W", "86401", "h"], "argument -W/--wait: '86401'; expected seconds above 0, at most 86400"),
        (["-P", "\xb2", "h"], r"argument -P/--port: '\xb2'; expected a port from 1 to 65535"),
        (["-P", "0", "h"], "argument -P/--port: '0'; expected a port"),
        (["-P", "65536", "h"], "argument -P/--port: '65536'; expected a port"),
        ([""], "HOST: '' is no host name and no address"),
        ([":5000"], "HOST: '' is no host name and no address"),
        (["h:0"], "HOST: port 0 in 'h:0'; expected 1 to 65535"),
        (["h:port"], "HOST: port 'port' in 'h:port'; expected"),
        (["fe80::1%eth0"], "HOST: 'fe80::1%eth0'; expected HOST:PORT or [IPV6]:PORT"),
        (["http://h:5000"], "HOST: "),
        (["h h"], "HOST: 'h h' is no host name and no address"),
        (["\udcff"], r"HOST: '\udcff' is no host name"),
        (["-x", "", "h"], "--proxy: '' has no port; expected HOST:PORT"),
        (["-x", "ftp://p:1", "h"], "--proxy: scheme 'ftp'; expected one of http://, https://, socks5://"),
        (["-x", "http://a%3Ab:c@p:1", "h"], "--proxy: the user name has a colon in it"),
        (["-x", "http://\udcff:c@p:1", "h"], "--proxy: user or password is not UTF-8"),
        (["--key-file", "/", "h"], "--key-file: cannot read '/': Is a directory"),
        (["--key-file", "", "h"], "--key-file: no file is named"),
        (["--key-file", "/dev/zero", "h"], "--key-file: '/dev/zero' does not hold a key"),
        (["--proxy-ca", "/dev/null", "h"], "--proxy-ca: cannot use '/dev/null': it holds no certificate"),
        (["--proxy-ca", "/nosuch", "h"], "--proxy-ca: cannot use '/nosuch': No such file or directory"),
        (["--proxy-ca", "", "h"], "--proxy-ca: cannot use '': No such file or directory"),
    ],
    ids=lambda value: "" if isinstance(value, str) else None,
)
def test_a_bad_command_line_is_one_line_and_2(ping: Ping, arguments: list[str], words: str) -> None:
    """Exit 2, nothing on stdout, one printable line that names the flag and what was expected."""
    status, out, err = ping(*arguments)
    assert (2, "") == (status, out)
    assert err.startswith(f"TMSS10Ping: {words}")
    assert 1 == err.count("\n")
    assert err[:-1].isprintable()
    assert len(err) < 400


def test_the_environment_can_be_wrong_too(ping: Ping, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key file named by a variable is checked like one named by the flag."""
    monkeypatch.setenv("RELAY_KEY_FILE", os.devnull)
    status, _, err = ping("h")
    assert 2 == status
    assert err.startswith("TMSS10Ping: RELAY_KEY_FILE: '/dev/null' does not hold a key; expected")
