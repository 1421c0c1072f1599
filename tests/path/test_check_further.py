"""What `relay check` asks on request, or only of certain faults, on loopback; and its manners."""

import asyncio
import json
import re
import socket
import subprocess
from asyncio import StreamReader, StreamWriter
from collections.abc import Callable
from pathlib import Path

import pytest

from protocol.sealing import Key
from relay.check import CHECKS, MAX_CONNECTIONS, Check, Extras
from relay.checks import source_ports, variant
from relay.checks.nameserver import addresses_in, query_for
from relay.commands import guarded
from relay.diagnosis import Verdict
from relay.emulator import EmulatedServer
from relay.finding import Finding
from relay.route import Endpoint
from tests.path import peers
from tests.path.checked import assert_good, assert_named, check, read_head, serving, until_end
from tests.path.conftest import FarEnd
from tests.path.real import SCRIPTS, Tool, environment, loopback_host

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Command:
    """Run a command in a thread of its own, beside the servers of the test."""

    async def run(name: str, *arguments: object) -> tuple[int, str, str]:
        words = [str(argument) for argument in arguments]
        status = await asyncio.to_thread(guarded, name, words, f"relay {name}")
        return (status, *capsys.readouterr())

    return run  # type: ignore[return-value]


def answer(findings: tuple[Finding, ...], question: str) -> Finding:
    (one,) = [one for one in findings if one.question == question]
    return one


async def test_a_connection_that_lives_and_rests(far: FarEnd) -> None:
    """Asked for: rest, steady use and load on a healthy path; all well, and no fault named."""
    extras = Extras(idle_seconds=0.2, age_seconds=0.4, load_seconds=0.3)
    checked = await check(far.server.endpoint, extras=extras)
    assert_good(checked)
    said = {one.question: one.outcome for one in checked.found.findings}
    assert ("alive", "alive") == (said["idle"], said["age"])
    assert "idle-limit" not in said
    assert said["load"] in ("fine", "capped-with-delay", "lossy")


async def test_an_idle_limit_is_found() -> None:
    """A server that closes what rests for longer than so: between which rests is told."""
    async with EmulatedServer((Endpoint("127.0.0.1", 0),), idle_timeout_seconds=1.0) as server:
        checked = await check(server.endpoint, extras=Extras(idle_seconds=3.0))
    assert_named(checked, "idle-timeout-fin")
    found = answer(checked.found.findings, "idle-limit")
    assert "found" == found.outcome, checked.told
    assert found.evidence["least_seconds"] < 1.5 < 3.0
    assert found.evidence["most_seconds"] >= 1.0


async def test_a_longest_life_is_found(far: FarEnd) -> None:
    """Connections in steady use that are cut at one age, begun at different times."""

    async def short_lived(reader: StreamReader, writer: StreamWriter) -> None:
        there, back = await asyncio.open_connection(far.host, int(far.port))
        try:
            async with asyncio.timeout(1.0):
                await asyncio.gather(_copy(reader, back), _copy(there, writer))
        finally:
            back.close()

    async with serving(short_lived) as peer:
        checked = await check(peer, extras=Extras(age_seconds=3.0), seconds=20.0)
    assert_named(checked, "max-lifetime")


async def _copy(reader: StreamReader, writer: StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()


async def test_a_control_host_tells_the_client_from_the_destination(far: FarEnd, tool: Tool) -> None:
    """A host that is certainly allowed is refused as well: it is this client that may not."""
    with peers.tinyproxy(tool, allow_port=443) as proxy:
        denied = await check(far.server.endpoint, proxy.url, extras=Extras(control=far.server.endpoint))
        assert "denied" == answer(denied.found.findings, "other-host").outcome
        web = Extras(control=Endpoint("127.0.0.1", 443))
        allowed = await check(far.server.endpoint, proxy.url, extras=web)
        assert "denied" != answer(allowed.found.findings, "other-host").outcome
    assert_named(allowed, "proxy-port-policy")


async def test_the_right_address_is_tried(far: FarEnd) -> None:
    """The name points to nobody, the address that was given answers: the record is old."""
    wrong = Endpoint(loopback_host(), far.server.endpoint.port)
    checked = await check(wrong, extras=Extras(given_address="127.0.0.1"))
    assert "dns-stale-address" in [cause.id for cause in checked.diagnosis.causes], checked.told


async def test_the_right_address_is_no_news_where_all_is_well(far: FarEnd) -> None:
    """A path that works has no old record, whatever address is given."""
    checked = await check(far.server.endpoint, extras=Extras(given_address="127.0.0.1"))
    assert "answered" == answer(checked.found.findings, "given-address").outcome
    assert [] == [cause.id for cause in checked.diagnosis.causes], checked.told


@pytest.mark.parametrize(
    ("source", "word", "cause"),
    [
        ("127.0.0.1", "right", None),
        ("192.0.2.77", "missing", "client-bad-source"),
        ("127.9.9.9", "other-interface", "client-wrong-interface"),
    ],
)
async def test_where_traffic_leaves_from(source: str, word: str, cause: str | None, far: FarEnd) -> None:
    """The address that it should leave from is compared with the one that it does leave from."""
    checked = await check(far.server.endpoint, extras=Extras(source=source))
    assert (word, cause) == (answer(checked.found.findings, "source").outcome, checked.cause), checked.told


async def test_the_far_end_is_asked_by_the_other_way(far: FarEnd) -> None:
    """A proxy that says 200 and passes nothing on: without it the server says that nothing came."""

    async def swallow(reader: StreamReader, writer: StreamWriter) -> None:
        await read_head(reader)
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        await until_end(reader)

    async with serving(swallow) as proxy:
        checked = await check(far.server.endpoint, f"http://{proxy}", seconds=6.0)
    assert "never-arrived" == answer(checked.found.findings, "server-record").outcome
    assert_named(checked, "proxy-passes-nothing")


async def test_a_journal_is_carried_by_hand(far: FarEnd, command: Command, tmp_path: Path) -> None:
    """The server's journal says what became of our packet: there, or with the record on another day."""
    saved, journal = tmp_path / "saved.json", tmp_path / "journal"
    checked = await check(far.server.endpoint, key=Key(bytes(32)))
    saved.write_text(json.dumps(checked.found.as_dict()))
    journal.write_text("\n".join(json.dumps(one.as_dict()) for one in far.server.journal.records))
    status, out, err = await command("check", "--from", saved, "--journal", journal)
    assert (1, "") == (status, err)
    assert "seal-broken" in out
    journal.write_text("{}\n")
    status, _, err = await command("check", "--from", saved, "--journal", journal)
    assert 2 == status
    assert "line 1: expected an object with peer" in err


async def test_many_runs_are_judged_together(far: FarEnd) -> None:
    """One line for each run, then the verdict; connections are held open between them."""
    arguments = ["check", str(far.server.endpoint), "--watch", "0.01", "--count", "3"]
    process = await asyncio.create_subprocess_exec(
        SCRIPTS / "relay", *arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment()
    )
    out, err = (told.decode() for told in await process.communicate())
    assert (0, "") == (process.returncode, err)
    lines = re.findall(r"^\S+Z good +Framework packets get through", out, re.MULTILINE)
    assert 3 == len(lines)
    assert "every run was good: 3 of 3 runs good" in out


async def test_what_only_clients_trip_over(far: FarEnd, tool: Tool) -> None:
    """tinyproxy answers with HTTP/1.0: worth a note only when another client fails."""
    with peers.squid(tool) as proxy:
        status_of = await check(far.server.endpoint, proxy.url)
        assert_good(status_of)
    assert "client-drops-coalesced" not in [cause.id for cause in status_of.diagnosis.notices]


async def test_a_user_agent_is_judged(far: FarEnd) -> None:
    """A proxy that lets browsers pass and no other program."""

    async def choosy(reader: StreamReader, writer: StreamWriter) -> None:
        head = await read_head(reader)
        is_browser = b"Mozilla/" in head
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n" if is_browser else b"HTTP/1.1 403 Forbidden\r\n\r\n")
        await writer.drain()

    async with serving(choosy) as proxy:
        assert_named(await check(far.server.endpoint, f"http://{proxy}"), "proxy-user-agent-policy")


async def test_only_web_traffic_leaves(far: FarEnd) -> None:
    """CONNECT is refused, a WebSocket passes."""

    async def web_only(reader: StreamReader, writer: StreamWriter) -> None:
        head = await read_head(reader)
        passes = head.startswith(b"GET http://") and b"Upgrade: websocket" in head
        writer.write(b"HTTP/1.1 101 Switching Protocols\r\n\r\n" if passes else b"HTTP/1.1 405 No\r\n\r\n")
        await writer.drain()

    async with serving(web_only) as proxy:
        checked = await check(far.server.endpoint, f"http://{proxy}")
    assert "http-upgrade-only-egress" in checked.named, checked.told


async def test_a_socks_proxy_that_is_none(far: FarEnd, tool: Tool) -> None:
    """An HTTP proxy behind socks5h://."""
    with peers.squid(tool) as proxy:
        checked = await check(far.server.endpoint, proxy.url.replace("http", "socks5h", 1), seconds=5.0)
    assert_named(checked, "proxy-is-http")


FIRST = [True, True, False, False, True, False]


@pytest.mark.parametrize(
    ("first", "second", "word"),
    [
        ([True] * 6, [True] * 6, "all"),
        ([False] * 6, [False] * 6, "none"),
        (FIRST, FIRST, "fixed-by-port"),
        ([True] * 2 + [False] * 4, [False] * 4 + [True] * 2, "by-order"),
        ([True] * 2 + [False] * 4, [False] * 6, "first-then-none"),
        (FIRST, FIRST[::-1], "mixed"),
    ],
)
def test_two_rounds_over_the_same_ports(first: list[bool], second: list[bool], word: str) -> None:
    """What the port decides is told from what the number, the time or chance does."""
    assert word == source_ports.judge(first, second)


@pytest.mark.parametrize(
    ("passes", "word"),
    [("", "none-passes"), ("tls", "tls-passes"), ("tls http", "http-and-tls-pass"), ("split", "split-passes"),
     ("split tls http", "http-and-tls-pass"), ("split other tls", "split-passes"), ("other", "others-pass")],
)  # fmt: skip
def test_forms_that_pass(passes: str, word: str) -> None:
    """A filter of the first byte is told from a signature of our packet."""
    forms = {form: form in passes.split() for form in ("split", "tls", "http", "other")}
    assert word == variant.judge(**forms)


def test_addresses_of_an_answer() -> None:
    """Names are skipped, with pointers and without; other records too (RFC 1035 section 4.1)."""
    head = b"\0\1\x81\x80\0\1\0\2\0\0\0\0" + query_for("a.example", 1)[12:]
    alias = b"\xc0\x0c\0\5\0\1\0\0\0\1\0\3\1b\0"
    address = b"\1b\0\0\1\0\1\0\0\0\1\0\4" + socket.inet_aton("192.0.2.9")
    assert ["192.0.2.9"] == addresses_in(head + alias + address)
    assert [] == addresses_in(head + alias[:7])


class Recorder:
    """A peer that counts connections and keeps every head that came on them."""

    def __init__(self, reply: bytes, is_closing: bool) -> None:
        self.reply, self.is_closing = reply, is_closing
        self.heads: list[bytes] = []

    async def play(self, reader: StreamReader, writer: StreamWriter) -> None:
        self.heads.append(b"")
        place = len(self.heads) - 1
        self.heads[place] = await reader.read(4096)
        writer.write(self.reply)
        await writer.drain()
        if not self.is_closing:
            await until_end(reader)


REPLIES = {
    "says 200 and then nothing": (b"HTTP/1.1 200 OK\r\n\r\n", False),
    "says 200 and hangs up": (b"HTTP/1.1 200 OK\r\n\r\n", True),
    "says no": (b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n", True),
    "fails": (b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n", True),
    "wants a login": (
        b'HTTP/1.1 407 Login\r\nProxy-Authenticate: Basic realm="x"\r\nContent-Length: 0\r\n\r\n', True,
    ),
    "says nothing": (b"", False),
    "hangs up": (b"", True),
}  # fmt: skip


@pytest.mark.parametrize("login", ["", "me:secret@"])
async def test_a_run_is_polite(login: str, closed_port: Endpoint) -> None:
    """Whatever a proxy does: at most 30 connections, each counted, a password sent once at most."""

    async def one(name: str) -> tuple[str, int, int, int]:
        recorder = Recorder(*REPLIES[name])
        async with serving(recorder.play) as proxy:
            checked = await check(closed_port, f"http://{login}{proxy}", seconds=4.0)
        logins = sum(b"Proxy-Authorization" in head for head in recorder.heads)
        return name, len(recorder.heads), checked.found.connections, logins

    told = await asyncio.gather(*(one(name) for name in REPLIES))
    assert [] == [line for line in told if line[1] > line[2] or line[2] > MAX_CONNECTIONS]
    assert [] == [line for line in told if line[0] == "wants a login" and line[3] > 1]


async def test_a_server_is_not_stormed() -> None:
    """A peer that takes every connection and never answers: at most 30 come to it."""
    recorder = Recorder(b"", is_closing=False)
    async with serving(recorder.play) as peer:
        checked = await check(peer, seconds=6.0)
    assert Verdict.BROKEN == checked.diagnosis.verdict
    assert len(recorder.heads) <= checked.found.connections <= MAX_CONNECTIONS
    wrong: list[Check] = [one for one in CHECKS.values() if one.disturbs and not one.on_request]
    assert [] == wrong
