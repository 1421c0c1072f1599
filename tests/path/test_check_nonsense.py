"""`relay check` against nothing sensible: a verdict or a clear exit 2, in time, and never a traceback."""

import asyncio
import contextlib
import socket
import ssl
import subprocess
import sys
import time
from asyncio import StreamReader, StreamWriter
from collections.abc import Awaitable, Callable

import pytest

from relay.commands import guarded
from relay.diagnosis import Verdict
from relay.finding import Finding
from relay.route import Endpoint
from tests.lacking import lacking
from tests.path.checked import check, serving, until_end
from tests.path.conftest import FarEnd
from tests.path.origin import server_tls
from tests.path.real import RUN_SECONDS, SCRIPTS, environment

Play = Callable[[StreamReader, StreamWriter], Awaitable[None]]
LIMIT_SECONDS = 2.0
"""Given as --timeout. What is over it is only what the machine itself needs."""

SLACK_SECONDS = 15.0
GARBAGE = bytes(range(256)) * 64


async def garbage(reader: StreamReader, writer: StreamWriter) -> None:
    writer.write(GARBAGE)
    await until_end(reader)


async def garbage_without_end(reader: StreamReader, writer: StreamWriter) -> None:
    while True:
        writer.write(GARBAGE)
        await writer.drain()


async def zeros_without_end(reader: StreamReader, writer: StreamWriter) -> None:
    while True:
        writer.write(bytes(65536))
        await writer.drain()


async def dribble(reader: StreamReader, writer: StreamWriter) -> None:
    """One byte of a plausible answer at a time, for as long as anybody reads."""
    await reader.read(1)
    for byte in b"HTTP/1.1 200 OK\r\nX: " + b"y" * 1000:
        writer.write(bytes((byte,)))
        await writer.drain()
        await asyncio.wait_for(asyncio.shield(asyncio.get_running_loop().create_future()), 0.05)


async def head_without_end(reader: StreamReader, writer: StreamWriter) -> None:
    await reader.read(1)
    writer.write(b"HTTP/1.1 200 OK\r\n")
    while True:
        writer.write(b"X-More: " + b"z" * 4000 + b"\r\n")
        await writer.drain()


async def ones_without_end(reader: StreamReader, writer: StreamWriter) -> None:
    await reader.read(1)
    while True:
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n" * 100)
        await writer.drain()


async def at_once(reader: StreamReader, writer: StreamWriter) -> None:
    return


async def after_a_byte(reader: StreamReader, writer: StreamWriter) -> None:
    await reader.read(1)


async def in_the_status(reader: StreamReader, writer: StreamWriter) -> None:
    await reader.read(1)
    writer.write(b"HTTP/1.1 2")


async def in_the_head(reader: StreamReader, writer: StreamWriter) -> None:
    await reader.read(1)
    writer.write(b"HTTP/1.1 200 OK\r\nX: ")


async def behind_the_head(reader: StreamReader, writer: StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 200 OK\r\n\r\n")


async def in_a_frame(reader: StreamReader, writer: StreamWriter) -> None:
    await reader.read(1)
    writer.write(b"\x00\x00\x00\x28" + bytes(10))


async def smtp(reader: StreamReader, writer: StreamWriter) -> None:
    writer.write(b"220 mail.example ESMTP\r\n")
    await until_end(reader)


async def ssh(reader: StreamReader, writer: StreamWriter) -> None:
    writer.write(b"SSH-2.0-OpenSSH_9.2\r\n")
    await until_end(reader)


async def web(reader: StreamReader, writer: StreamWriter) -> None:
    await reader.read(1)
    writer.write(b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/html\r\nContent-Length: 6\r\n\r\n<html>")


async def socks(reader: StreamReader, writer: StreamWriter) -> None:
    if await reader.read(1) == b"\x05":
        writer.write(b"\x05\xff")


async def silent(reader: StreamReader, writer: StreamWriter) -> None:
    await until_end(reader)
    writer.close()


PEERS: dict[str, Play] = {
    play.__name__: play
    for play in (
        garbage, garbage_without_end, zeros_without_end, dribble, head_without_end, ones_without_end,
        at_once, after_a_byte, in_the_status, in_the_head, behind_the_head, in_a_frame, smtp, ssh, web,
        socks, silent,
    )
}  # fmt: skip


def defects(findings: tuple[Finding, ...]) -> list[str]:
    """Checks that have failed themselves."""
    return [one.words for one in findings if one.words.startswith("the check itself failed")]


@pytest.mark.parametrize("scheme", ["", "http://", "https://", "socks5h://"])
async def test_peers_that_are_none(scheme: str, far: FarEnd) -> None:
    """As a server and as every kind of proxy, all side by side: a verdict in time, never a good one."""

    async def one(play: Play) -> tuple[str, Verdict, list[str]]:
        async with serving(play) as peer:
            target, proxies = (far.server.endpoint, [f"{scheme}{peer}"]) if scheme else (peer, [])
            checked = await check(target, *proxies, seconds=LIMIT_SECONDS)
            return play.__name__, checked.diagnosis.verdict, defects(checked.found.findings)

    began = time.monotonic()
    told = await asyncio.gather(*(one(play) for play in PEERS.values()))
    assert time.monotonic() - began < LIMIT_SECONDS + SLACK_SECONDS
    assert [] == [(name, verdict, words) for name, verdict, words in told if words]
    assert [] == [name for name, verdict, _ in told if verdict is Verdict.GOOD]


async def test_a_server_that_speaks_tls(certificate: bytes) -> None:
    """As a target and as a plain proxy: TLS is named."""
    context = server_tls(certificate)
    server = await asyncio.start_server(silent, "127.0.0.1", 0, ssl=context)
    try:
        peer = Endpoint(*server.sockets[0].getsockname()[:2])
        direct = await check(peer, seconds=5.0)
        proxied = await check(Endpoint("192.0.2.1", 5000), f"http://{peer}", seconds=5.0)
    finally:
        server.close()
        with contextlib.suppress(ssl.SSLError):
            await server.wait_closed()
    assert "wrong-service-tls" in direct.named, direct.told
    assert "proxy-is-tls" == proxied.cause, proxied.told


ASKED: dict[str, tuple[list[str], set[int]]] = {
    "no such name": (["no-such-name.invalid", "--timeout", "3"], {1}),
    "a name with other letters": (["bücher.invalid", "--timeout", "3"], {1}),
    "letters that no name may have": (["a..b", "--timeout", "3"], {2}),
    "a scope": (["fe80::1%lo", "--timeout", "2"], {1, 2}),
    "a scope that is not there": (["[fe80::1%nowhere]:5000", "--timeout", "2"], {1, 2}),
    "port 0": (["127.0.0.1:0"], {2}),
    "port 65536": (["127.0.0.1:65536"], {2}),
    "the address of nobody": (["0.0.0.0:1", "--timeout", "2"], {1}),
    "an empty name": ([""], {2}),
    "a proxy that is a path": (["127.0.0.1:1", "-x", "/dev/null"], {2}),
    "a key that is none": (["127.0.0.1:1", "--key-file", "/dev/null"], {2}),
    "a record that is none": (["--from", "/dev/null"], {2}),
    "a journal that is a folder": (["127.0.0.1:1", "--journal", "/"], {2}),
    "elsewhere that is none": (["127.0.0.1:1", "--elsewhere", "/dev/null"], {2}),
    "control without a port": (["127.0.0.1:1", "--control", "a:0"], {2}),
    "a source that is a name": (["127.0.0.1:1", "--source", "eth0"], {2}),
    "count without watch": (["127.0.0.1:1", "--count", "2"], {2}),
}


def run(arguments: list[str], *before: str) -> subprocess.CompletedProcess[str]:
    command = [*before, str(SCRIPTS / "relay"), "check", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=RUN_SECONDS, env=environment())


@pytest.mark.parametrize("name", ASKED)
def test_questions_that_make_no_sense(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Each is a verdict (1), or one line that says what was expected (2)."""
    arguments, statuses = ASKED[name]
    status = guarded("check", arguments, "relay check")
    out, err = capsys.readouterr()
    assert status in statuses, out + err
    assert "Traceback" not in out + err
    assert status != 2 or (1 == err.count("\n") and err.startswith("relay check: "))


@pytest.mark.skipif(sys.platform != "linux", reason="network namespaces are Linux's")
def test_without_any_network(tool: Callable[[str, str], str]) -> None:
    """In a namespace with nothing in it: that this machine has no network is what is told."""
    unshare = tool("unshare", "util-linux")
    if subprocess.run([unshare, "--net", "true"], capture_output=True).returncode:
        lacking("no network namespaces here: they need root, or user namespaces")
    for target in ("192.0.2.1", "far.example"):
        done = run([target, "--timeout", "4"], unshare, "--net")
        assert (1, "") == (done.returncode, done.stderr)
        assert "client-no-route" in done.stdout or "dns-" in done.stdout


def test_a_listener_that_never_accepts() -> None:
    """The kernel has taken the connection, the program never does: the time limit holds."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        done = run([f"127.0.0.1:{sock.getsockname()[1]}", "--timeout", "3"])
    assert 1 == done.returncode, done.stdout
    assert "server-silent" in done.stdout
