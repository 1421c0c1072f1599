"""How aiohttp hands a connection over, and how it lets go of every connection in the end."""

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from relay.commands import main
from tests.path.proxied import (
    LOOPS,
    Proxied,
    Target,
    connect_head,
    get_head,
    proxy_with_few_files,
    read_all,
    read_exactly,
    read_head,
    reset,
    settled,
    status_of,
    tunnel,
)

RELAY = [sys.executable, "-c", "import sys; from relay.commands import main; sys.exit(main())"]
HEAD_SECONDS = 1.0
"""More than a busy machine takes from a client's connect to its first byte."""
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@pytest.fixture(params=LOOPS)
def proxied(request: pytest.FixtureRequest) -> Iterator[Proxied]:
    with settled(request.param, head_timeout_seconds=HEAD_SECONDS) as running:
        yield running


def test_a_tunnel_is_none_of_aiohttps_business(proxied: Proxied) -> None:
    """Once a tunnel is open aiohttp holds nothing of it, and its keep-alive timer does not end it."""

    async def held() -> int:
        return proxied.proxy.connections

    with tunnel(proxied) as (near, far):
        assert (0, 1) == (proxied.run(held()), len(proxied.proxy.tunnels))
        near.settimeout(2 * HEAD_SECONDS)
        with pytest.raises(TimeoutError):
            near.recv(1)
        near.settimeout(5)
        far.sendall(b"later than head_timeout_seconds")
        assert b"later" == read_exactly(near, 5)


def test_a_tunnel_may_follow_other_requests(proxied: Proxied) -> None:
    """GET, GET and CONNECT with early bytes in one segment: answered in their order, the bytes kept."""
    with Target() as target:
        requests = (
            get_head(target.authority) * 2 + connect_head(target.authority) + b"GET /early HTTP/1.1\r\n\r\n"
        )
        with proxied.client(requests) as near:
            for _ in range(2):
                with target.accept() as origin:
                    read_head(origin)
                    origin.sendall(ANSWER)
                assert 200 == status_of(read_head(near))
                assert b"ok" == read_exactly(near, 2)
            with target.accept() as far:
                assert b"HTTP/1.1 200 Connection established\r\n\r\n" == read_head(near)
                assert b"GET /early HTTP/1.1\r\n\r\n" == read_exactly(far, 23)


def test_a_silent_client_is_cut(proxied: Proxied) -> None:
    """Who sends nothing is closed without a word after head_timeout_seconds."""
    with proxied.client() as near:
        assert (b"", "FIN") == read_all(near)


@pytest.mark.parametrize("part", [b"G", b"CONNECT 127.0.0.1:1 HT", connect_head("a:1")[:-2]])
def test_half_a_head_is_408(proxied: Proxied, part: bytes) -> None:
    """Who begins a head and does not end it is told so (RFC 9110 section 15.5.9)."""
    with proxied.client(part) as near:
        reply, end = read_all(near)
    assert (408, "FIN", 408) == (status_of(reply), end, proxied.entry()["status"])


def test_each_half_head_is_told(proxied: Proxied) -> None:
    """However timer and clock round: of many that stop in their head nobody is cut without a word."""
    with contextlib.ExitStack() as stack:
        nears = [stack.enter_context(proxied.client(b"G")) for _ in range(200)]
        assert {408} == {status_of(read_all(near)[0]) for near in nears}


def test_a_dribbled_head_gains_no_time(proxied: Proxied) -> None:
    """A byte now and then does not keep a connection: the limit is for the whole head."""
    with proxied.client() as near:
        near.settimeout(0.05)
        reply = b""
        for byte in connect_head("127.0.0.1:1"):
            near.sendall(bytes([byte]))
            try:
                reply = near.recv(4096)
                break
            except TimeoutError:
                continue
        assert 408 == status_of(reply)


def test_half_a_head_and_fin_is_400(proxied: Proxied) -> None:
    """A client that ends in the middle of its head may still read why nothing came of it."""
    with proxied.client(b"CONNECT 127.0.0.1:1 HTTP/1.1\r\nHos") as near:
        near.shutdown(socket.SHUT_WR)
        assert 400 == status_of(read_all(near)[0])


def test_fin_without_a_word_is_answered_by_one(proxied: Proxied) -> None:
    """A port scanner's connect-and-close leaves neither a connection nor a log line."""
    with proxied.client() as near:
        near.shutdown(socket.SHUT_WR)
        assert (b"", "FIN") == read_all(near)
    assert not proxied.has_entries()


def test_a_client_that_goes_in_the_middle_of_a_head_leaves_nothing(proxied: Proxied) -> None:
    """RST behind half a head."""
    reset(proxied.client(b"CONNECT 127.0.0.1:1 HTTP/1.1\r\nHos"))
    assert (0, 0, 0) == proxied.settled()


@pytest.mark.parametrize("environment", [{"AIOHTTP_NO_EXTENSIONS": "1"}])
def test_without_the_c_parser_it_does_not_start(environment: dict[str, str]) -> None:
    """The command says why, in one line, and ends with 1."""
    done = relay_proxy("--listen", "127.0.0.1:0", environment=environment)
    assert (1, 1, True) == (done.returncode, done.stderr.count("\n"), "C parser" in done.stderr)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--via", "two words"], "--via"),
        (["--allow-port", "0"], "--allow-port"),
        (["--allow-port", "70536"], "--allow-port"),
        (["--access-log", "/nowhere/at/all"], "--access-log"),
        (["--connect-timeout", "0"], "--connect-timeout"),
    ],
)
def test_wrong_options_are_named(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Status 2 and one line that names the option."""
    status = main(["proxy", *arguments])
    said = capsys.readouterr().err
    assert (2, 1, True) == (status, said.count("\n"), words in said)


def relay_proxy(
    *arguments: str, environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*RELAY, "proxy", *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, **(environment or {})},
        timeout=20,
    )


def test_the_command_serves_logs_and_stops(tmp_path: Path) -> None:
    """`relay proxy` says where it listens, logs one JSON object per line, answers --probe, ends with 0."""
    log = tmp_path / "access.log"
    command = [*RELAY, "proxy", "--listen", "127.0.0.1:0", "--access-log", str(log)]
    with (
        Target() as target,
        subprocess.Popen(
            [*command, "--allow-port", f"{target.port}"], stderr=subprocess.PIPE, text=True
        ) as running,
    ):
        try:
            assert running.stderr is not None
            found = re.fullmatch(
                r"relay proxy: listening on (127\.0\.0\.1:(\d+))\n", running.stderr.readline()
            )
            assert found is not None
            assert 0 == relay_proxy("--probe", found[1]).returncode
            with socket.create_connection(("127.0.0.1", int(found[2])), 10) as near:
                near.sendall(connect_head(target.authority))
                with target.accept() as far:
                    read_head(near)
                    far.close()
                    assert (b"", "FIN") == read_all(near)
            with socket.create_connection(("127.0.0.1", int(found[2])), 10) as refused:
                refused.sendall(connect_head("127.0.0.1:1"))
                assert 403 == status_of(read_all(refused)[0])
        finally:
            running.send_signal(signal.SIGTERM)
        assert 0 == running.wait(10)
    entries = [json.loads(line) for line in log.read_text().splitlines()]
    # A tunnel is told when both sides have ended, which can be after the next refusal
    by_status = {entry["status"]: entry for entry in entries}
    assert (3, {405, 200, 403}) == (len(entries), set(by_status))
    always = {"time", "client", "method", "target", "status", "bytes_up", "bytes_down", "seconds", "ended"}
    assert always | {"path", "outgoing"} == set(by_status[200])


def test_a_log_that_nobody_reads_holds_nobody_up() -> None:
    """The pipe of the access log and that of stderr are full, and each tunnel is still opened at once."""
    command = [*RELAY, "proxy", "--listen", "127.0.0.1:0", "--access-log", "-"]
    refusals = 400  # of more than 200 bytes of log each: a pipe holds 64 KiB
    with (
        Target() as target,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running,
    ):
        try:
            assert running.stderr is not None
            port = int(running.stderr.readline().rpartition(":")[2])
            for _ in range(refusals):
                with socket.create_connection(("127.0.0.1", port), 10) as refused:
                    refused.sendall(connect_head("127.0.0.1:1"))
                    assert 502 == status_of(read_all(refused)[0])
            with socket.create_connection(("127.0.0.1", port), 10) as near:
                near.sendall(connect_head(target.authority))
                target.accept().close()
                assert 200 == status_of(read_head(near))
        finally:
            running.send_signal(signal.SIGTERM)
        stdout, _ = running.communicate(timeout=20)
    assert refusals <= len([json.loads(line) for line in stdout.splitlines()])


def test_out_of_descriptors_every_request_ends() -> None:
    """With a refusal, or with a reset where not even that can be said; nothing of it is a fault of ours."""
    with Target() as target, proxy_with_few_files() as (_, port), contextlib.ExitStack() as stack:
        nears = [stack.enter_context(socket.create_connection(("127.0.0.1", port), 10)) for _ in range(60)]
        asking = []
        for number, near in enumerate(nears):
            # A name, which the express lane leaves to what is tested here
            head = connect_head(f"localhost:{target.port}")
            with contextlib.suppress(ConnectionError):  # it has been reset by now
                near.sendall(head if number % 2 else get_head(target.authority))
                asking.append(near)
        # Those that the proxy could dial are answered, so that those that wait behind them come in
        target.listener.close()
        for near in asking:
            with contextlib.suppress(OSError):
                near.shutdown(socket.SHUT_WR)
            reply, end = read_all(near)
            assert (b"", "RST") == (reply, end) or status_of(reply) in (502, 503)


def test_a_probe_tells_what_is_no_proxy(free_port: int) -> None:
    """Nothing there, or something else there: exit 1."""
    assert 1 == relay_proxy("--probe", f"127.0.0.1:{free_port}").returncode


@pytest.fixture
def free_port() -> Iterator[int]:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        yield sock.getsockname()[1]
