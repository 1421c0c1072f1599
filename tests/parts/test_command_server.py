"""`relay server` and the rest of `relay`: what it says when it starts and stops, and what it refuses."""

import http.client
import json
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Self

import pytest

import relay
from relay.commands import COMMANDS, guarded, main
from relay.route import Endpoint

PROGRAM = (sys.executable, "-c", "import sys; from relay.commands import main; sys.exit(main())")
Ping = Callable[..., tuple[int, str, str]]


class Server:
    """`relay server` in a process of its own, up once all its listeners are."""

    def __init__(self, *arguments: object, listeners: int = 1) -> None:
        self.said: list[str] = []
        self.endpoints: list[Endpoint] = []
        self.popen = subprocess.Popen(
            [*PROGRAM, "server", *map(str, arguments)], stderr=subprocess.PIPE, text=True
        )
        while len(self.endpoints) < listeners:
            line = self.says()
            assert line, self.said
            self.said.append(line)
            if match := re.fullmatch(r"relay server: listening on (.*)\n", line):
                self.endpoints.append(Endpoint.parse(match[1]))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.popen.kill()
        self.popen.wait()
        assert self.popen.stderr is not None
        self.popen.stderr.close()

    def says(self) -> str:
        assert self.popen.stderr is not None
        return self.popen.stderr.readline()

    def stop(self, number: int = signal.SIGTERM) -> tuple[int, str]:
        """Its exit status and what it said meanwhile."""
        self.popen.send_signal(number)
        _, err = self.popen.communicate(timeout=10)
        return self.popen.returncode, err


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
def test_serves_and_journals_until_it_is_told_to_stop(ping: Ping, tmp_path: Path, number: int) -> None:
    """A line for each listener, one for each ended connection; JSON in the journal; status 0 at a signal."""
    journal = tmp_path / "journal.jsonl"
    journal.write_text('{"from": "before"}\n')
    listen = ("--listen", "127.0.0.1:0", "--listen", "[::1]:0", "--journal", journal)
    with Server(*listen, listeners=2) as server:
        for endpoint in server.endpoints:
            assert 0 == ping("-c", 1, endpoint)[0]
        first = server.endpoints[0]
        with socket.create_connection((first.host, first.port)) as still_open:
            still_open.sendall(b"GET / HTTP/1.1\r\n\r\n")
            assert b"" == still_open.recv(100)
            with socket.create_connection((first.host, first.port)):
                assert 0 == ping("-c", 1, first)[0]
                status, said = server.stop(number)
    assert 0 == status
    assert said.endswith("relay server: stopped\n")
    assert "frame-too-large (a frame of 1195725856 bytes is announced" in said
    assert "looks like an HTTP request" in said
    before, *records = [json.loads(line) for line in journal.read_text().splitlines()]
    assert {"from": "before"} == before
    assert ["client-closed", "client-closed", "client-closed", "frame-too-large", "server-stopped"] == sorted(
        record["ended"] for record in records
    )
    assert {"127.0.0.1", "[::1]"} == {record["local"].rpartition(":")[0] for record in records}


def test_options_reach_the_server(ping: Ping, tmp_path: Path) -> None:
    """Key, idle timeout and connection limit are those of the command line."""
    key = tmp_path / "key"
    key.write_text("6b" * 32)
    options = ("--key-file", key, "--idle-timeout", "0.2", "--max-connections", "1")
    with Server("--listen", "127.0.0.1:0", *options) as server:
        (endpoint,) = server.endpoints
        assert (0, "") == ping("-c", 1, "--key-file", key, endpoint)[::2]
        assert "client-closed: 1 packets, 44 bytes" in server.says()
        with socket.create_connection((endpoint.host, endpoint.port)) as idle:
            assert "reset the connection" in ping("-c", 1, "--key-file", key, endpoint)[2]
            assert b"" == idle.recv(100)
        said = server.stop()[1]
    assert "too-many-connections (1 connections are open, which is the limit): 0 packets" in said
    assert "idle-timeout: 0 packets, 0 bytes in 0.2" in said


def test_warns_when_anybody_may_use_it(tmp_path: Path) -> None:
    """A public address with the public key gets a warning before it listens; without either there is none."""
    key = tmp_path / "key"
    key.write_text("6b" * 32)
    warning = "warning: 0.0.0.0:0 can be reached from other machines, and the key is public: "
    with Server("--listen", "0.0.0.0:0", "--listen", "localhost:0", listeners=2) as server:
        assert 1 == sum("warning" in line for line in server.said)
        assert server.said[0].startswith(f"relay server: {warning}")
    with Server("--listen", "0.0.0.0:0", "--key-file", key) as server:
        assert 1 == len(server.said)


def test_a_full_disk_under_the_journal_does_not_stop_it(ping: Ping) -> None:
    """What cannot be written is said once, and the server goes on."""
    with Server("--listen", "127.0.0.1:0", "--journal", "/dev/full") as server:
        for _ in range(3):
            assert 0 == ping("-c", 1, *server.endpoints)[0]
        status, said = server.stop()
    assert (0, 1) == (status, said.count("--journal: cannot write /dev/full: No space left on device\n"))
    assert 3 == said.count("client-closed")


def test_nobody_reads_what_it_says(ping: Ping) -> None:
    """A log reader that has gone does not stop the server, and its end is still a clean one."""
    with Server("--listen", "127.0.0.1:0") as server:
        assert server.popen.stderr is not None
        server.popen.stderr.close()
        for _ in range(3):
            assert 0 == ping("-c", 1, *server.endpoints)[0]
        server.popen.terminate()
        assert 0 == server.popen.wait(10)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--listen", "nonsense"], "--listen: 'nonsense' has no port; expected HOST:PORT"),
        (["--listen", "127.0.0.1:70000"], "--listen: port '70000' in '127.0.0.1:70000'; expected 0 to 65535"),
        (["--listen", "::1:5000:"], "--listen: '::1:5000:'; expected HOST:PORT or [IPV6]:PORT"),
        (["--listen", "no.such.invalid:0"], "--listen: cannot listen on no.such.invalid:0: "),
        (["--listen", "192.0.2.1:0"], "--listen: cannot listen on 192.0.2.1:0: Cannot assign"),
        (["--journal", "/"], "--journal: cannot write '/': Is a directory"),
        (["--journal", ""], "--journal: cannot write '': Is a directory"),
        (["--journal", "/nosuch/journal"], "--journal: cannot write '/nosuch/journal': No such file"),
        (["--idle-timeout", "0"], "argument --idle-timeout: '0'; expected seconds above 0"),
        (["--max-connections", "many"], "argument --max-connections: 'many'; expected a whole number from 1"),
        (["--key-file", "/nosuch"], "--key-file: cannot read '/nosuch': No such file or directory"),
        (["--admin", "99999"], "--admin: port '99999' in '127.0.0.1:99999'; expected 0 to 65535"),
        (["more"], "unrecognized arguments: more"),
    ],
    ids=lambda value: "" if isinstance(value, str) else None,
)
def test_what_it_cannot_do_is_one_line_and_2(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit 2 and one line that names the flag, what was given, and what was expected or is in the way."""
    assert 2 == guarded("server", arguments, "relay server")
    out, err = capsys.readouterr()
    said = [line for line in err.splitlines() if "warning" not in line]
    assert ("", 1) == (out, len(said))
    assert said[0].startswith(f"relay server: {words}")


def test_a_port_in_use_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    """Somebody listens there already: the address is named, and the status is 2."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        endpoint = f"127.0.0.1:{taken.getsockname()[1]}"
        assert 2 == guarded("server", ["--listen", endpoint], "relay server")
    said = f"relay server: --listen: cannot listen on {endpoint}: Address already in use\n"
    assert ("", said) == capsys.readouterr()


# `relay` itself


def test_relay_without_a_command_shows_how_it_is_used(capsys: pytest.CaptureFixture[str]) -> None:
    """No command is a mistake (2), asking for help is not (0); both list every command."""
    for arguments, status in (([], 2), (["--help"], 0), (["-h"], 0), (["help"], 0)):
        assert status == main(arguments)
        out, err = capsys.readouterr()
        assert "" == err
        assert all(f"  {name} " in out for name in COMMANDS)


def test_relay_does_not_know_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    """An unknown command is named, with those that there are."""
    assert 2 == main(["no\nsuch"])
    known = ", ".join(COMMANDS)
    assert ("", f"relay: there is no command 'no\\nsuch'; expected one of {known}\n") == capsys.readouterr()


def test_relay_tells_its_version(capsys: pytest.CaptureFixture[str]) -> None:
    """-V and --version."""
    for flag in ("-V", "--version"):
        assert 0 == main([flag])
        assert (f"framework-relay {relay.__version__}\n", "") == capsys.readouterr()


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    """--help of each command prints its options and is no mistake."""
    assert 0 == main([command, "--help"])
    out, err = capsys.readouterr()
    assert (f"usage: relay {command} ", "") == (out[: 14 + len(command)], err)
    assert 2 == main([command, "--no-such-option"])
    out, err = capsys.readouterr()
    assert ("", 1) == (out, err.count("\n"))
    assert err.startswith(f"relay {command}: ")


def test_the_admin_listener_counts(ping: Ping) -> None:
    """--admin: health, what is open, and metrics by how connections ended; asked by address only."""

    def ask(path: str, **fields: str) -> tuple[int, str]:
        connection = http.client.HTTPConnection(where.host, where.port, timeout=10)
        connection.request("GET", path, headers=fields)
        reply = connection.getresponse()
        text = reply.read().decode()
        connection.close()
        return reply.status, text

    with Server("--listen", "127.0.0.1:0", "--admin", "0") as server:
        where = Endpoint.parse(server.said[0].rpartition("http://")[2].strip())
        (endpoint,) = server.endpoints
        assert 0 == ping("-c", 2, "-i", "0.01", endpoint)[0]
        with socket.create_connection((endpoint.host, endpoint.port)) as stranger:
            stranger.sendall(b"GET / HTTP/1.1\r\n\r\n")
            assert b"" == stranger.recv(1)
        server.says(), server.says()
        with socket.create_connection((endpoint.host, endpoint.port)) as still_open:
            still_open.sendall(b"\0")
            while '"bytes_received": 1' not in ask("/connections")[1]:
                pass
            status, text = ask("/metrics")
            assert (200, 1) == (status, json.loads(ask("/healthz")[1])["connections_open"])
        assert 421 == ask("/metrics", Host="evil.example")[0]
        server.stop()
    values = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    assert "1.0" == values['relay_server_connections_total{ended="client-closed"}']
    assert "1.0" == values['relay_server_connections_total{ended="frame-too-large"}']
    assert "0.0" == values['relay_server_connections_total{ended="seal-broken"}']
    assert "2.0" == values["relay_server_pings_total"]
    assert str(88.0 + 18 + 1) == values['relay_server_bytes_total{direction="received"}']
    assert "2.0" == values["relay_server_connection_seconds_count"]
