"""The command `relay check`: statuses, reports, saved records; in this process."""

import json
import re
import signal
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import jsonschema
import pytest

from relay.commands import guarded
from relay.finding import MAX_FINDINGS
from relay.route import Endpoint
from tests.parts.html_page import Page
from tests.path.real import SCRIPTS, environment

Check = Callable[..., tuple[int, str, str]]

SCHEMA = json.loads((Path(__file__).parents[2] / "docs" / "check.schema.json").read_text("utf-8"))


@pytest.fixture
def check(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Check:
    """Run the command in this process: exit status, stdout, stderr."""
    monkeypatch.delenv("RELAY_KEY_FILE", raising=False)
    monkeypatch.delenv("RELAY_PROXY_PASSWORD", raising=False)

    def check(*arguments: object) -> tuple[int, str, str]:
        status = guarded("check", [str(argument) for argument in arguments], "relay check")
        return (status, *capsys.readouterr())

    return check


@pytest.fixture
def closed() -> Iterator[Endpoint]:
    """An endpoint that refuses connections, and that nobody else can take."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        yield Endpoint(*sock.getsockname())


def test_a_good_path(check: Check, server: Endpoint) -> None:
    """Status 0, the path drawn, the verdict first; nothing marked."""
    status, out, err = check(server)
    assert (0, "") == (status, err)
    assert f"this machine ----- [{server}]\n\nOK   Framework packets get through to {server}.\n" in out
    assert "here" not in out


def test_a_broken_path(check: Check, closed: Endpoint) -> None:
    """Status 1; the place marked, who mends it, and the sentence to send."""
    status, out, err = check(closed)
    assert (1, "") == (status, err)
    assert out.startswith(
        f"this machine ----- [{closed}] <- here\n\nBROKEN  Nothing listens on port {closed.port}"
    )
    for words in (
        "cause   server-port-closed",
        "who     the server's administrator",
        "send    ",
        "who can tell: ",
    ):
        assert words in out


def test_no_time_is_no_verdict(check: Check, server: Endpoint) -> None:
    """Status 3 where nothing could be tested, and not a fault of the path."""
    status, out, err = check(server, "--timeout", "0.000001")
    assert (3, "") == (status, err)
    assert "UNKNOWN" in out


def test_explain(check: Check, closed: Endpoint) -> None:
    """For each excluded cause the observation that excluded it."""
    _, out, _ = check(closed, "--explain")
    assert re.search(r"fw-drop-syn +connect was refused; it would be timed-out\n", out)


def test_json_fits_its_schema(check: Check, server: Endpoint, closed: Endpoint) -> None:
    """docs/check.schema.json describes what is printed, of a good path and of a broken one."""
    for target in (server, closed):
        _, out, _ = check(target, "--json")
        document = json.loads(out)
        jsonschema.validate(document, SCHEMA, format_checker=jsonschema.FormatChecker())
        assert str(target) == document["record"]["target"]


def test_a_saved_record_is_judged_again(check: Check, closed: Endpoint, tmp_path: Path) -> None:
    """The same verdict from the file, without a connection."""
    saved = tmp_path / "saved.json"
    status, out, _ = check(closed, "--report", f"json={saved}", "--json")
    assert (1, saved.read_text("utf-8")) == (status, out)
    assert (1, out, "") == check("--from", saved, "--json")


def test_html_is_one_file(check: Check, closed: Endpoint, tmp_path: Path) -> None:
    """No script, and nothing that a browser would fetch; the path is drawn."""
    path = tmp_path / "out.html"
    check(closed, "--report", f"html={path}")
    page = Page()
    page.feed(path.read_text("utf-8"))
    names = {tag for tag, _ in page.tags}
    assert {"svg", "details", "blockquote"} <= names
    assert set() == names & {"script", "link", "img", "iframe", "object", "embed"}
    assert [] == [attributes for _, attributes in page.tags if {"src", "href"} & set(attributes)]
    assert "@import" not in path.read_text("utf-8")
    assert "server-port-closed" in page.text


HOSTILE = "</pre><script>alert(1)</script>|[x](http://x)`\x1b[31m\x00\ufffe"


@pytest.fixture
def hostile(tmp_path: Path) -> Path:
    """A record in which a stranger's words try to be more than text."""
    tunnel = {"status": 403, "own_words": HOSTILE, "said": "nothing", "location": HOSTILE}
    seen = [
        {"question": "route", "outcome": "proxy", "words": "", "evidence": {}},
        {"question": "connect", "outcome": "open", "words": HOSTILE, "evidence": {"local": "192.0.2.1"}},
        {"question": "tunnel", "outcome": "denied", "words": HOSTILE, "evidence": tunnel},
        {"question": "other-port", "outcome": "opened", "words": HOSTILE, "evidence": {}},
    ]
    for one in seen:
        one |= {"began_seconds": 0.0, "seconds": 0.1}
    record: dict[str, Any] = {
        "version": 1,
        "target": "far.example:5000",
        "hops": ["http://proxy.example:3128"],
    }
    record |= {"began": "2026-01-01T00:00:00Z", "seconds": 1.0, "connections": 3, "findings": seen}
    path = tmp_path / "hostile.json"
    path.write_text(json.dumps(record))
    return path


def test_a_strangers_words_stay_text(check: Check, hostile: Path) -> None:
    """In every form of report: no tag, no terminal escape, no broken XML."""
    _, html, _ = check("--from", hostile, "--report", "html")
    page = Page()
    page.feed(html)
    assert "script" not in {tag for tag, _ in page.tags}
    _, xml, _ = check("--from", hostile, "--report", "junit")
    (failure,) = ElementTree.fromstring(xml).iter("failure")
    assert "proxy-port-policy" == failure.get("type")
    for form in ("text", "ticket"):
        _, text, _ = check("--from", hostile, "--report", form)
        assert "\x1b" not in text
        assert "\x00" not in text
    _, markdown, _ = check("--from", hostile, "--report", "markdown")
    assert "<script" not in markdown.replace("\\<", "")


def test_the_terminal_takes_no_orders_from_strangers(check: Check, hostile: Path) -> None:
    """A peer's escape sequences never reach the terminal."""
    _, out, _ = check("--from", hostile)
    assert "\x1b" not in out


def test_the_ticket_has_all_that_is_asked_back(check: Check, hostile: Path) -> None:
    """To whom, when, from where, to where, what the proxy said, what is wanted."""
    _, ticket, _ = check("--from", hostile, "--report", "ticket")
    assert ticket.startswith("To: the proxy's administrator\nSubject: ")
    for words in (
        "2026-01-01T00:00:00Z",
        "192.0.2.1",
        "far.example:5000",
        "Proxy said:   status 403",
        "Please allow",
    ):
        assert words in ticket


def test_junit_has_one_case_for_each_question(check: Check, server: Endpoint) -> None:
    """Names are unique, since GitLab drops the second of two; a good path fails nothing."""
    _, xml, _ = check(server, "--report", "junit")
    (suite,) = ElementTree.fromstring(xml).iter("testsuite")
    names = [case.get("name") for case in suite.iter("testcase")]
    assert len(names) == len(set(names)) == int(suite.get("tests", "0"))
    assert "0" == suite.get("failures")


WRONG = {
    "no target": ([], "expected either HOST:PORT"),
    "two": (["a:1", "--from", "x"], "expected either HOST:PORT"),
    "port 0": (["127.0.0.1:0"], "port 0"),
    "no host name": (["a b:5000"], "no host name"),
    "no such report": (
        ["a:1", "--report", "pdf"],
        "expected one of html, json, junit, markdown, text, ticket",
    ),
    "no file": (["a:1", "--report", "json="], "--report"),
    "no number": (["a:1", "--timeout", "soon"], "--timeout"),
    "no proxy": (["a:1", "-x", "none"], "--proxy"),
    "not there": (["--from", "/nonexistent/file"], "--from: cannot read '/nonexistent/file'"),
    "nothing": (["--from", "/dev/null"], "--from: '/dev/null' is no JSON"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_usage(name: str, check: Check) -> None:
    """One line that says what was expected, status 2, no traceback."""
    arguments, words = WRONG[name]
    status, out, err = check(*arguments)
    assert (2, "") == (status, out)
    assert err.startswith("relay check: ")
    assert words in err
    assert 1 == err.count("\n")


BAD_RECORDS: dict[str, tuple[Any, str]] = {
    "a list": ([], "the record: list; expected dict"),
    "of tomorrow": ({"version": 2}, "version: 2; this program reads version 1"),
    "without findings": ({"version": 1}, "findings: NoneType; expected list"),
    "too many": ({"version": 1, "findings": [0] * (MAX_FINDINGS + 1)}, f"expected at most {MAX_FINDINGS}"),
    "no finding": (
        {
            "version": 1,
            "target": "a",
            "hops": [],
            "began": "",
            "seconds": 0,
            "connections": 0,
            "findings": [1],
        },
        "findings[0]: int; expected dict",
    ),
}


@pytest.mark.parametrize("name", BAD_RECORDS)
def test_a_file_that_is_no_record(name: str, check: Check, tmp_path: Path) -> None:
    """The key that is wrong is named."""
    document, words = BAD_RECORDS[name]
    path = tmp_path / "bad.json"
    path.write_text(json.dumps(document))
    status, _, err = check("--from", path)
    assert 2 == status
    assert words in err


@pytest.mark.parametrize("option", ["--from", "--elsewhere", "--journal", "--replay"])
def test_a_file_without_a_name(check: Check, option: str) -> None:
    """An empty name, of a variable that is not set, is no option left out: status 2 and one line."""
    for arguments in ((option, ""), (option, "", "127.0.0.1:1")):
        status, out, err = check(*arguments)
        assert (2, "", 1) == (status, out, err.count("\n"))
        assert f"{option}: ''; expected the name of a file" in err


@pytest.mark.parametrize("url", ["http://a b/", "http://127.0.0.1:x/", "http://[/", "http://127.0.0.1:1/"])
def test_a_journal_that_cannot_be_fetched(check: Check, closed: Endpoint, tmp_path: Path, url: str) -> None:
    """Also what is no URL is told in one line, with status 2."""
    saved = tmp_path / "saved.json"
    check(closed, "--report", f"json={saved}")
    status, _, err = check("--from", saved, "--journal", url)
    assert (2, 1, True) == (status, err.count("\n"), "--journal: cannot fetch" in err), err


def test_a_journal_at_what_is_no_web_server(check: Check, closed: Endpoint, tmp_path: Path) -> None:
    """Its words are quoted without what a terminal would obey."""
    saved = tmp_path / "saved.json"
    check(closed, "--report", f"json={saved}")
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            with server.accept()[0] as sock:
                sock.recv(4096)
                sock.sendall(b"SSH-2.0 \x1b[31m\r\n\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        status, _, err = check("--from", saved, "--journal", f"http://127.0.0.1:{server.getsockname()[1]}/")
        thread.join()
    assert (2, True) == (status, "SSH-2.0 ?[31m" in err), err


def test_a_record_nested_too_deep(check: Check, tmp_path: Path) -> None:
    """Refused, and no traceback."""
    path = tmp_path / "deep.json"
    path.write_text("[" * 100_000)
    assert 2 == check("--from", path)[0]


def test_a_report_that_cannot_be_written(check: Check, closed: Endpoint, tmp_path: Path) -> None:
    """The file is named, status 2; a folder that is not there is told before anything is sent."""
    status, out, err = check(closed, "--report", f"json={tmp_path}/none/out.json")
    assert (2, "") == (status, out)
    assert "--report: cannot write" in err
    (tmp_path / "folder").mkdir()
    status, out, err = check(closed, "--report", f"json={tmp_path}/folder")
    assert (2, "") == (status, out)
    assert "--report: cannot write" in err


def test_no_line_ends_in_a_blank(check: Check, closed: Endpoint) -> None:
    """Where a long line is broken, on stdout as in a report, also of what was excluded."""
    for more in ((), ("--explain",), ("--report", "text")):
        lines = check(closed, *more)[1].splitlines()
        assert lines == [line.rstrip() for line in lines]
        assert max(map(len, lines)) <= 100


def test_two_documents_on_one_stdout(check: Check, closed: Endpoint) -> None:
    """No program could read them apart: told before anything is sent. Texts may follow each other."""
    status, out, err = check(closed, "--json", "--report", "html")
    assert (2, "") == (status, out)
    assert "--report: json and html both to stdout, where no program can read them apart; expected" in err
    assert 1 == check(closed, "--report", "ticket", "--report", "markdown")[0]


def test_nothing_is_printed_of_a_password(check: Check, closed: Endpoint) -> None:
    """Neither in the text, nor in any report."""
    for form in ("html", "json", "junit", "markdown", "text", "ticket"):
        _, out, err = check("127.0.0.1:5000", "-x", f"http://me:s3cr3t-w0rd@{closed}", "--report", form)
        assert "s3cr3t" not in out + err
        assert closed.host in out


def test_sigterm_ends_it() -> None:
    """A run that waits ends at once, without a traceback."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        host, port = silent.getsockname()
        arguments = [SCRIPTS / "relay", "check", "--timeout", "100", f"{host}:{port}"]
        process = subprocess.Popen(
            arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment()
        )
        # The first connection only tries the port; on the second it has sent its packet and waits
        silent.accept()[0].close()
        with silent.accept()[0] as waiting:
            assert waiting.recv(1)
            process.send_signal(signal.SIGTERM)
            _, err = process.communicate(timeout=20)
    assert (130, b"") == (process.returncode, err)
