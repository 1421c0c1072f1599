"""The command `relay suite`: statuses, choices, reports and baselines; in this process, on loopback."""

import json
import os
import pty
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from relay.access import Access
from relay.commands import guarded
from relay.fault_plan import FaultPlan
from relay.fault_rule import rule_from_text
from relay.plain_port import PlainPort
from relay.proxy import ConnectProxy
from relay.route import Endpoint
from tests.junit_schema import assert_valid
from tests.parts.beside import beside
from tests.parts.framework_peers import FREE
from tests.parts.html_page import Page
from tests.path.real import SCRIPTS, environment

DOCS = Path(__file__).parents[2] / "docs"
SECRET = "correct-horse"
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def proxy(server: Endpoint) -> Iterator[Endpoint]:
    """Our proxy; it lets 443 and the server's port out."""
    access = Access(allow_ports=(range(443, 444), range(server.port, server.port + 1)))
    with beside(lambda: ConnectProxy((FREE,), access=access)) as made:
        yield made.endpoint


@pytest.fixture
def closed() -> Iterator[Endpoint]:
    """An endpoint that refuses connections, and that nobody else can take."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        yield Endpoint(*sock.getsockname())


@pytest.fixture
def suite(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Run:
    """Run the command in this process and a folder of its own: exit status, stdout, stderr."""
    monkeypatch.chdir(tmp_path)
    for name in ("RELAY_KEY_FILE", "GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SUITE_PASSWORD", SECRET)

    def suite(*arguments: object) -> tuple[int, str, str]:
        status = guarded("suite", [str(argument) for argument in arguments], "relay suite")
        return (status, *capsys.readouterr())

    return suite


@pytest.fixture
def file(tmp_path: Path, server: Endpoint, proxy: Endpoint, closed: Endpoint) -> Path:
    """A suite of four paths that is all as expected."""
    path = tmp_path / "relay.toml"
    path.write_text(f"""\
[suite]
name = "night <run>"
[proxy.ours]
url = "http://{proxy}"
user = "alice"
password = "${{SUITE_PASSWORD}}"
[target.framework]
at = "{server}"
[target.closed]
at = "{closed}"
[[path]]
route = ["direct", "ours"]
target = "framework"
expect = "ok"
[[path]]
route = "direct"
target = "closed"
expect = "server-port-closed"
[[path]]
route = "ours"
target = "closed"
expect = "proxy-port-policy"
""")
    return path


def broken(file: Path) -> None:
    """Let one path work that must not, and one fail by another cause."""
    text = file.read_text()
    text = text.replace('expect = "ok"', 'expect = "fw-drop-syn"', 1)
    file.write_text(text.replace('expect = "server-port-closed"', 'expect = "fw-drop-syn"'))


def test_all_as_expected(suite: Run, file: Path) -> None:
    """Status 0, a plain line for each path, the headline last; a path that must be closed is one of them."""
    status, out, err = suite()
    assert (0, "") == (status, err)
    lines = out.splitlines()
    expected = {
        "direct/framework: ok, as expected", "ours/framework: ok, as expected",
        "direct/closed: server-port-closed, as expected", "ours/closed: proxy-port-policy, as expected",
    }  # fmt: skip
    assert expected == {line.removeprefix("ok").strip().rpartition(" (")[0] for line in lines[:4]}
    assert lines[4].startswith("night <run>: as expected: 4 of 4 as expected (")


def test_what_is_not_as_expected(suite: Run, file: Path) -> None:
    """Status 1: an unexpected success fails, so does another cause; each says what to do."""
    broken(file)
    status, out, err = suite()
    assert (1, "") == (status, err)
    assert "OPEN     direct/framework works; it must not: expected fw-drop-syn" in out
    assert "OTHER    direct/closed: server-port-closed at " in out
    assert "who: the server's administrator" in out
    assert "1 of 4 as expected, 3 not as expected" in out


def test_only(suite: Run, file: Path) -> None:
    """--only chooses paths by ROUTE/TARGET; a pattern that fits none is a mistake, not a success."""
    status, out, _ = suite("--list", "--only", "direct/*", "--only", "ours/f*")
    listed = ["direct/framework: ok", "ours/framework: ok", "direct/closed: server-port-closed"]
    assert (0, listed) == (status, out.splitlines())
    status, _, err = suite("--only", "tinyproxy/*")
    assert 2 == status
    assert "--only: no path fits; there are direct/framework, ours/framework, " in err


def test_repeat_and_fail_fast(suite: Run, file: Path) -> None:
    """Each path so many times; after the first failure no more are begun, and that is told."""
    status, out, _ = suite("--repeat", "2", "--only", "direct/framework")
    assert (0, 2) == (status, out.count("direct/framework: ok"))
    broken(file)
    status, out, _ = suite("--fail-fast", "--jobs", "1", "--report", "json")
    results = json.loads(out)["results"]
    assert 1 == status
    assert ["unexpected-success", "not-run", "not-run", "not-run"] == [one["outcome"] for one in results]


def test_what_cannot_be_tested(suite: Run, file: Path) -> None:
    """Status 3 when nothing has failed but something could not be tested; 1 when something has failed."""
    text = file.read_text()
    file.write_text(text.replace('expect = "ok"', 'expect = "ok"\ntimeout_seconds = 0.001'))
    status, out, _ = suite("--only", "direct/*")
    assert (3, True) == (status, "1 could not be tested" in out)
    file.write_text(text.replace('expect = "ok"', 'expect = "ok"\ntimeout_seconds = 0.001')
                    .replace("server-port-closed", "fw-drop-syn"))  # fmt: skip
    assert 1 == suite("--only", "direct/*")[0]


def test_several_reports_at_once(suite: Run, file: Path, tmp_path: Path) -> None:
    """Every form to a file of its own, beside the usual lines; no password in any of them."""
    broken(file)
    forms = ("github", "html", "json", "junit", "markdown", "text", "ticket")
    arguments = [part for form in forms for part in ("--report", f"{form}={tmp_path}/out.{form}")]
    status, out, _ = suite(*arguments)
    assert (1, True) == (status, "OPEN     direct/framework" in out)
    texts = {form: (tmp_path / f"out.{form}").read_text("utf-8") for form in forms}
    for form, text in texts.items():
        assert "direct/framework" in text, form
        assert SECRET not in text, form
    for other in ("text", "ticket", "markdown"):
        assert "server-port-closed" in texts[other], other


def test_junit_fits_the_schema_of_ci_servers(suite: Run, file: Path, tmp_path: Path) -> None:
    """Good or bad, repeated or ended early: a suite for each route, a case for each check."""
    runs = ((False, ()), (True, ("--repeat", "2")), (True, ("--fail-fast", "--jobs", "1")))
    for is_broken, arguments in runs:
        if is_broken:
            broken(file)
        root = assert_valid(suite("--report", "junit", *arguments)[1])
        assert ["night <run>: direct", "night <run>: ours"] == [one.get("name") for one in root]
    failure = next(root.iter("failure"))
    assert "ok" == failure.get("type")
    (tmp_path / "old.json").write_text('{"baseline_version": 2, "paths": {}}')
    words = ("--fail-fast", "--jobs", "1", "--compare", "old.json", "--report", "junit")
    cases = assert_valid(suite(*words)[1]).iter("testcase")
    skipped = {case.get("name") for case in cases if case.find("skipped") is not None}
    assert {"closed", "closed baseline", "framework", "framework baseline"} == skipped
    assert "it must not: expected fw-drop-syn" in (failure.text or "")


def test_json_fits_its_schema(suite: Run, file: Path) -> None:
    """docs/suite.schema.json describes it, and each check in it is a report of `relay check`."""
    broken(file)
    document = json.loads(suite("--report", "json")[1])
    schemas = {name: json.loads((DOCS / f"{name}.schema.json").read_text()) for name in ("suite", "check")}
    jsonschema.validate(document, schemas["suite"], format_checker=jsonschema.FormatChecker())
    for result in document["results"]:
        jsonschema.validate(result["check"], schemas["check"])


def test_html_is_one_file(suite: Run, file: Path) -> None:
    """The matrix with a square for each path that leads to its story; no script, nothing to fetch."""
    broken(file)
    page = Page()
    page.feed(suite("--report", "html")[1])
    names = {tag for tag, _ in page.tags}
    assert set() == names & {"script", "link", "img", "iframe", "object", "embed"}
    targets = {f"#{attributes['id']}" for _, attributes in page.tags if "id" in attributes}
    links = {attributes["href"] for tag, attributes in page.tags if tag == "a"}
    assert (4, targets) == (len(links), links)
    assert "✗ OPEN: ok" in page.text
    assert "night <run>" in page.text


def test_github(suite: Run, file: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """On GitHub each failure is an annotation at its line of the file, and the step has a summary."""
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary"))
    (tmp_path / "summary").write_text("before\n")
    broken(file)
    _, out, _ = suite("--only", "direct/*")
    commands = [line for line in out.splitlines() if line.startswith("::")]
    assert 2 == len(commands)
    places = ((11, "direct/framework"), (15, "direct/closed"))
    for command, (line, path) in zip(commands, places, strict=True):
        assert command.startswith(f"::error file=relay.toml,line={line},title={path}::{path}")
    summary = (tmp_path / "summary").read_text()
    assert summary.startswith("before\n## night \\<run\\>: 0 of 2 as expected")
    assert "| direct | ❌ ok | ❌ server-port-closed |" in summary


def test_a_baseline(suite: Run, file: Path, tmp_path: Path, closed: Endpoint, server: Endpoint) -> None:
    """What was saved is kept to; a path that is worse fails, and the hop that has changed is named."""
    status, out, _ = suite("--save", "baseline.json")
    assert 0 == status, out
    status, out, _ = suite("--compare", "baseline.json", "--tolerance", "latency=1000000%,throughput=100%")
    assert (0, False) == (status, "WORSE" in out)
    baseline = json.loads((tmp_path / "baseline.json").read_text())
    ours = baseline["paths"]["ours/framework"]
    assert ["connect", "proxy", "answer"] == [one["stage"] for one in ours["stretches"]]
    # As if the proxy had answered at once, and the server had been much faster than it is
    ours["latency_milliseconds"] = 0.001
    ours["bytes_per_second"] = {"up": 1e12, "down": 1e12}
    for stretch in ours["stretches"]:
        stretch["milliseconds"] = 0.0 if stretch["stage"] == "proxy" else 1e6
    baseline["paths"]["direct/closed"]["cause"] = "ok"
    baseline["paths"]["gone/framework"] = ours
    (tmp_path / "baseline.json").write_text(json.dumps(baseline))
    status, out, _ = suite("--compare", "baseline.json", "--tolerance", "50%,floor=0ms")
    assert 1 == status
    assert "WORSE    ours/framework: latency was 0.0 ms, is " in out
    assert "; the most at proxy http://127." in out
    assert "WORSE    ours/framework: throughput up was 1000000.00 MB/s, is " in out
    assert "note     direct/closed: was ok, is server-port-closed, as expected" in out
    assert "note     gone/framework: is in the baseline only" in out
    table = suite("--compare", "baseline.json", "--report", "markdown")[1]
    assert "| ours | ❌ ok, worse | ✅ proxy-port-policy |" in table
    root = assert_valid(suite("--compare", "baseline.json", "--report", "junit")[1])
    failed = {case.get("name") for case in root.iter("testcase") if case.find("failure") is not None}
    assert {"framework baseline"} == failed


def test_a_proxy_that_has_become_slow(suite: Run, file: Path, server: Endpoint, proxy: Endpoint) -> None:
    """Only its path is worse, in throughput; paths that do not work are not measured."""
    assert 0 == suite("--save", "baseline.json", "--only", "*/framework")[0]
    plan = FaultPlan((rule_from_text("bandwidth:bytes_per_second=100000,direction=both", "fault"),), 0)
    with beside(lambda: PlainPort(FREE, proxy, plan)) as slow:
        file.write_text(file.read_text().replace(f"http://{proxy}", f"http://{slow.endpoint}"))
        status, out, _ = suite("--compare", "baseline.json", "--tolerance", "latency=1000000%")
    assert 1 == status
    assert "WORSE    ours/framework: throughput up was " in out
    assert "note     ours/closed: is not in the baseline" in out


def test_a_baseline_of_a_run_that_fails(suite: Run, file: Path) -> None:
    """It is kept, and told: in the lines and reports, and on stderr where a report takes stdout."""
    broken(file)
    words = "baseline bad.json keeps what is not as expected: direct/framework, ours/framework, direct/closed"
    status, out, err = suite("--save", "bad.json")
    assert (1, True, "") == (status, f"note     {words}\n" in out, err)
    status, out, err = suite("--save", "bad.json", "--report", "json")
    assert (1, [words]) == (status, json.loads(out)["notes"])
    assert f"relay suite: warning: {words}\n" == err


def test_a_baseline_that_is_not_whole(suite: Run, file: Path) -> None:
    """What --fail-fast has left out may not be in it."""
    broken(file)
    _, out, _ = suite("--save", "bad.json", "--fail-fast", "--jobs", "1")
    assert "note     baseline bad.json may lack what was not run: " in out


def test_a_baseline_of_old(suite: Run, file: Path, tmp_path: Path) -> None:
    """What was measured otherwise is not compared."""
    (tmp_path / "old.json").write_text('{"baseline_version": 1, "paths": {}}')
    status, _, err = suite("--compare", "old.json")
    assert (2, True) == (status, "baseline_version: 1; this program reads version 2; expected a file" in err)


def test_a_folder_that_is_not_there(suite: Run, file: Path) -> None:
    """It is told before anything is checked: there is no line of a check."""
    for option, value, why in (
        ("--report", "junit=none/out.xml", "No such file or directory"),
        ("--save", "none/baseline.json", "No such file or directory"),
        ("--save", ".", "Is a directory"),
    ):
        status, out, err = suite(option, value)
        told = f"relay suite: {option}: cannot write '{value.rpartition('=')[2]}': {why}"
        assert (2, "", True) == (status, out, err.startswith(told))


def test_one_file_that_cannot_be_written_does_not_cost_the_others(
    suite: Run, file: Path, tmp_path: Path
) -> None:
    """A full disk under one report is status 2 and its name; the other reports and the baseline are there."""
    status, _, err = suite(
        "--report", "junit=/dev/full", "--report", f"html={tmp_path}/out.html", "--save", f"{tmp_path}/saved"
    )
    assert (2, "relay suite: --report: cannot write '/dev/full': No space left on device\n") == (status, err)
    assert [True, True] == [(tmp_path / name).stat().st_size > 0 for name in ("out.html", "saved")]


@pytest.mark.parametrize("jobs", [1, 4])
def test_output_that_nobody_takes(file: Path, jobs: int) -> None:
    """A full disk or a closed pipe under stdout is status 1, in one line or none; no traceback."""
    command = [SCRIPTS / "relay", "suite", "-f", str(file), "--jobs", str(jobs)]
    given = environment(SUITE_PASSWORD=SECRET)
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, env=given, timeout=60)
    assert (1, b"relay suite: cannot go on: No space left on device\n") == (done.returncode, done.stderr)
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "wb") as closed_pipe:
        done = subprocess.run(command, stdout=closed_pipe, stderr=subprocess.PIPE, env=given, timeout=60)
    assert (1, b"") == (done.returncode, done.stderr)


def test_stdout_that_is_closed(file: Path) -> None:
    """The lines go nowhere and the status tells; a report that would go there is a mistake, told at once."""
    given = environment(SUITE_PASSWORD=SECRET)
    for more, expected in (
        ("", (0, b"")),
        ("--report html", (2, b"relay suite: --report: stdout is closed; expected a file, or stdout open\n")),
    ):
        command = f"'{SCRIPTS / 'relay'}' suite -f '{file}' --only direct/closed {more} >&-"
        done = subprocess.run(
            ["/bin/sh", "-c", command], stderr=subprocess.PIPE, env=given, timeout=60
        )
        assert expected == (done.returncode, done.stderr)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("-f", "none.toml"), "none.toml: cannot be read: No such file or directory"),
        (("--report", "pdf"), "--report: 'pdf'; expected one of github, html, json, junit, markdown, "),
        (("--report", "html", "--report", "junit=-"), "--report: html and junit both to stdout, where no"),
        (("--report", "html=/none/x"), "--report: cannot write '/none/x': No such file"),
        (("--compare", "none.json"), "--compare: cannot read 'none.json': No such file"),
        (("--compare", "relay.toml"), "--compare: 'relay.toml': this is no JSON"),
        (("--compare", ""), "--compare: ''; expected the name of a file"),
        (("--save", ""), "--save: ''; expected the name of a file"),
        (("--tolerance", "fast"), "--tolerance: 'fast'; expected N%, latency=N%, throughput=N% or floor=Nms"),
        (("--tolerance", "=5"), "--tolerance: '=5'; expected"),
        (("--jobs", "65"), "--jobs: 65; expected at most 64"),
        (("--repeat", "0"), "--repeat: '0'; expected a whole number from 1"),
    ],
)
def test_wrong_usage(suite: Run, file: Path, arguments: tuple[str, ...], words: str) -> None:
    """Status 2 and one line that says what was expected."""
    status, _, err = suite(*arguments, "--only", "direct/closed")
    assert (2, 1) == (status, err.count("\n"))
    assert words in err


def test_progress_on_a_terminal(file: Path) -> None:
    """On a terminal there are colours and a bar while it runs; every result is still a line."""
    leader, follower = pty.openpty()
    command = [SCRIPTS / "relay", "suite", "-f", str(file), "--only", "direct/*"]
    env = environment(TERM="xterm", SUITE_PASSWORD=SECRET)
    with subprocess.Popen(command, stdout=follower, stdin=subprocess.DEVNULL, env=env) as process:
        os.close(follower)
        said = read_all(leader)
    os.close(leader)
    assert 0 == process.returncode, said
    assert b"\x1b[32mok" in said
    assert b"direct/framework: ok, as expected" in said


def read_all(descriptor: int) -> bytes:
    said = b""
    while True:
        try:
            data = os.read(descriptor, 65536)
        except OSError:  # EIO: the other side of the terminal is closed (pty(7))
            return said
        if not data:
            return said
        said += data


def test_sigterm_ends_it(tmp_path: Path) -> None:
    """While a check waits: status 130 as of ^C, no traceback."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        path = tmp_path / "relay.toml"
        path.write_text(
            f'[target.silent]\nat = "127.0.0.1:{silent.getsockname()[1]}"\n'
            '[[path]]\nroute = "direct"\ntarget = "silent"\nexpect = "server-silent"\ntimeout_seconds = 60\n'
        )
        command = [SCRIPTS / "relay", "suite", "-f", str(path)]
        pipe: Any = subprocess.PIPE
        with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, env=environment()) as process:
            silent.accept()[0].close()
            process.send_signal(signal.SIGTERM)
            out, err = process.communicate()
    assert (130, "") == (process.returncode, err), out
