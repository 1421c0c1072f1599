"""Questions that `relay check` puts to a plain proxy by hand: one odd answer blames nobody."""

import asyncio
import socket
import time
from asyncio import StreamReader, StreamWriter
from collections.abc import Iterator
from itertools import chain, count, cycle, repeat

import pytest

from protocol.sealing import Key
from relay.check import CHECKS, Trip, ask
from relay.finding import Finding
from relay.route import Endpoint, Hop, Route
from tests.path.checked import Serve, read_head, serving, until_end
from tests.path.conftest import FarEnd

ESTABLISHED = b"HTTP/1.1 200 Connection established\r\n\r\n"
NEVER = repeat(False)
BUSY = b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n"
FORBIDDEN = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n"


async def put(question: str, proxy: Endpoint, target: Endpoint) -> Finding:
    """One question, as a run puts it that has come so far."""
    trip = Trip(Route(target, (Hop.parse(f"http://{proxy}"),)), Key.public())
    trip.address = (socket.AF_INET, (proxy.host, proxy.port))
    trip.answered_seconds = 0.1
    try:
        return await ask(CHECKS[question], trip, time.monotonic())
    finally:
        trip.close()


def carrying(far: FarEnd, heads: Iterator[bytes], *, forgets: Iterator[bool] = NEVER) -> Serve:
    """A proxy that answers each connection with the next of `heads`, and may forget what came before it."""

    async def carry(reader: StreamReader, writer: StreamWriter) -> None:
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()

    async def play(reader: StreamReader, writer: StreamWriter) -> None:
        head, is_forgetful = next(heads), next(forgets)
        await read_head(reader)
        if is_forgetful:
            await reader.read(65_536)
        there, back = await asyncio.open_connection(far.server.endpoint.host, far.server.endpoint.port)
        try:
            writer.write(head)
            await asyncio.gather(carry(reader, back), carry(there, writer), return_exceptions=True)
        finally:
            back.close()

    return play


@pytest.mark.parametrize(
    ("heads", "outcome"),
    [
        (repeat(ESTABLISHED), "kept"),
        (repeat(b"HTTP/1.1 200 OK\n\n"), "kept"),
        (repeat(b"HTTP/1.1 100 Continue\r\n\r\n" + ESTABLISHED), "kept"),
        (repeat(BUSY), "untested"),
        (repeat(b"HTTP/1.1 200 OK\r\n"), "untested"),
    ],
    ids=["200", "LF alone", "100 before it", "503", "half a head"],
)
async def test_bytes_are_lost_only_in_a_tunnel(heads: Iterator[bytes], outcome: str, far: FarEnd) -> None:
    """Where no tunnel is opened, nothing is known of what was sent before it."""
    async with serving(carrying(far, heads)) as proxy:
        answer = await put("early-bytes", proxy, far.server.endpoint)
    assert outcome == answer.outcome, answer


@pytest.mark.parametrize("times", [1, 2])
async def test_bytes_that_are_lost_are_lost_again(times: int, far: FarEnd) -> None:
    """One tunnel without an answer is one tunnel without an answer."""
    forgets = chain(repeat(True, times), repeat(False))
    async with serving(carrying(far, repeat(ESTABLISHED), forgets=forgets)) as proxy:
        answer = await put("early-bytes", proxy, far.server.endpoint)
    assert ("lost" if times == 2 else "kept") == answer.outcome, answer


async def test_a_name_is_blamed_when_it_decides_each_time() -> None:
    """Browsers are let through, others are not."""

    async def choosy(reader: StreamReader, writer: StreamWriter) -> None:
        head = await read_head(reader)
        writer.write(ESTABLISHED if b"Mozilla/" in head else FORBIDDEN)

    async with serving(choosy) as proxy:
        answer = await put("user-agent", proxy, Endpoint("192.0.2.7", 5000))
    assert "matters" == answer.outcome, answer


@pytest.mark.parametrize("first", [0, 1])
@pytest.mark.parametrize("every", [2, 3])
async def test_a_name_is_not_blamed_for_what_comes_and_goes(every: int, first: int) -> None:
    """Every second or third connection is reset, whoever asks."""
    numbers = count(first)

    async def moody(reader: StreamReader, writer: StreamWriter) -> None:
        await read_head(reader)
        if next(numbers) % every:
            writer.write(ESTABLISHED)
        else:
            writer.transport.abort()

    async with serving(moody) as proxy:
        answer = await put("user-agent", proxy, Endpoint("192.0.2.7", 5000))
    assert "varies" == answer.outcome, answer


async def test_a_head_that_is_cut_short_is_no_tunnel() -> None:
    """A status line alone opens nothing, for whomever."""
    ends = cycle([b"HTTP/1.1 200 OK\r\nVia: 1.1 ", b"HTTP/1.1 200 OK\r\n"])

    async def cut(reader: StreamReader, writer: StreamWriter) -> None:
        await read_head(reader)
        writer.write(next(ends))

    async with serving(cut) as proxy:
        answer = await put("user-agent", proxy, Endpoint("192.0.2.7", 5000))
    assert "ignored" == answer.outcome, answer


async def test_a_slow_proxy_keeps_bytes(far: FarEnd) -> None:
    """It answers later than it did before: that says nothing of the bytes."""

    async def silent(reader: StreamReader, writer: StreamWriter) -> None:
        await read_head(reader)
        await until_end(reader)

    async with serving(silent) as proxy:
        answer = await put("early-bytes", proxy, far.server.endpoint)
    assert ("untested", "the proxy did not answer this time") == (answer.outcome, answer.words)
