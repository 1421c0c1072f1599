"""`relay proxy` with faults, a persona and toxiproxy's API, as a process of its own; and what it refuses."""

import http.client
import json
import re
import socket

import pytest

from relay.commands import guarded
from relay.persona import names
from tests.path.proxied import SOON_SECONDS, Target, connect_head, read_all, read_exactly, read_head
from tests.path.real import RelayCommand, relay_command

BLOCK = b"0123456789" * 10


def client(proxy: RelayCommand, data: bytes) -> socket.socket:
    sock = socket.create_connection((proxy.endpoint.host, proxy.endpoint.port), SOON_SECONDS)
    sock.sendall(data)
    return sock


def test_faults_and_a_persona_from_the_command_line() -> None:
    """Both hold together, the log says which path a tunnel took, and the seed is told."""
    flags = ("--persona", "tinyproxy", "--fault", "limit_data:limit_bytes=10", "--fault-seed", "7")
    with relay_command("proxy", "--access-log", "-", *flags) as proxy, Target() as target:
        with client(proxy, connect_head(target.authority)) as near:
            assert b"HTTP/1.0 200 Connection established" == read_head(near).partition(b"\r\n")[0]
            with target.accept() as far:
                far.sendall(BLOCK)
                assert (BLOCK[:10], "FIN") == read_all(near)
        proxy.stop()
    assert "faults: limit_data (--fault-seed 7)" in proxy.stderr
    assert ["faults"] == [entry["path"] for entry in proxy.logged]


def test_the_api_changes_a_running_proxy() -> None:
    """--toxiproxy-api says where it is; a toxic is there for the next tunnel; the proxy stops cleanly."""
    with relay_command("proxy", "--toxiproxy-api", "127.0.0.1:0") as proxy, Target() as target:
        where = re.search(r"toxiproxy API on http://127\.0\.0\.1:([0-9]+)", proxy.stderr)
        assert where is not None
        api = http.client.HTTPConnection("127.0.0.1", int(where[1]), timeout=SOON_SECONDS)
        toxic = {"type": "limit_data", "attributes": {"bytes": 5}}
        api.request("POST", "/proxies/relay/toxics", json.dumps(toxic))
        assert 200 == api.getresponse().status
        api.close()
        with client(proxy, connect_head(target.authority)) as near:
            read_head(near)
            with target.accept() as far:
                far.sendall(BLOCK)
                assert BLOCK[:5] == read_exactly(near, 5)


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--fault", "nope"], "--fault: there is no fault 'nope'; expected one of"),
        (["--fault", "latency:seconds=x"], "--fault: latency.seconds: 'x'; expected a number from 0"),
        (["--fault", "latency", "--fault-seed", "-1"], "--fault-seed"),
        (["--fault", "latency", "--fault-seed", "9" * 30], "--fault-seed: "),
        (["--persona", "nope"], "--persona: there is no 'nope'; expected one of 3proxy, "),
        (["--toxiproxy-api", "nowhere"], "--toxiproxy-api: 'nowhere' has no port"),
        (["--toxiproxy-api", "--workers", "2"], "--toxiproxy-api: one API cannot change several workers"),
    ],
)  # fmt: skip
def test_wrong_options_are_named(flags: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit status 2, one line that names the flag, and no traceback."""
    assert 2 == guarded("proxy", ["--listen", "127.0.0.1:0", *flags], "relay proxy")
    said = capsys.readouterr().err.strip().splitlines()
    assert words in said[-1]


def test_a_port_that_is_taken_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    """The API's address is told, not the proxy's."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        flags = ["--toxiproxy-api", f"127.0.0.1:{taken.getsockname()[1]}"]
        assert 2 == guarded("proxy", ["--listen", "127.0.0.1:0", *flags], "relay proxy")
    assert "--toxiproxy-api: " in capsys.readouterr().err


def test_personas_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    """One line each, with where it is from."""
    assert 0 == guarded("proxy", ["personas"], "relay proxy")
    lines = capsys.readouterr().out.splitlines()
    assert names() == [line.split()[0] for line in lines]
    assert 2 == guarded("proxy", ["personas", "squid-5"], "relay proxy")
    assert "unrecognized arguments: squid-5 (see relay proxy personas --help)" in capsys.readouterr().err
    assert 0 == guarded("proxy", ["personas", "--help"], "relay proxy")
    assert "usage: relay proxy personas" in capsys.readouterr().out
    assert all("captures of" in line or "from documents" in line for line in lines)
