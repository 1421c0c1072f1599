"""LineLog: a slow reader of a log makes nobody wait, loses no line that fits, and is told what was lost."""

import asyncio
import contextlib
import errno
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from relay.line_log import LineLog

LIMIT = 300_000


class Log:
    """A LineLog into a pipe, whose reader reads when told."""

    def __init__(self, limit_bytes: int = LIMIT) -> None:
        self.reader, self.writer = os.pipe()
        self.failures: list[int | None] = []
        self.has_failed = asyncio.Event()
        self.lines = LineLog(
            self.writer,
            self._failed,
            lambda lost: json.dumps({"lost": lost}),
            limit_bytes,
        )

    def _failed(self, error: OSError) -> None:
        self.failures.append(error.errno)
        self.has_failed.set()

    async def read_until(self, ending: bytes) -> bytes:
        """Read in the loop until `ending` has come."""
        loop, got, done = asyncio.get_running_loop(), bytearray(), asyncio.Event()

        def take() -> None:
            got.extend(os.read(self.reader, 65_536))
            if got.endswith(ending):
                done.set()

        loop.add_reader(self.reader, take)
        async with asyncio.timeout(10):
            await done.wait()
        loop.remove_reader(self.reader)
        return bytes(got)

    def close(self) -> None:
        for fd in (self.reader, self.writer):
            # A test may have closed it
            with contextlib.suppress(OSError):
                os.close(fd)


@pytest.fixture
def log() -> Iterator[Log]:
    """Give a log into a pipe."""
    made = Log()
    yield made
    made.close()


def numbered(count: int) -> list[str]:
    return [f"line {number} {'x' * 90}" for number in range(count)]


async def test_a_reader_that_sleeps_makes_nobody_wait_and_misses_nothing(log: Log) -> None:
    """More than a pipe holds is written at once, and comes in order when it is read."""
    lines = numbered(2000)
    for line in lines:
        log.lines.write(line)
    log.lines.write("end")
    assert [*lines, "end"] == (await log.read_until(b"end\n")).decode().splitlines()
    # And it goes on directly afterwards
    log.lines.write("more")
    assert b"more\n" == os.read(log.reader, 100)


async def test_lines_beyond_the_limit_are_counted(log: Log) -> None:
    """What does not fit is lost, whole lines only; their number follows those that did fit."""
    lines = numbered(8000)
    for line in lines:
        log.lines.write(line)
    got = (await log.read_until(b"}\n")).decode().splitlines()
    kept = got[:-1]
    assert lines[: len(kept)] == kept
    assert {"lost": len(lines) - len(kept)} == json.loads(got[-1])
    assert LIMIT <= sum(len(line) + 1 for line in kept) <= LIMIT + 100_000


async def test_a_line_longer_than_a_pipe_comes_whole(log: Log) -> None:
    """A line of 200 kB arrives."""
    log.lines.write("y" * 200_000)
    assert b"y" * 200_000 + b"\n" == await log.read_until(b"\n")


async def test_a_reader_that_has_gone_is_told_once(log: Log) -> None:
    """EPIPE is reported once, and nothing is kept for nobody."""
    os.close(log.reader)
    for line in numbered(100):
        log.lines.write(line)
    assert [errno.EPIPE] == log.failures


async def test_a_reader_that_goes_while_lines_wait(log: Log) -> None:
    """The waiting writer hears of it, and stops waiting: its loop is not kept busy."""
    for line in numbered(2000):
        log.lines.write(line)
    os.close(log.reader)
    async with asyncio.timeout(10):
        await log.has_failed.wait()
    before = time.process_time()
    await asyncio.sleep(0.2)
    assert time.process_time() - before < 0.1
    assert [errno.EPIPE] == log.failures


async def test_the_end_waits_for_a_slow_reader_but_not_for_ever(log: Log) -> None:
    """`close` gives up after its time; what was written comes in whole lines."""
    lines = numbered(2000)
    for line in lines:
        log.lines.write(line)
    began = time.monotonic()
    log.lines.close(wait_seconds=0.1)
    assert 0.1 <= time.monotonic() - began < 5
    os.close(log.writer)
    pieces = bytearray()
    while piece := os.read(log.reader, 65_536):
        pieces += piece
    got = pieces.decode()
    assert got.endswith("\n")
    assert lines[: got.count("\n")] == got.splitlines()


def test_outside_a_loop_and_into_a_file(tmp_path: Path) -> None:
    """A plain program writes at once; what no text can be is written as an escape."""
    with (tmp_path / "log").open("ab") as file:
        log = LineLog(file.fileno(), lambda _: pytest.fail("it failed"), lambda lost: f"{lost} lost")
        log.write("a \udcff b")
        log.write("z" * 10_000)
        log.close()
    assert "a \\udcff b\n" + "z" * 10_000 + "\n" == (tmp_path / "log").read_text()
