"""Where the proxy comes from: the environment, PAC files, and that nothing goes straight in silence."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from relay.commands import main
from relay.failure import SettingsError
from relay.pac import from_pac, read_answer
from relay.proxy_source import from_environment, matching_exception
from relay.route import Endpoint, Hop

FAR = Endpoint("far.example", 5000)
PAC = """
function FindProxyForURL(url, host) {
  if (host == "url") { return "PROXY " + url.split("/")[2]; }
  if (host == "loop") { while (true) {} }
  if (host == "none") { return ""; }
  if (host == "null") { return null; }
  if (host == "throws") { return nosuch(); }
  if (shExpMatch(host, "*.corp")) { return "DIRECT"; }
  return "PROXY a.example:3128; SOCKS5 b.example; DIRECT";
}
"""


@pytest.mark.parametrize(
    ("entry", "why"),
    [
        ("10.0.0.0/33", "no network; expected ADDRESS/BITS"),
        ("2001:db8::/129", "no network; expected ADDRESS/BITS"),
        ("10.*", "no address; expected a whole one, or a network such as 10.0.0.0/8"),
        ("192.168.", "no address; expected a whole one, or a network such as 10.0.0.0/8"),
        ("http://far.example", "a URL; expected its host alone"),
        ("far.example:99999", "there is no port 99999"),
        ("far.example;near.example", "no name, address or network"),
        ("<local>", "no name, address or network"),
        ("*.", "no name, address or network"),
    ],
)
def test_exceptions_that_are_for_nothing(entry: str, why: str) -> None:
    """A note tells of each; nothing else changes, and what is well formed has no note."""
    good = "10.0.0.0/8 fe80::/10 ::1 [::1]:80 1.2.3.4 localhost .corp *.corp a_b.corp:22 b\xfccher.example"
    exceptions = {"https_proxy": "http://a.example:3128", "no_proxy": f"{good} {entry}"}
    decision = from_environment(FAR, exceptions)
    assert (f"no_proxy has {entry!r}, which is for nothing: {why}",) == decision.notes
    assert "a.example" in str(decision.ways)


@pytest.mark.parametrize(
    ("host", "port", "exceptions", "entry"),
    [
        ("far.example", 5000, "*", "*"),
        ("far.example", 5000, "other,far.example", "far.example"),
        ("FAR.example.", 5000, "Far.Example", "far.example"),
        ("a.far.example", 5000, "far.example", "far.example"),
        ("a.far.example", 5000, ".far.example", ".far.example"),
        ("far.example", 5000, ".far.example", ".far.example"),
        ("a.far.example", 5000, "*.far.example", "*.far.example"),
        ("notfar.example", 5000, "far.example .far.example *.far.example", None),
        ("far.example", 5000, "far.example:22", None),
        ("far.example", 5000, "far.example:22 far.example:5000", "far.example:5000"),
        ("10.1.2.3", 5000, "10.0.0.0/8", "10.0.0.0/8"),
        ("10.1.2.3", 5000, "10.1.2.3", "10.1.2.3"),
        ("11.1.2.3", 5000, "10.0.0.0/8", None),
        ("2001:db8::1", 5000, "2001:db8::/32", "2001:db8::/32"),
        ("2001:db8::1", 5000, "[2001:db8::1]", "[2001:db8::1]"),
        ("2001:db8::1", 5000, "[2001:db8::1]:22", None),
        ("2001:db8::1", 5000, "10.0.0.0/8", None),
        ("::ffff:10.1.2.3", 5000, "10.0.0.0/8", "10.0.0.0/8"),
        ("ten.example", 5000, "10.0.0.0/8", None),
        ("10.1.2.3", 5000, "3", None),
        ("far.example", 5000, " , ,, ", None),
        ("far.example", 5000, ". *. /8 [ :5000", None),
    ],
)
def test_exceptions(host: str, port: int, exceptions: str, entry: str | None) -> None:
    """Names with what is below them, addresses, networks and ports; anything odd is for nobody."""
    found = matching_exception(Endpoint(host, port), exceptions)
    assert entry == (found.lower() if found else None)


@pytest.mark.parametrize(
    ("environment", "way", "rule"),
    [
        ({}, "", "none of https_proxy, HTTPS_PROXY, all_proxy, ALL_PROXY is set"),
        ({"http_proxy": "http://p:1"}, "", "none of "),
        ({"HTTPS_PROXY": "http://p:1"}, "http://p:1", "HTTPS_PROXY names it"),
        ({"HTTPS_PROXY": "p:1"}, "http://p:1", "HTTPS_PROXY names it"),
        ({"HTTPS_PROXY": "http://p:1", "https_proxy": "http://q:1"}, "http://q:1", "https_proxy names it"),
        ({"ALL_PROXY": "socks5h://p"}, "socks5h://p:1080", "ALL_PROXY names it"),
        ({"all_proxy": "p:1", "https_proxy": " "}, "http://p:1", "all_proxy names it"),
        ({"https_proxy": "p:1", "NO_PROXY": "x"}, "http://p:1", "https_proxy names it, and no entry of NO"),
        ({"https_proxy": "p:1", "NO_PROXY": "x .example"}, "", "NO_PROXY has '.example'"),
        ({"https_proxy": "p:1", "no_proxy": "x", "NO_PROXY": "*"}, "http://p:1", "https_proxy names it"),
    ],
)
def test_the_environment(environment: dict[str, str], way: str, rule: str) -> None:
    """HTTPS_PROXY before ALL_PROXY, lower case first, and the rule that decided is told."""
    decision = from_environment(FAR, environment)
    assert way == " ".join(str(hop) for hop in decision.ways[0])
    assert decision.rule.startswith(rule)
    assert 1 == len(decision.ways)


def test_a_bad_variable_is_named() -> None:
    """The variable, not --proxy, and never its password."""
    with pytest.raises(SettingsError, match=r"\AHTTPS_PROXY: ") as caught:
        from_environment(FAR, {"HTTPS_PROXY": "ftp://u:guess7@p:1"})
    assert "guess7" not in str(caught.value)


@pytest.fixture
def pac(tmp_path: Path) -> str:
    """A PAC file on disk."""
    path = tmp_path / "proxy file.pac"
    path.write_text(PAC)
    return path.as_uri().replace("file:", "pac+file:")


def test_a_pac_file(pac: str) -> None:
    """Its alternatives in its order; it is asked for https://HOST:PORT/."""
    a, b = Hop.parse("http://a.example:3128"), Hop.parse("socks5h://b.example")
    assert ((a,), (b,), ()) == from_pac(pac, FAR).ways
    assert ((),) == from_pac(pac, Endpoint("x.corp", 1)).ways
    assert ((Hop.parse("http://url:77"),),) == from_pac(pac, Endpoint("url", 77)).ways


@pytest.mark.parametrize(
    ("host", "words"),
    [
        ("none", "answers nothing; expected a proxy or DIRECT"),
        ("null", "answered no text"),
        ("throws", "nosuch"),
        ("loop", "within 1.5 s, the limit"),
    ],
)
def test_a_pac_file_that_fails(pac: str, host: str, words: str) -> None:
    """Never the direct way instead: an error with the reason; a loop is ended from outside."""
    with pytest.raises(SettingsError, match=words):
        from_pac(pac, Endpoint(host, 5000), evaluate_seconds=1.5 if host == "loop" else 30.0)


@pytest.mark.parametrize(
    ("text", "words"),
    [("this is no script", "SyntaxError|no PAC file"), ("var a = 1;", "no PAC file|not defined|failed")],
)
def test_what_is_no_pac_file(tmp_path: Path, text: str, words: str) -> None:
    """A page instead of a script, or a script without the function."""
    path = tmp_path / "x.pac"
    path.write_text(text)
    with pytest.raises(SettingsError, match=words):
        from_pac(f"pac+{path.as_uri()}", FAR)


def test_a_pac_file_on_another_machine(pac: str) -> None:
    """Two slashes make a host of the file's name: told, and not read as a directory."""
    with pytest.raises(SettingsError, match=r"'pac\+file://x\.pac'; expected pac\+file:///PATH"):
        from_pac("pac+file://x.pac", FAR)
    assert 3 == len(from_pac(pac.replace("file:///", "file://localhost/"), FAR).ways)


@pytest.mark.parametrize(
    ("answer", "urls"),
    [
        ("DIRECT", [""]),
        (" proxy a ; ", ["http://a:80"]),
        ("PROXY a:1;PROXY a:1;HTTPS b", ["http://a:1", "https://b:443"]),
        ("HTTP a:1; SOCKS c; SOCKS4 d:2; SOCKS5 e", [
            "http://a:1", "socks4a://c:1080", "socks4a://d:2", "socks5h://e:1080",
        ]),
        ("PROXY [::1]:1", ["http://[::1]:1"]),
    ],
)  # fmt: skip
def test_answers(answer: str, urls: list[str]) -> None:
    """Every keyword, any case, without repetitions."""
    assert urls == [" ".join(map(str, hops)) for hops in read_answer(answer, "pac+file:///x")]


@pytest.mark.parametrize("answer", ["PROXY", "a:1", "DIRECT a:1", "PROXY a:1 b:2", "PROXY u:p@a:1", "X a:1"])
def test_answers_that_cannot_be_read(answer: str) -> None:
    """An odd entry is not left out: what remains could be a way that nobody has allowed."""
    with pytest.raises(SettingsError, match="expected PROXY"):
        read_answer(f"{answer}; DIRECT", "pac+file:///x")


@contextmanager
def web(status: int, body: bytes) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"pac+http://127.0.0.1:{server.server_address[1]}/proxy.pac"
        server.shutdown()
        thread.join()


def test_a_pac_file_from_the_web(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fetched straight, whatever proxy the environment names; what cannot be fetched is an error."""
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    with web(200, PAC.encode()) as url:
        assert 3 == len(from_pac(url, FAR).ways)
    with web(404, b"") as url, pytest.raises(SettingsError, match="the server answered 404"):
        from_pac(url, FAR)
    with web(200, b" " * 1_100_000) as url, pytest.raises(SettingsError, match="more than 1048576 bytes"):
        from_pac(url, FAR)
    for odd in ("pac+http://127.0.0.1:1/x", "pac+http://a b/", "pac+http://127.0.0.1:x/"):
        with pytest.raises(SettingsError, match="cannot fetch"):
            from_pac(odd, FAR)
    with pytest.raises(SettingsError, match=r"cannot read .*No such file"):
        from_pac("pac+file:///nosuch/x", FAR)


def test_relay_route(pac: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The decision for each target, with --explain the rule, with --json for machines; no login is shown."""
    for name in ("https_proxy", "all_proxy", "ALL_PROXY", "http_proxy", "HTTP_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HTTPS_PROXY", "http://bob:guess7@p.example:3128")
    monkeypatch.setenv("NO_PROXY", ".corp")
    assert 0 == main(["route", "far.example", "a.corp:22", "--explain"])
    lines = capsys.readouterr().out.splitlines()
    assert "far.example:5000: http://p.example:3128" == lines[0]
    assert "  rule: HTTPS_PROXY names it, and no entry of NO_PROXY is for this target" == lines[2]
    assert ["a.corp:22: DIRECT", "  source: environment", "  rule: NO_PROXY has '.corp'"] == lines[3:6]
    assert 0 == main(["route", "far.example", "-x", pac, "--json"])
    [told] = json.loads(capsys.readouterr().out)
    assert ("pac", [["http://a.example:3128"], ["socks5h://b.example:1080"], []]) == (
        told["source"],
        told["ways"],
    )
    assert 0 == main(["route", "far.example:1", "-x", "http://u:guess7@a:1", "-x", "socks4://b"])
    out = capsys.readouterr().out
    assert "far.example:1: http://a:1 -> socks4://b:1080\n" == out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["-x", "auto", "-x", "http://a:1"], "--proxy: 'auto' finds the proxies itself; expected no"),
        (["-x", "pac+ftp://a"], "--proxy: 'pac+ftp://a'; expected auto, pac+file://, pac+http://"),
        (["--proxy-key", "/x"], "--proxy-key: given without --proxy-cert"),
        (["--proxy-cert", "/dev/null"], "--proxy-cert: cannot use '/dev/null': it holds no certificate"),
        (["--proxy-sni", "a b"], "--proxy-sni: 'a b' is no host name"),
        (["--proxy-timeout", "0"], "argument --proxy-timeout: '0'; expected seconds above 0"),
        (
            ["--proxy-sni", "a", "-x", "https://a:1", "--proxy-sni", "b"],
            "--proxy-sni: given more than once, so each must follow the -x it is for",
        ),
        (["-x", "https://a:1", "--proxy-sni", "a", "--proxy-sni", "b"], "--proxy-sni: given twice for https://a:1"),
        (["-x", "socks4://u:guess7@a:1"], "--proxy: SOCKS 4 has no passwords"),
        (["-x", f"socks5://{'u' * 256}@a:1"], "--proxy: the user has 256 bytes; SOCKS carries at most 255"),
    ],
)  # fmt: skip
def test_wrong_settings(arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    """One line that names the flag, status 2, no secret."""
    assert 2 == main(["ping", "far.example", *arguments])
    said = capsys.readouterr().err
    assert said.startswith(f"relay ping: {words}"), said
    assert 1 == said.count("\n")
    assert "guess7" not in said
