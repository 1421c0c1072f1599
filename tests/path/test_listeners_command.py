"""`relay proxy` with TLS and Unix listeners: from a profile or by options, with workers, read again."""

import os
import re
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trustme

from tests.path.proxied import connect_head, read_head

RELAY = (sys.executable, "-c", "import sys; from relay.commands import main; sys.exit(main())")
PATIENCE_SECONDS = 30


@contextmanager
def proxy(places: int, *options: object) -> Iterator[tuple[subprocess.Popen[str], list[str]]]:
    """The command, and where it says that it listens."""
    command = [*RELAY, "proxy", *map(str, options)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as running:
        try:
            assert running.stderr is not None
            lines = [running.stderr.readline() for _ in range(places)]
            yield running, [line.removeprefix("relay proxy: listening on ").strip() for line in lines]
        finally:
            running.terminate()


def pem_of(authority: trustme.CA) -> bytes:
    made = authority.issue_cert("localhost", "127.0.0.1")
    return made.private_key_pem.bytes() + b"".join(blob.bytes() for blob in made.cert_chain_pems)


def refused_in_tls(place: str, ca: Path) -> bytes:
    """The reply to a CONNECT that the policy refuses."""
    port = int(re.fullmatch(r"127\.0\.0\.1:(\d+), TLS", place)[1])  # type: ignore[index]
    context = ssl.create_default_context(cafile=str(ca))
    below = socket.create_connection(("127.0.0.1", port), PATIENCE_SECONDS)
    with context.wrap_socket(below, server_hostname="localhost") as sock:
        sock.sendall(connect_head("127.0.0.1:1"))
        return read_head(sock)


PROFILE = """
[access]
default = "deny"
[[listener]]
on = "127.0.0.1:0"
tls = true
certificate = "ours.pem"
[[listener]]
on = "unix:relay.sock"
mode = "660"
"""


@pytest.mark.parametrize("workers", [1, 2])
def test_a_certificate_is_read_again(workers: int, tmp_path: Path) -> None:
    """SIGHUP takes a new certificate for new connections; a broken one changes nothing, and is told."""
    old, new = trustme.CA(), trustme.CA()
    for name, authority in (("old", old), ("new", new)):
        authority.cert_pem.write_to_path(str(tmp_path / f"{name}.pem"))
    profile, ours, path = tmp_path / "p.toml", tmp_path / "ours.pem", tmp_path / "relay.sock"
    profile.write_text(PROFILE)
    ours.write_bytes(pem_of(old))
    with proxy(2, "--config", profile, "--workers", workers) as (running, places):
        assert f"unix:{path}" == places[1]
        assert 0o660 == path.stat().st_mode & 0o777
        assert refused_in_tls(places[0], tmp_path / "old.pem").startswith(b"HTTP/1.1 403 ")
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(str(path))
            sock.sendall(connect_head("127.0.0.1:1"))
            assert read_head(sock).startswith(b"HTTP/1.1 403 ")
        ours.write_bytes(pem_of(new))
        running.send_signal(signal.SIGHUP)
        assert running.stderr is not None
        assert "relay proxy: reloaded\n" == running.stderr.readline()
        if workers == 1:
            assert refused_in_tls(places[0], tmp_path / "new.pem").startswith(b"HTTP/1.1 403 ")
        ours.write_text("no certificate")
        running.send_signal(signal.SIGHUP)
        line = ""
        while "[[listener]] 1: certificate" not in line:
            # A worker that comes late to the first signal has perhaps read the broken one
            line = running.stderr.readline()
            assert "not reloaded, all stays as it was" in line
        running.terminate()
        assert 0 == running.wait(PATIENCE_SECONDS)
    assert not path.exists()


def test_a_throw_away_authority_serves_all_workers(tmp_path: Path) -> None:
    """Every worker shows a certificate of the same authority, whose file the client trusts."""
    ca = tmp_path / "ca.pem"
    options = ("--tls-listen", "127.0.0.1:0", "--tls-throwaway-ca", ca, "--workers", 2, "--allow-port", 443)
    with proxy(1, *options) as (_, places):
        assert {b"HTTP/1.1 403 "} == {refused_in_tls(places[0], ca)[:13] for _ in range(8)}


def test_a_throw_away_authority_replaces_no_pipe(tmp_path: Path) -> None:
    """What is no file is refused at once: a pipe is not waited for, and a device is not made a file."""
    os.mkfifo(tmp_path / "pipe")
    done = subprocess.run(
        [*RELAY, "proxy", "--tls-listen", "127.0.0.1:0", "--tls-throwaway-ca", str(tmp_path / "pipe")],
        capture_output=True, text=True, timeout=PATIENCE_SECONDS,
    )  # fmt: skip
    assert (2, True) == (done.returncode, "pipe' holds something else; expected no file" in done.stderr)
    assert (tmp_path / "pipe").is_fifo()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--tls-listen", "127.0.0.1:0"], "--tls-cert or --tls-throwaway-ca"),
        (["--tls-cert", "x.pem"], "--tls-cert: given without --tls-listen"),
        (["--tls-listen", "127.0.0.1:0", "--tls-cert", "/nowhere.pem"], "cannot read '/nowhere.pem'"),
        (["--tls-listen", "127.0.0.1:0", "--tls-throwaway-ca", __file__], "holds something else"),
        (["--unix-listen", "x" * 200], "expected unix:PATH"),
        (["--accept-proxy-protocol", "10.0.0.1/8"], "expected an address or a network"),
    ],
)
def test_what_cannot_be_is_refused(options: list[str], words: str) -> None:
    """Exit status 2 and one line that says what was expected."""
    done = subprocess.run(
        [*RELAY, "proxy", *options], capture_output=True, text=True, timeout=PATIENCE_SECONDS
    )
    assert (2, 1) == (done.returncode, len(done.stderr.splitlines())), done.stderr
    assert words in done.stderr
