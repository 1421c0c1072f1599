"""Several listeners, totals, draining and recordings of the forwarder."""

import asyncio
import contextlib
import json
import os
import stat
from pathlib import Path

import pytest

from relay.failure import SettingsError
from relay.forward import Forwarder
from relay.recording import (
    LIMIT_BYTES,
    MAX_CHUNKS,
    MAX_LINE_BYTES,
    Direction,
    RecordFile,
    Recording,
    read_recordings,
)
from relay.route import Endpoint, Hop, Route
from tests.parts.test_forward import FREE, Ended, far_end
from tests.path.ends import FIN, RST, connected, read_to_end

PATIENCE_SECONDS = 15.0


def saying(word: bytes):  # type: ignore[no-untyped-def]
    async def say(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(word)
        await reader.read()
        writer.close()

    return say


async def hear(endpoint: Endpoint, size: int) -> bytes:
    reader, writer = await asyncio.open_connection(endpoint.host, endpoint.port)
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            return await reader.readexactly(size)
    finally:
        writer.close()


async def test_every_listener_leads_to_its_own_target() -> None:
    """Two pairs in one forwarder, and the totals of both."""
    ended = Ended()
    async with far_end(saying(b"one")) as one, far_end(saying(b"two")) as two:
        pairs = [(FREE[0], Route(one)), (FREE[0], Route(two))]
        async with Forwarder(pairs=pairs, on_end=ended.put_nowait) as forwarder:
            first, second = forwarder.endpoints
            heard = [await hear(endpoint, 3) for endpoint in (first, second, first)]
            assert [b"one", b"two", b"one"] == heard
            targets = sorted([str((await ended.next()).route.target) for _ in range(3)])
            totals = forwarder.totals
    assert sorted([str(one), str(one), str(two)]) == targets
    assert (3, 0, 0, 0, 9) == (totals.accepted, totals.open, totals.failed, totals.up, totals.down)


async def test_a_refused_login_stops_its_own_route_only() -> None:
    """The other listener goes on."""

    async def deny(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while await reader.readuntil(b"\r\n\r\n"):
                head = b"HTTP/1.1 407 No\r\nProxy-Authenticate: Basic realm=x\r\nContent-Length: 0\r\n\r\n"
                writer.write(head)
        writer.close()

    async with far_end(deny) as proxy, far_end(saying(b"good")) as target:
        bad = Route(target, (Hop(proxy, user="u", password="p"),))
        async with Forwarder(pairs=[(FREE[0], bad), (FREE[0], Route(target))]) as forwarder:
            refused, good = forwarder.endpoints
            for _ in range(2):
                with await connected(refused) as near:
                    assert (b"", RST) == await read_to_end(near)
            assert b"good" == await hear(good, 4)
            assert 2 == forwarder.totals.failed


async def test_draining_lets_open_connections_end() -> None:
    """No new ones are taken; what is open goes on until it has ended by itself."""

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(100):
            writer.write(data)
        writer.close()

    async with far_end(echo) as target, Forwarder(FREE, Route(target)) as forwarder:
        endpoint = forwarder.endpoints[0]
        loop = asyncio.get_running_loop()
        with await connected(endpoint) as near:
            await loop.sock_sendall(near, b"a")
            assert b"a" == await loop.sock_recv(near, 1)
            draining = asyncio.create_task(forwarder.drain())
            async with asyncio.timeout(PATIENCE_SECONDS):
                while forwarder.endpoints:  # noqa: ASYNC110 - what is waited for has no event
                    await asyncio.sleep(0)
            with pytest.raises(ConnectionRefusedError):
                await asyncio.open_connection(endpoint.host, endpoint.port)
            await loop.sock_sendall(near, b"b")
            assert b"b" == await loop.sock_recv(near, 1)
            assert not draining.done()
            near.shutdown(1)
            assert (b"", FIN) == await read_to_end(near)
        async with asyncio.timeout(PATIENCE_SECONDS):
            await draining
        assert 0 == forwarder.totals.open


async def test_a_recording(tmp_path: Path) -> None:
    """First bytes and times of each direction, in a file that only its owner reads, and read back."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.readexactly(4) + b" and more")
        await reader.read()
        writer.close()

    path = str(tmp_path / "record")
    file, ended = RecordFile(path), Ended()
    async with far_end(serve) as target:
        async with Forwarder(FREE, Route(target), on_end=ended.put_nowait, record=file.write) as forwarder:
            endpoint = forwarder.endpoints[0]
            reader, writer = await asyncio.open_connection(endpoint.host, endpoint.port)
            writer.write(b"ping")
            assert b"ping and more" == await reader.readexactly(13)
            writer.close()
            await ended.next()
    file.close()
    assert 0o600 == stat.S_IMODE(os.stat(path).st_mode)  # noqa: PTH116 - of a local file
    [found] = read_recordings(path)
    assert (str(target), "client-closed") == (found.target, found.ended)
    assert (b"ping", 4) == (found.up.data, found.up.size_bytes)
    assert (b"ping and more", 13) == (found.down.data, found.down.size_bytes)
    assert 0 <= found.up.chunks[0][0] <= found.down.chunks[0][0] <= found.seconds


def test_a_recording_is_bounded(tmp_path: Path) -> None:
    """Only the first bytes are kept; the count goes on, and says that it was cut."""
    recording = Recording("far:1")
    for _ in range(3):
        recording.sent(b"x" * (LIMIT_BYTES // 2))
    for _ in range(MAX_CHUNKS + 1):
        recording.received(b"y")
    recording.end("stopped")
    file = RecordFile(str(tmp_path / "record"))
    file.write(recording)
    file.close()
    [found] = read_recordings(str(tmp_path / "record"))
    assert (LIMIT_BYTES, LIMIT_BYTES * 3 // 2) == (len(found.up.data), found.up.size_bytes)
    assert (MAX_CHUNKS, MAX_CHUNKS + 1) == (len(found.down.chunks), found.down.size_bytes)
    assert json.loads(recording.as_line())["down"]["cut"]


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"{}",
        b"[" * 100_000,
        b"\xff\xfe",
        b'{"version": 2}',
        b'"text"',
        b"{" + b" " * MAX_LINE_BYTES + b"}",
        Recording("far:1").as_line().replace('"bytes": 0', '"bytes": 1e999').encode(),
        b'{"version":1,"target":1,"via":[],"began":"","ended":"","seconds":0,"up":{},"down":{}}',
        Recording("far:1", up=Direction([(-1.0, b"x")])).as_line().encode(),
        Recording("far:1").as_line().replace('"chunks": []', '"chunks": [[0, "!"]]').encode(),
    ],
)
def test_what_is_no_recording(tmp_path: Path, line: bytes) -> None:
    """One sentence that names flag, file and line."""
    path = tmp_path / "record"
    path.write_bytes(line)
    with pytest.raises(SettingsError, match=r"\A--replay: '.*record'"):
        read_recordings(str(path))


def test_a_file_with_too_many_recordings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is refused by count and by size, before all of it is in memory; so is a path that cannot be one."""
    path = tmp_path / "record"
    path.write_text((Recording("far:1").as_line() + "\n") * 3)
    for limit in ("MAX_RECORDINGS", "MAX_FILE_BYTES"):
        with monkeypatch.context() as patch:
            patch.setattr(f"relay.recording.{limit}", 2)
            with pytest.raises(SettingsError, match="is too large; expected at most"):
                read_recordings(str(path))
    with pytest.raises(SettingsError, match="cannot read"):
        read_recordings("a\0b")
