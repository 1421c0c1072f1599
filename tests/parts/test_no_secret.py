"""A planted password is in no output of any command, whatever login it is for and the proxy repeats."""

import base64
import io
import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote, quote_plus

import pytest

import relay.commands
import relay.reports
from relay.failure import SettingsError
from relay.pac import read_answer
from relay.proxy_source import from_environment
from relay.report import REPORTS
from relay.route import Endpoint
from relay.shown import MAX_SHOWN_CHARACTERS, line_without_login
from relay.shown import shown as shown_text
from tests.parts.scripted_proxy import Played, ScriptedProxy

USER, PASSWORD = "LAB\\ada", "planted p\u00e4ssword 7"

Scan = Callable[[str], list[str]]


def encoded(password: str, user: str) -> list[str]:
    """The password in every writing in which it may turn up."""
    found = {password, quote(password), quote_plus(password), json.dumps(password)[1:-1]}
    found.add(ascii(password)[1:-1])
    # As a field of a head is read, octet by octet
    read = password.encode().decode("latin-1")
    found |= {read, json.dumps(read)[1:-1]}
    for charset in ("utf-8", "latin-1", "utf-16-le"):
        octets = password.encode(charset)
        found |= {octets.hex(), repr(octets)[2:-1], base64.b64encode(octets).decode().rstrip("=")}
        found.add(base64.b64encode(f"{user}:".encode(charset) + octets).decode().rstrip("="))
        # Inside a longer Base64 text, at each of the three places where it may begin
        for before in range(3):
            code = base64.b64encode(bytes(before) + octets)
            found.add(code[4 if before else 0 : len(code) // 4 * 4 - 4].decode())
    return sorted(found)


SECRETS = encoded(PASSWORD, USER)


def test_the_scan_finds_what_it_looks_for() -> None:
    """In any Base64 text too, wherever the password stands in it."""
    for before in ("", "x", "xy", f"{USER}:"):
        shown = base64.b64encode(f"{before}{PASSWORD} and more".encode()).decode()
        assert [secret for secret in SECRETS if secret in shown], before


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Iterator[Callable[[], str]]:
    """All that was printed and logged, with logging wide open."""
    log = io.StringIO()
    handler = logging.StreamHandler(log)
    logging.getLogger().addHandler(handler)
    monkeypatch.setattr(logging.getLogger(), "level", logging.DEBUG)
    yield lambda: "\n".join([*capfd.readouterr(), log.getvalue()])
    logging.getLogger().removeHandler(handler)


def repeats(scheme: str, status: bytes = b"407 Log in") -> Callable[[Played], None]:
    """A proxy that refuses, and shows our own head, and the password, wherever it may say something."""

    def scene(played: Played) -> None:
        while True:
            head = played.head()
            said = head.replace(b"\r\n", b" | ").rstrip(b"| ")
            field = b'Digest realm="r", nonce="n", qop="auth"' if scheme == "Digest" else scheme.encode()
            played.write(b"HTTP/1.1 %b\r\nProxy-Authenticate: %b\r\n" % (status, field))
            for name in (b"X-Squid-Error", b"Proxy-Status", b"Via", b"Location", b"Set-Cookie", b"Server"):
                played.write(b"%b: %b | %b\r\n" % (name, PASSWORD.encode(), said))
            body = b"<html><p>%b</p><pre>%b</pre></html>" % (PASSWORD.encode(), head)
            played.write(b"Content-Length: %d\r\n\r\n" % len(body), body)

    return scene


def socks(played: Played) -> None:
    """A SOCKS server that refuses the login."""
    played.sock.recv(4)
    played.write(b"\x05\x02")
    played.sock.recv(1024)
    played.write(b"\x01\x01")


SCENES = {
    **{scheme: repeats(scheme) for scheme in ("NTLM", "Negotiate", "Digest", "Basic")},
    "Basic, then 403": lambda played: (refuse_once(played), repeats("Basic", b"403 No")(played)),
    "socks5h": socks,
}


def refuse_once(played: Played) -> None:
    played.head()
    played.write(b'HTTP/1.1 407 No\r\nProxy-Authenticate: Basic realm="r"\r\nContent-Length: 0\r\n\r\n')


COMMANDS = {
    "ping": ["ping", "-c", "2", "-i", "0.01"],
    "ping --json": ["ping", "-c", "1", "--json"],
    "tunnel": ["tunnel", "--stdio"],
    "tunnel --json": ["tunnel", "--stdio", "--json"],
    "check": ["check", "--timeout", "3", "--explain"],
    "check --json": ["check", "--timeout", "3", "--json"],
    "route": ["route", "--explain", "--json"],
}


@pytest.mark.parametrize("scheme", SCENES)
@pytest.mark.parametrize("command", COMMANDS)
def test_no_command_shows_it(
    scheme: str,
    command: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    shown: Callable[[], str],
) -> None:
    """stdout, stderr, logs, and every form of report; the password comes from the URL, or the environment."""
    words = COMMANDS[command]
    reports: list[Path] = []
    if command == "check":
        reports = [tmp_path / name for name in sorted(REPORTS)]
        words = [*words, *(word for path in reports for word in ("--report", f"{path.name}={path}"))]
    with ScriptedProxy(SCENES[scheme]) as proxy:
        kind = scheme if scheme.startswith("socks") else "http"
        if command.endswith("--json"):
            monkeypatch.setenv("RELAY_PROXY_PASSWORD", PASSWORD)
            login = quote(USER, safe="")
        else:
            login = f"{quote(USER, safe='')}:{quote(PASSWORD, safe='')}"
        given = [*words, "-x", f"{kind}://{login}@{proxy.endpoint}", "dest.example:5000"]
        status = relay.commands.main(given)
    said = "\n".join([shown(), *(path.read_text("utf-8") for path in reports)])
    assert (0 if command == "route" else 1) == status, said
    assert str(proxy.endpoint) in said
    assert [] == [secret for secret in SECRETS if secret in said]
    tokens = [
        line.split()[-1]
        for head in proxy.heads
        for line in head.decode("latin-1").splitlines()
        if line.startswith("Proxy-Authorization") and "Digest" not in line
    ]
    assert [] == [token for token in tokens if token in said]


MISTYPED = {
    "a PAC file, with a login": "pac+http://ada:{}@127.0.0.1/x.pac",
    "a PAC file, with a login and a port": "pac+https://ada:{}@127.0.0.1:1/x.pac",
    "a PAC file, a slash in the password": "pac+http://ada:{}/x@127.0.0.1:1/x.pac",
    "a PAC file, no port": "pac+http://ada:{}@127.0.0.1:x/x.pac",
    "a PAC file, a space in the path": "pac+http://ada:1/{} @127.0.0.1:1/x.pac",
    "a PAC file, a key in the query": "pac+http://127.0.0.1:1/x.pac?key={}",
    "a PAC file, two slashes": "pac+file://ada:{}@h/x",
    "no scheme of a PAC file": "pac+ftp://ada:{}@h/x",
    "a proxy, a port too many": "http://ada:{}@h:1:2",
    "a proxy, a slash too few": "http:/ada:{}@h:x",
    "a proxy, far too long": "http://ada:{}@" + "h." * 60 + ":x",
    "a proxy, no scheme": "ada:{}@h:x",
}


@pytest.mark.parametrize("mistyped", MISTYPED.values(), ids=MISTYPED)
@pytest.mark.parametrize("command", COMMANDS)
def test_a_mistake_does_not_show_it(
    command: str, mistyped: str, shown: Callable[[], str], tmp_path: Path
) -> None:
    """What is no proxy is quoted without the login in it, whether it stands at -x or in place of a host."""
    url = mistyped.format("S3cretPw")
    for index, words in enumerate((["-x", url, "dest.example:5000"], [url], ["-x", "auto", "-x", url, "h"])):
        report = ["--report", f"json={tmp_path / str(index)}"] if command == "check" else []
        assert relay.commands.main([*COMMANDS[command], *report, *words]) in (1, 2)
    said = "\n".join([shown(), *(path.read_text("utf-8") for path in tmp_path.iterdir())])
    assert "expected" in said
    assert "S3cret" not in said


@pytest.mark.parametrize("command", ["", "suite", "server", "demo", "exporter", "report", "proxy", "lab"])
def test_no_command_quotes_a_stray_url(command: str, shown: Callable[[], str]) -> None:
    """A proxy's URL where a command wants nothing, or something else: argparse quotes its whole line."""
    for url in ("http://ada:S3cret Pw@proxy:1", "ada:S3cretPw@proxy:1", "--nosuch=http://ada:S3cretPw@proxy:1"):
        assert 2 == relay.commands.main([*filter(None, [command]), url])
    assert "@proxy" in (said := shown())
    assert "S3cret" not in said


def test_a_long_line_takes_no_time() -> None:
    """As long as a command line may be, whatever it is made of."""
    for piece in ("a", ":", "a:", "://", "@", "'", ":a@"):
        line = piece * (131_072 // len(piece))
        assert "@" not in line_without_login(line).removeprefix("...@").lstrip("@")
        assert len(shown_text(line)) <= 2 * MAX_SHOWN_CHARACTERS


def test_a_pac_file_and_no_proxy_do_not_show_it() -> None:
    """An answer with a login is refused, an exception with one is told of: neither repeats it."""
    target = Endpoint("dest.example", 5000)
    with pytest.raises(SettingsError, match="answers") as caught:
        read_answer("PROXY ada:S3cretPw@proxy:1", "pac+file:///x")
    assert "S3cret" not in str(caught.value)
    environment = {"https_proxy": "http://proxy:1", "no_proxy": "http://ada:S3cretPw@dest.example"}
    assert "S3cret" not in str(from_environment(target, environment))
