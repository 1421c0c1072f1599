"""`relay proxy` as a service: profile and signals, admin listener, limits; alone and with workers."""

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from relay.limits import Limits
from relay.metrics import Metrics
from tests.path.proxied import LOOPS, Proxied, Target, connect_head, get_head, read_all, read_head, status_of

RELAY = (sys.executable, "-c", "import sys; from relay.commands import main; sys.exit(main())")
PATIENCE_SECONDS = 30.0
ONE_OR_MORE = pytest.mark.parametrize("workers", [1, 3])


class Service:
    """A running `relay proxy`, with what it says on stderr."""

    def __init__(self, popen: subprocess.Popen[str]) -> None:
        self.popen = popen
        self.lines: list[str] = []
        self.admin = ""
        self._came = threading.Condition()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()
        self.port = int(self.says(r"listening on 127\.0\.0\.1:(\d+)")[1])

    def _read(self) -> None:
        assert self.popen.stderr is not None
        for line in self.popen.stderr:
            with self._came:
                if found := re.search("admin on (http://.*)", line):
                    self.admin = found[1]
                self.lines.append(line.rstrip("\n"))
                self._came.notify_all()

    def says(self, pattern: str) -> re.Match[str]:
        """Wait for a line."""
        def find() -> re.Match[str] | None:
            return next(filter(None, (re.search(pattern, line) for line in self.lines)), None)

        with self._came:
            found = self._came.wait_for(find, PATIENCE_SECONDS)
        assert found is not None, self.lines
        self.lines.clear()
        return found

    def client(self, data: bytes) -> socket.socket:
        sock = socket.create_connection(("127.0.0.1", self.port), PATIENCE_SECONDS)
        sock.sendall(data)
        return sock

    def status(self, authority: str) -> int:
        """Of a CONNECT that is closed again."""
        with self.client(connect_head(authority)) as near:
            return status_of(read_head(near))

    def end(self) -> int:
        status = self.popen.wait(PATIENCE_SECONDS)
        self._reader.join(PATIENCE_SECONDS)
        return status


@contextmanager
def service(
    *options: str, cwd: Path | None = None, env: dict[str, str] | None = None
) -> Iterator[Service]:
    command = [*RELAY, "proxy", "--listen", "127.0.0.1:0", *options]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=cwd, env=env) as popen:
        try:
            running = Service(popen)
            yield running
        finally:
            popen.kill() if popen.poll() is None else None
            popen.wait(PATIENCE_SECONDS)
            running._reader.join(PATIENCE_SECONDS)


def ask(url: str) -> tuple[int, str]:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=PATIENCE_SECONDS) as reply:
            return reply.status, reply.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def metric(text: str, name: str) -> float:
    found = re.search(rf"(?m)^{re.escape(name)} (\S+)$", text)
    assert found is not None, text
    return float(found[1])


def eventually(check: Callable[[], Any]) -> None:
    """What another process does soon."""
    end = time.monotonic() + PATIENCE_SECONDS
    while not check():
        assert time.monotonic() < end
        threading.Event().wait(0.02)


@contextmanager
def open_tunnel(running: Service) -> Iterator[tuple[socket.socket, socket.socket]]:
    with Target() as target, running.client(connect_head(target.authority)) as near:
        with target.accept() as far:
            assert 200 == status_of(read_head(near))
            yield near, far


def works(near: socket.socket, far: socket.socket) -> bool:
    near.sendall(b"ping")
    assert b"ping" == far.recv(4)
    far.sendall(b"pong")
    return near.recv(4) == b"pong"


@ONE_OR_MORE
def test_a_hangup_reads_the_profile_again(tmp_path: Path, workers: int) -> None:
    """New rules and lists hold for new requests; a broken file changes nothing, and is told; tunnels stay."""
    allowed, profile = tmp_path / "hosts", tmp_path / "p.toml"
    rule = '[access]\ndefault = "deny"\n[[access.rule]]\naction = "allow"\nhost = { file = "hosts" }\n'
    profile.write_text(rule)
    allowed.write_text("127.0.0.1\n")
    with Target() as target, service("--config", str(profile), "--workers", str(workers)) as running:
        with open_tunnel(running) as (near, far):
            allowed.write_text("127.0.0.2\n")
            running.popen.send_signal(signal.SIGHUP)
            running.says("reloaded")
            # A worker hears of it a moment after its parent has said so
            eventually(lambda: {running.status(target.authority) for _ in range(8)} == {403})
            allowed.write_text("127.0.0.1\na b\n")
            running.popen.send_signal(signal.SIGHUP)
            running.says(r"not reloaded, all stays as it was: .*hosts: line 2: 'a b'")
            assert {403} == {running.status(target.authority) for _ in range(8)}
            assert works(near, far)
        running.popen.terminate()
        assert 0 == running.end()


def test_a_hangup_before_a_worker_has_begun_is_not_lost(tmp_path: Path) -> None:
    """The profile that it begins with is older than the one that its parent has read again."""
    go, profile = tmp_path / "go", tmp_path / "p.toml"
    # Python imports this at its start; here it keeps workers from going on behind the fork
    (tmp_path / "sitecustomize.py").write_text(
        "import os, threading\n"
        "def wait():\n"
        f"    while not os.path.exists({str(go)!r}):\n"
        "        threading.Event().wait(0.01)\n"
        "os.register_at_fork(after_in_child=wait)\n"
    )
    profile.write_text("")
    env = {**os.environ, "PYTHONPATH": str(tmp_path)}
    options = ("--config", str(profile), "--workers", "2")
    with Target() as target, service(*options, env=env) as running:
        profile.write_text('[access]\ndefault = "deny"\n')
        running.popen.send_signal(signal.SIGHUP)
        running.says("reloaded")
        go.touch()
        eventually(lambda: {running.status(target.authority) for _ in range(8)} == {403})


def test_new_values_of_the_listener_need_a_restart(tmp_path: Path) -> None:
    """It says so."""
    profile = tmp_path / "p.toml"
    profile.write_text("")
    with service("--config", str(profile)) as running:
        profile.write_text("[limits]\nhead_timeout_seconds = 3\n")
        running.popen.send_signal(signal.SIGHUP)
        running.says("reloaded; new values of .* need a restart")


def test_a_hangup_opens_the_log_again(tmp_path: Path) -> None:
    """logrotate moves the file away; what comes later is in a new one of the same name."""
    profile, log = tmp_path / "p.toml", tmp_path / "access.log"
    profile.write_text('[log]\nfile = "access.log"\n')
    with service("--config", str(profile), "--allow-port", "1") as running:
        assert 403 == running.status("127.0.0.1:2")
        log.rename(tmp_path / "access.log.1")
        running.popen.send_signal(signal.SIGHUP)
        running.says("reloaded")
        assert 403 == running.status("127.0.0.1:3")
        running.popen.terminate()
        running.end()
    assert ["127.0.0.1:3"] == [json.loads(line)["target"] for line in log.read_text().splitlines()]
    assert '"127.0.0.1:2"' in (tmp_path / "access.log.1").read_text()


@ONE_OR_MORE
def test_a_hangup_with_a_broken_profile_opens_the_log_again(tmp_path: Path, workers: int) -> None:
    """logrotate does not wait for a better profile. Told once; each process counts it."""
    profile, log = tmp_path / "p.toml", tmp_path / "access.log"
    profile.write_text('[log]\nfile = "access.log"\n')
    options = ("--config", str(profile), "--admin", "0", "--allow-port", "1", "--workers", str(workers))
    with service(*options) as running:
        # A worker that answers listens to signals
        eventually(lambda: metric(ask(f"{running.admin}/metrics")[1], "relay_workers_silent") == 0)
        log.rename(tmp_path / "access.log.1")
        profile.write_text("[log")
        running.popen.send_signal(signal.SIGHUP)
        running.says("not reloaded, all stays as it was: .*this is no TOML")
        failed = f'relay_reloads_total{{outcome="failed"}} {workers}.0\n'
        eventually(lambda: failed in ask(f"{running.admin}/metrics")[1])
        assert 403 == running.status("127.0.0.1:3")
        running.popen.terminate()
        running.end()
        assert [] == [line for line in running.lines if "reloaded" in line]
    assert ["127.0.0.1:3"] == [json.loads(line)["target"] for line in log.read_text().splitlines()]


@contextmanager
def hangups_are(how: signal.Handlers) -> Iterator[None]:
    """What is started has it from its parent: tests may run under nohup(1) themselves."""
    before = signal.signal(signal.SIGHUP, how)
    yield
    signal.signal(signal.SIGHUP, before)


@ONE_OR_MORE
def test_without_a_profile_a_hangup_ends_the_proxy(workers: int) -> None:
    """As SIGINT does: those behind open tunnels must not take the end of a terminal for a clean end."""
    with hangups_are(signal.SIG_DFL), service("--workers", str(workers)) as running:
        with open_tunnel(running) as (near, _):
            running.popen.send_signal(signal.SIGHUP)
            assert (b"", "RST") == read_all(near)
        assert 0 == running.end()


@ONE_OR_MORE
def test_under_nohup_the_end_of_a_terminal_is_not_heard(workers: int) -> None:
    """All processes of its group are told; tunnels go on."""
    with hangups_are(signal.SIG_IGN), service("--workers", str(workers)) as running:
        pid = running.popen.pid
        with open_tunnel(running) as (near, far):
            workers_there = Path(f"/proc/{pid}/task/{pid}/children").read_text("ascii").split()
            for each in (pid, *map(int, workers_there)):
                os.kill(each, signal.SIGHUP)
            assert works(near, far)
            assert works(far, near)
        running.popen.terminate()
        assert 0 == running.end()


@ONE_OR_MORE
def test_sigterm_lets_tunnels_end(workers: int) -> None:
    """With --grace nobody new comes in, what is open goes on, and the last tunnel's end is the proxy's."""
    with service("--grace", "3600", "--workers", str(workers)) as running:
        with open_tunnel(running) as (near, far):
            running.popen.terminate()
            eventually(lambda: not is_listening(running.port))
            assert works(near, far)
        assert 0 == running.end()


@ONE_OR_MORE
def test_health_is_told_until_the_last_tunnel_has_ended(workers: int) -> None:
    """Whichever worker it is in: 503 and how many are open; a worker that is done is none that is silent."""
    with service("--admin", "0", "--grace", "3600", "--workers", str(workers)) as running:
        with contextlib.ExitStack() as stack:
            tunnels = [contextlib.ExitStack() for _ in range(8)]
            for tunnel in tunnels:
                stack.enter_context(tunnel)
                tunnel.enter_context(open_tunnel(running))
            running.popen.terminate()
            eventually(lambda: not is_listening(running.port))
            for left in range(8, 0, -1):
                eventually(lambda left=left: _health(running.admin)["tunnels_open"] == left)
                health = _health(running.admin)
                assert ("draining", 0) == (health["status"], health["workers_silent"])
                tunnels[left - 1].close()
        assert 0 == running.end()


def _health(admin: str) -> dict[str, Any]:
    status, text = ask(f"{admin}/healthz")
    assert status == 503
    found: dict[str, Any] = json.loads(text)
    return found


@ONE_OR_MORE
@pytest.mark.parametrize("then", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_ends_the_wait(workers: int, then: signal.Signals) -> None:
    """Tunnels are reset then."""
    with service("--grace", "3600", "--workers", str(workers)) as running:
        with open_tunnel(running) as (near, _):
            running.popen.terminate()
            eventually(lambda: not is_listening(running.port))
            running.popen.send_signal(then)
            assert (b"", "RST") == read_all(near)
        assert 0 == running.end()


@ONE_OR_MORE
def test_an_interrupt_waits_for_nobody(workers: int) -> None:
    """SIGINT is a person who wants it over, whatever --grace says."""
    with service("--grace", "3600", "--workers", str(workers)) as running:
        with open_tunnel(running) as (near, _):
            running.popen.send_signal(signal.SIGINT)
            assert (b"", "RST") == read_all(near)
        assert 0 == running.end()


def test_grace_ends() -> None:
    """What is still open then is reset."""
    with service("--grace", "0.2") as running:
        with open_tunnel(running) as (near, _):
            running.popen.terminate()
            assert (b"", "RST") == read_all(near)
        assert 0 == running.end()


def is_listening(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), PATIENCE_SECONDS).close()
    except OSError:
        return False
    return True


@ONE_OR_MORE
def test_the_admin_listener(workers: int) -> None:
    """Health, open tunnels, and metrics in which bytes count while their tunnel is open: of all workers."""
    with service("--admin", "0", "--workers", str(workers), "--allow-port", "1024-65535") as running:
        admin = running.admin
        with open_tunnel(running) as (near, far), open_tunnel(running) as (other, _):
            for _ in range(6):
                assert 403 == running.status("127.0.0.1:22")
            assert works(near, far)
            health = json.loads(ask(f"{admin}/healthz")[1])
            assert ("ok", workers, 0, 2) == tuple(
                health[key] for key in ("status", "workers", "workers_silent", "tunnels_open")
            )
            tunnels = json.loads(ask(f"{admin}/tunnels")[1])["tunnels"]
            clients = [f"127.0.0.1:{sock.getsockname()[1]}" for sock in (near, other)]
            assert clients == [tunnel["client"] for tunnel in tunnels]
            eventually(lambda: metric(ask(f"{admin}/metrics")[1], 'relay_bytes_total{direction="up"}') == 4)
            text = ask(f"{admin}/metrics")[1]
            assert 2 == metric(text, "relay_tunnels_open")
            assert 2 == metric(text, "relay_dial_seconds_count")
            denied = 'relay_requests_total{method="CONNECT",outcome="http_request_denied",status="403"}'
            assert 6 == metric(text, denied)
        eventually(lambda: metric(ask(f"{admin}/metrics")[1], "relay_tunnels_open") == 0)
        assert 4 == metric(ask(f"{admin}/metrics")[1], 'relay_bytes_total{direction="up"}')
        running.popen.terminate()
        assert 0 == running.end()


@pytest.mark.parametrize("loop", LOOPS)
def test_connections_beyond_the_limit(loop: str) -> None:
    """503 at once, whatever is sent; who leaves makes room; it is logged and counted."""
    metrics = Metrics()
    with Proxied(loop, limits=Limits(client_connections=2), metrics=metrics) as proxied, Target() as target:
        with proxied.client(), proxied.client(connect_head(target.authority)) as near, target.accept():
            assert 200 == status_of(read_head(near))
            with proxied.client() as third:
                reply, end = read_all(third)
                assert (503, "FIN") == (status_of(reply), end)
                assert b"error=connection_limit_reached" in reply
            entry = proxied.entry()
            assert (503, "-") == (entry["status"], entry["method"])
        proxied.entry()
        assert (0, 0, 0) == proxied.settled()
        with proxied.client(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n") as again:
            assert 405 == status_of(read_all(again)[0])
    assert 1 == metrics.turned_away


@pytest.mark.parametrize("loop", LOOPS)
def test_tunnels_and_requests_beyond_the_limit(loop: str) -> None:
    """A tunnel too many is 503, a request too soon 429; a connection in which it comes closes."""
    limits = Limits(client_tunnels=1, client_requests_per_second=0.001, client_burst=3)
    with Proxied(loop, limits=limits) as proxied, Target() as target:
        with proxied.client(connect_head(target.authority)) as near, target.accept():
            assert 200 == status_of(read_head(near))
            for head, status in ((connect_head, 503), (get_head, 200), (get_head, 429)):
                with proxied.client(head(target.authority)) as more:
                    if status == 200:
                        with target.accept() as origin:
                            read_head(origin)
                            origin.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
                            assert 200 == status_of(read_head(more))
                    else:
                        assert (status, "FIN") == (status_of((reply := read_all(more))[0]), reply[1])
                assert status == proxied.entry()["status"]


def test_passwords_of_the_command_line(tmp_path: Path) -> None:
    """`relay proxy passwd` reads one line; the file works in a profile; the password is in neither."""
    def passwd(user: str, line: str) -> subprocess.CompletedProcess[str]:
        command = [*RELAY, "proxy", "passwd", str(tmp_path / "users"), user]
        return subprocess.run(command, input=line, capture_output=True, text=True, timeout=PATIENCE_SECONDS)

    done = passwd("alice", "tr0ub4dor\n")
    assert (0, "") == (done.returncode, done.stdout)
    assert re.fullmatch(r"relay proxy passwd: added alice in .*users\n", done.stderr)
    assert passwd("alice", "again").stderr.startswith("relay proxy passwd: changed alice")
    for user, line, words in (("a:b", "x\n", "no colon"), ("bob", "", "password: expected 1 to 1024")):
        wrong = passwd(user, line)
        assert (2, 1) == (wrong.returncode, len(wrong.stderr.splitlines()))
        assert words in wrong.stderr
    assert "again" not in (tmp_path / "users").read_text()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--config", "/nowhere.toml"], "/nowhere.toml: cannot be read: No such file"),
        (["--admin", "x"], "--admin: port 'x'"),
        (["--admin", "192.0.2.1:1"], "--admin: cannot listen on 192.0.2.1:1"),
        (["--grace", "-1"], "--grace"),
        (["--log-format", "xml"], "--log-format"),
    ],
)
def test_options_that_cannot_be(options: list[str], words: str) -> None:
    """One line that names the option, and status 2."""
    command = [*RELAY, "proxy", "--listen", "127.0.0.1:0", *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_SECONDS)
    assert 2 == done.returncode, done.stderr
    assert words in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("text", "options", "words"),
    [
        ('[listen]\non = ["192.0.2.1:1"]\n', [], "p.toml: cannot listen on 192.0.2.1:1: "),
        ('[listen]\non = ["192.0.2.1:1"]\n', ["--workers", "2"], "p.toml: cannot listen on 192.0.2.1:1: "),
        ('[listen]\nadmin = "192.0.2.1:1"\n', [], "p.toml: [listen]: admin: cannot listen on 192.0.2.1:1: "),
        ('[listen]\nadmin = "127.0.0.1:0"\n', ["--admin", "192.0.2.1:1"], "--admin: cannot listen on 192."),
        ("", ["--listen", "192.0.2.1:1"], "--listen: cannot listen on 192.0.2.1:1: "),
        ("", ["--unix-listen", "no/where"], "--unix-listen: cannot listen on unix:no/where: "),
    ],
)
def test_who_has_named_an_address_that_cannot_be_listened_on(
    tmp_path: Path, text: str, options: list[str], words: str
) -> None:
    """The profile where it says so, the option where that was given: no option that nobody has written."""
    (tmp_path / "p.toml").write_text(text)
    command = [*RELAY, "proxy", "--config", "p.toml", *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_SECONDS, cwd=tmp_path)
    *_, last = done.stderr.splitlines()
    assert (2, f"relay proxy: {words}") == (done.returncode, last[: len("relay proxy: ") + len(words)])
