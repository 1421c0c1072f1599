"""`relay proxy --workers N`: several processes behind one address."""

import json
import os
import re
import select
import shlex
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

RELAY = (sys.executable, "-c", "import sys; from relay.commands import main; sys.exit(main())")
WORKERS = 3
PATIENCE_SECONDS = 30


@contextmanager
def proxy(*options: str) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A proxy with workers, and its port."""
    command = [*RELAY, "proxy", "--listen", "127.0.0.1:0", "--workers", str(WORKERS), *options]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as running:
        try:
            assert running.stderr is not None
            found = re.fullmatch(r"relay proxy: listening on 127\.0\.0\.1:(\d+)\n", running.stderr.readline())
            assert found is not None
            yield running, int(found[1])
        finally:
            running.terminate()


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def refused(port: int) -> bytes:
    """The head of the reply to a CONNECT that no policy lets through."""
    with socket.create_connection(("127.0.0.1", port), PATIENCE_SECONDS) as sock:
        sock.sendall(b"CONNECT 127.0.0.1:1 HTTP/1.1\r\nHost: x\r\n\r\n")
        sock.settimeout(PATIENCE_SECONDS)
        return sock.recv(64)


def test_all_workers_serve_one_port_and_one_log(tmp_path: Path) -> None:
    """Every request is answered and logged on its own line; SIGTERM ends all with status 0."""
    log = tmp_path / "access.log"
    with proxy("--allow-port", "443", "--access-log", str(log)) as (running, port):
        assert WORKERS == len(children(running.pid))
        assert {b"HTTP/1.1 403 Forbidden"} == {refused(port)[:22] for _ in range(60)}
        running.send_signal(signal.SIGTERM)
        assert 0 == running.wait(PATIENCE_SECONDS)
    assert [403] * 60 == [json.loads(line)["status"] for line in log.read_text("utf-8").splitlines()]


def test_workers_without_stdout() -> None:
    """Whoever has started the proxy has closed it: workers serve, and end with status 0 and no traceback."""
    command = f"exec {' '.join(map(shlex.quote, RELAY))} proxy --listen 127.0.0.1:0 --workers 2 >&-"
    with subprocess.Popen(["/bin/sh", "-c", command], stderr=subprocess.PIPE, text=True) as running:
        assert running.stderr is not None
        port = int(running.stderr.readline().rpartition(":")[2])
        assert refused(port).startswith(b"HTTP/1.1 502")
        running.terminate()
        assert (0, "relay proxy: stopped\n") == (running.wait(PATIENCE_SECONDS), running.stderr.read())


def test_when_one_worker_dies_the_proxy_ends() -> None:
    """Half a proxy is harder to see than none: the others end too; the status says it was no stop."""
    with proxy() as (running, _):
        victim = children(running.pid)[1]
        os.kill(victim, signal.SIGKILL)
        assert running.wait(PATIENCE_SECONDS) > 0
        assert running.stderr is not None
        assert f"worker {victim} ended by itself" in running.stderr.read()


def test_workers_do_not_outlive_their_parent() -> None:
    """Even kill -9 of the parent leaves no process behind."""
    with proxy() as (running, _):
        # pidfd_open(2): unlike a pid, it cannot come to mean another process
        handles = [os.pidfd_open(pid) for pid in children(running.pid)]
        running.kill()
        for handle in handles:
            assert [handle] == select.select([handle], [], [], PATIENCE_SECONDS)[0]
            os.close(handle)


def test_an_interrupt_from_the_terminal_ends_all() -> None:
    """^C reaches the parent and the workers alike; all end, with status 0."""
    with proxy() as (running, _):
        for pid in (running.pid, *children(running.pid)):
            os.kill(pid, signal.SIGINT)
        assert 0 == running.wait(PATIENCE_SECONDS)


@pytest.mark.parametrize("value", ["0", "-1", "65", "two", ""])
def test_a_wrong_number_of_workers_is_refused(value: str) -> None:
    """Exit status 2 and one line that names the flag."""
    done = subprocess.run(
        [*RELAY, "proxy", f"--workers={value}"], capture_output=True, text=True, timeout=PATIENCE_SECONDS
    )
    assert (2, 1) == (done.returncode, len(done.stderr.splitlines()))
    assert "--workers" in done.stderr
