"""`relay tunnel`: unmodified clients, a real proxy in the middle, and failures that they must see."""

import asyncio
import json
import re
import signal
import socket
import struct
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from protocol.packet import Packet
from relay.framework_client import FrameworkClient
from relay.journal import Ended
from relay.recording import read_recordings
from relay.route import Endpoint, Route
from tests.path import peers
from tests.path.conftest import LOOPBACK, FarEnd
from tests.path.ends import FIN, RST, connected, end_of, read_to_end
from tests.path.origin import digest, digest_after_end, echo_counted, some_bytes, tcp_server
from tests.path.real import (
    SCRIPTS,
    Daemon,
    RelayCommand,
    Tool,
    ping,
    relay,
    relay_command,
    run,
)

MS = r"[0-9]+\.[0-9]{2}"


@pytest.fixture
def squid(tool: Tool) -> Iterator[Daemon]:
    """A proxy that lets everything through."""
    with peers.squid(tool) as running:
        yield running


def tunnel(target: Endpoint, *arguments: str, **env: str) -> AbstractContextManager[RelayCommand]:
    """Run `relay tunnel TARGET --listen ...`."""
    return relay_command("tunnel", str(target), *arguments, **env)


# what gets through


async def test_tmss10ping_to_the_local_port(squid: Daemon, far: FarEnd) -> None:
    """The client knows nothing of a proxy; the far end sees squid."""
    with tunnel(far.server.endpoint, "-x", squid.url) as local:
        ran = await ping("-P", str(local.endpoint.port), "-c", "4", "-i", "0.01", local.endpoint.host)
        host = local.endpoint.host
        lines = [f"44 bytes from {host}: seq={seq} time={MS} ms\n" for seq in range(1, 5)]
        lines += [f"--- {host} TMSS10Ping statistics ---\n", "4 packets transmitted\n"]
        lines += [f"round-trip min/avg/max = {MS}/{MS}/{MS} ms\n"]
        assert (0, "") == (ran.status, ran.stderr)
        assert re.fullmatch("".join(lines), ran.text), ran.text
        record = await far.record()
    assert (4, peers.SQUID_SOURCE) == (record.pings, record.peer.rpartition(":")[0])
    assert Ended.CLIENT_CLOSED == record.ended


async def test_ncat_to_the_local_port(tool: Tool, squid: Daemon) -> None:
    """Half a megabyte up and down again."""
    body = some_bytes(500_000)
    async with tcp_server(echo_counted) as target:
        with tunnel(target, "-x", squid.url) as local:
            ran = await run(
                tool("ncat", "ncat"), "--no-shutdown", local.endpoint.host, str(local.endpoint.port),
                stdin=b"500000\n" + body,
            )  # fmt: skip
    assert (0, body) == (ran.status, ran.stdout), ran.stderr


async def test_ssh_to_the_local_port(tool: Tool, squid: Daemon, sshd: peers.Sshd) -> None:
    """A whole SSH session: a megabyte through `cat` on the other side."""
    server = sshd.daemon.endpoint
    body = some_bytes(1_000_000)
    with tunnel(server, "-x", squid.url) as local:
        ran = await run(
            tool("ssh", "openssh-client"), *sshd.options, "-o", f"HostKeyAlias=[{server.host}]:{server.port}",
            "-p", str(local.endpoint.port), f"{sshd.user}@{local.endpoint.host}", "cat", stdin=body,
        )  # fmt: skip
    assert (0, body) == (ran.status, ran.stdout), ran.stderr


async def test_fifty_clients_at_once(squid: Daemon, far: FarEnd) -> None:
    """Every local connection gets a tunnel of its own, and nobody another's bytes."""
    with tunnel(far.server.endpoint, "-x", squid.url) as local:

        async def converse(number: int) -> bytes:
            async with FrameworkClient(Route(local.endpoint)) as client:
                reply = await client.request(Packet.echo(b"number %d" % number))
                await client.ping()
                return reply.argument

        replies = await asyncio.gather(*(converse(number) for number in range(50)))
    assert [b"number %d" % number for number in range(50)] == replies
    assert 50 == len({(await far.record()).peer for _ in range(50)})


async def test_a_password_from_the_environment(tool: Tool, far: FarEnd) -> None:
    """It stands neither in the command line nor in what is printed."""
    with peers.squid(tool, login=True) as squid:
        url = f"http://{peers.USER}@{squid.endpoint}"
        with tunnel(far.server.endpoint, "-v", "-x", url, RELAY_PROXY_PASSWORD=peers.PASSWORD) as local:
            ran = await ping("-c", "1", str(local.endpoint))
            await far.record()
            local.stop()
    assert (0, "") == (ran.status, ran.stderr)
    assert peers.PASSWORD not in local.stderr


@pytest.mark.parametrize("name", ["relay", "apache"])
async def test_stdio_hears_an_answer_behind_its_last_word(tool: Tool, name: str) -> None:
    """`printf ... | relay tunnel --stdio`: the end of stdin goes on as a half-close, and the answer comes.

    squid and tinyproxy close both ways at the first FIN, so with them the answer is lost.
    """
    body = some_bytes(300_000)
    with {"relay": peers.relay_proxy, "apache": peers.apache}[name](tool) as proxy:
        async with tcp_server(digest_after_end) as target:
            ran = await relay("tunnel", "--stdio", "-x", proxy.url, str(target), stdin=body)
    assert (0, f"300000 {digest(body)}\n", "") == (ran.status, ran.text, ran.stderr)


# what fails: a RST for the local peer, who must not take it for an empty but good session


async def test_a_clean_end_stays_one(squid: Daemon, far: FarEnd) -> None:
    """For comparison: the server cuts off what is no packet with a FIN, and FIN it stays."""
    with tunnel(far.server.endpoint, "-x", squid.url) as local:
        assert (b"", FIN) == await end_of(local.endpoint)
    assert Ended.FRAME_TOO_LARGE == (await far.record()).ended


async def test_a_refused_port(tool: Tool, far: FarEnd) -> None:
    """squid says 403."""
    with peers.squid(tool, allow_ports="443") as squid:
        with tunnel(far.server.endpoint, "-x", squid.url) as local:
            assert (b"", RST) == await end_of(local.endpoint)
            local.stop()
    words = f"proxy: {squid.url} answered 403 Forbidden to CONNECT {far.server.endpoint}: its policy"
    assert words in local.stderr
    assert [] == far.server.journal.records


async def test_a_dead_proxy(closed_port: Endpoint, far: FarEnd) -> None:
    with tunnel(far.server.endpoint, "-x", f"http://{closed_port}") as local:
        assert (b"", RST) == await end_of(local.endpoint)
        local.stop()
    assert f" connect: http://{closed_port} refused the connection: " in local.stderr


async def test_a_silent_proxy(silent: Endpoint, far: FarEnd) -> None:
    with tunnel(far.server.endpoint, "-x", f"http://{silent}", "--timeout", "1.5") as local:
        assert (b"", RST) == await end_of(local.endpoint)
        local.stop()
    words = "did not answer in time (after 1.5 s, the limit for all)"
    assert f" proxy: http://{silent} {words}\n" in local.stderr


async def test_a_target_that_resets(tool: Tool) -> None:
    """In the middle of a tunnel: what was sent before arrives, then the RST.

    With our proxy in the middle: every other proxy turns the RST into a FIN, and nobody behind it can tell.
    """

    async def give_then_reset(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(some_bytes(100_000))
        await reader.readexactly(len(b"seen"))
        sock = writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()

    async with tcp_server(give_then_reset) as target:
        with peers.relay_proxy() as proxy, tunnel(target, "-x", proxy.url) as local:
            with await connected(local.endpoint) as sock:
                received = b""
                while len(received) < 100_000:
                    received += await asyncio.get_running_loop().sock_recv(sock, 65_536)
                await asyncio.get_running_loop().sock_sendall(sock, b"seen")
                assert (b"", RST) == await read_to_end(sock)
            local.stop()
            proxy.stop()
    assert some_bytes(100_000) == received
    assert " target-reset: 4 bytes up, 100000 down in " in local.stderr
    assert ["target-reset"] == [entry["ended"] for entry in proxy.logged]


async def test_a_proxy_that_is_stopped(far: FarEnd) -> None:
    """Our proxy ends at once and resets its tunnels, so both of their ends know."""
    with peers.relay_proxy() as proxy, tunnel(far.server.endpoint, "-x", proxy.url) as local:
        async with FrameworkClient(Route(local.endpoint)) as client:
            await client.ping()
            with await connected(local.endpoint) as sock:
                await asyncio.get_running_loop().sock_sendall(sock, b"\0")
                await client.ping()
                while 2 > len(far.server.journal.records):
                    await client.ping()  # until the second tunnel stands as well
                await asyncio.to_thread(proxy.stop)
                assert (b"", RST) == await read_to_end(sock)
        assert [Ended.CLIENT_RESET] * 2 == [(await far.record()).ended for _ in range(2)]


# several listeners, SIGTERM, records, JSON


async def test_pairs_and_a_record(squid: Daemon, far: FarEnd, tmp_path: Path) -> None:
    """`--listen PORT=TARGET` on the command line; totals with -v; a ping in the record; mode 0600."""
    record = tmp_path / "record.jsonl"
    target = far.server.endpoint
    arguments = ("-x", squid.url, "-v", "--record", str(record), "--listen", f"127.0.0.1:0={target}")
    with relay_command("tunnel", *arguments, listen=f"{LOOPBACK}={target}") as local:
        ran = await ping("-c", "2", "-i", "0.01", str(local.endpoint))
        await far.record()
        local.stop()
    assert (0, "") == (ran.status, ran.stderr)
    [found] = read_recordings(str(record))
    assert (88, 88) == (len(found.up.data), len(found.down.data))
    assert (str(target), (squid.url,)) == (found.target, found.via)
    assert "relay tunnel: 1 connections, 0 failed; 88 bytes up, 88 down\n" in local.stderr


async def test_a_recorded_client_is_replayed(squid: Daemon, far: FarEnd, tmp_path: Path) -> None:
    """TMSS10Ping is recorded; said again directly and through squid its replies are the same, by the journal
    too; through a proxy that cuts the answer they are not, and the JSON says how far they came."""
    file = str(tmp_path / "record")
    with tunnel(far.server.endpoint, "--record", file) as local:
        ran = await ping("-c", "2", "-i", "0.01", str(local.endpoint))
        assert 0 == ran.status, ran.stderr
    await far.record()
    ran = await run(SCRIPTS / "relay", "check", "--replay", file, "-x", squid.url)
    assert (0, "") == (ran.status, ran.stderr), ran.text
    assert ["direct: same", f"{squid.url}: same"] == re.findall(r"^(\S+: \w+): every", ran.text, re.MULTILINE)
    assert 4 == ran.text.count("\n  44 bytes after")
    replayed = [await far.record() for _ in range(2)]
    assert [2, 2] == [record.pings for record in replayed]
    assert {"127.0.0.1", peers.SQUID_SOURCE} == {record.peer.rpartition(":")[0] for record in replayed}
    with relay_command("proxy", "--fault", "limit_data:limit_bytes=60") as cutting:
        ran = await run(SCRIPTS / "relay", "check", "--replay", file, "-x", cutting.url, "--json")
    ways = json.loads(ran.text)["ways"]
    assert (1, ["same", "closed"]) == (ran.status, [way["outcome"] for way in ways]), ran.text
    assert [44, 44] == [reply["recorded_bytes"] for reply in ways[1]["replies"]]


async def test_failures_as_json(closed_port: Endpoint, far: FarEnd) -> None:
    """One object a line, in the place of the sentence; the same for --stdio."""
    options = ("-x", f"http://{closed_port}", "--json")
    with tunnel(far.server.endpoint, *options) as local:
        assert (b"", RST) == await end_of(local.endpoint)
        local.stop()
    lines = [line for line in local.stderr.splitlines() if line.startswith("{")]
    [listened] = [json.loads(line) for line in lines]
    ran = await relay("tunnel", "--stdio", *options, str(far.server.endpoint))
    alone = json.loads(ran.stderr)
    assert 1 == ran.status
    assert listened["failure"] == alone["failure"]
    assert ("connect", "refused", 0, "proxy") == tuple(
        alone["failure"][name] for name in ("stage", "reason", "hop", "role")
    )


async def test_sigterm_drains(far: FarEnd) -> None:
    """What is open goes on until it ends, and the program ends with it, long before its grace is over."""
    with tunnel(far.server.endpoint, "--grace", "60") as local:
        async with FrameworkClient(Route(local.endpoint)) as client:
            await client.ping()
            local.process.send_signal(signal.SIGTERM)
            while await is_open(local.endpoint):
                await client.ping()
            await client.ping()
        await asyncio.to_thread(local.process.communicate, timeout=15)
    assert 0 == local.process.returncode


async def test_a_second_signal_waits_for_nobody(far: FarEnd) -> None:
    """SIGTERM, then SIGINT: at once."""
    with tunnel(far.server.endpoint, "--grace", "60") as local:
        with await connected(local.endpoint) as sock:
            local.process.send_signal(signal.SIGTERM)
            while await is_open(local.endpoint):
                pass
            local.process.send_signal(signal.SIGINT)
            assert (b"", RST) == await read_to_end(sock)
        await asyncio.to_thread(local.process.communicate, timeout=15)


async def is_open(endpoint: Endpoint) -> bool:
    def connects() -> bool:
        with socket.socket() as sock:
            return sock.connect_ex((endpoint.host, endpoint.port)) == 0

    return await asyncio.to_thread(connects)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--stdio"], "expected TARGET with --stdio"),
        (["--listen", "127.0.0.1:0"], "--listen: '127.0.0.1:0' leads nowhere; expected HOST:PORT=TARGET"),
        (["--listen", "0=far:0"], "--listen: port 0 in 'far:0'; expected 1 to 65535"),
        (["far:1", "--listen", "0=far:2"], "TARGET: every --listen has a target of its own; expected none"),
        (["far:1", "--stdio", "--record", "x"], "--record: records what is forwarded from --listen"),
        (["far:1", "--listen", "0", "--record", "/nosuch/x"], "--record: cannot write '/nosuch/x': No"),
        (["far:1", "--listen", "0", "--limit", "x=1"], "argument --limit: 'x=1'; expected STAGE=SECONDS"),
        (["far:1", "--listen", "0", "--limit", "tls=0"], "argument --limit: '0'; expected seconds above 0"),
    ],
)  # fmt: skip
async def test_wrong_usage(arguments: list[str], words: str) -> None:
    """One line, status 2."""
    ran = await relay("tunnel", *arguments)
    assert 2 == ran.status
    assert ran.stderr.startswith(f"relay tunnel: {words}"), ran.stderr
    assert 1 == ran.stderr.count("\n")
