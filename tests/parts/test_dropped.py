"""Who is dropped by the emulated server, with which word in its journal, and how much memory it had."""

import asyncio
import json
import os
import zlib
from collections.abc import AsyncIterator

import pytest

from protocol.packet import MAX_HOLD_MILLISECONDS, Packet, read_sink_reply, source_bytes
from protocol.sealing import Key
from relay.journal import Ended
from relay.serving import READ_AHEAD_BYTES
from tests.parts.framework_peers import RawClient, Watched, nothing_unheard, sealed_by_hand, until

OTHER_KEY = Key(b"o" * 32)


@pytest.fixture(autouse=True)
async def unheard() -> AsyncIterator[None]:
    """No exception of any of these tests reaches asyncio's exception handler."""
    async with nothing_unheard():
        yield


TLS_HELLO = bytes.fromhex("16030102000100") + bytes(510)
HTTP_REQUEST = b"GET /index.html HTTP/1.1\r\nHost: fw.example\r\nUser-Agent: curl/8\r\n\r\n"
CONNECT_HEAD = b"CONNECT a.rather.long.name.example:5000 HTTP/1.1\r\nHost: a.rather.long.name.example\r\n\r\n"


@pytest.mark.parametrize(
    ("data", "ended", "looks_like"),
    [
        (TLS_HELLO, Ended.FRAME_TOO_LARGE, "a TLS ClientHello"),
        (HTTP_REQUEST, Ended.FRAME_TOO_LARGE, "an HTTP request"),
        (CONNECT_HEAD, Ended.FRAME_TOO_LARGE, "an HTTP request"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", Ended.FRAME_TOO_LARGE, "an SSH banner"),
        (b"\xff\xff\xff\xff", Ended.FRAME_TOO_LARGE, None),
        (b"\x01\x00\x00\x00", Ended.FRAME_TOO_LARGE, None),
        (b"\x00\x00\x00\x00", Ended.SEAL_BROKEN, None),
        (b"\x00\x00\x00\x24" + b"\x07" * 36, Ended.SEAL_BROKEN, None),
    ],
    ids=["tls", "http", "connect", "ssh", "4_gib", "one_too_many", "empty_frame", "garbage"],
)
async def test_garbage_is_dropped_at_once(data: bytes, ended: Ended, looks_like: str | None) -> None:
    """What is no Framework stream is dropped without an answer; the journal says what it looked like."""
    async with Watched() as watched, await watched.client() as client:
        await client.write(data)
        assert b"" == (await client.end())[0]
        record = await watched.next_ended()
    assert (ended, looks_like, len(data)) == (record.ended, record.looks_like, record.bytes_received)
    assert (data[:16].hex(), 0) == (record.first_bytes, record.packets_received)
    assert record.detail
    json.dumps(record.as_dict())


async def test_another_key_is_dropped() -> None:
    """A client with another key is dropped; its bytes look right, and the journal says both."""
    async with Watched(key=OTHER_KEY) as watched:
        async with await RawClient.connect(watched.server.endpoint, Key.public()) as client:
            await client.send(Packet.ping())
            assert (b"", "fin") == await client.end()
        record = await watched.next_ended()
    assert (Ended.SEAL_BROKEN, "a Framework frame") == (record.ended, record.looks_like)


async def test_a_repeated_packet_is_dropped_after_the_answers_before_it() -> None:
    """Who sends a packet twice gets the answer to the first, and is dropped for the second."""
    async with Watched() as watched, await watched.client() as client:
        wire = client.packets.send(Packet.ping())
        await client.write(wire + wire)
        assert Packet.ping() == await client.receive()
        assert (b"", "fin") == await client.end()
        record = await watched.next_ended()
    assert (Ended.SEAL_BROKEN, 1, 1) == (record.ended, record.packets_received, record.packets_sent)


async def test_an_inflation_bomb_is_dropped() -> None:
    """A megabyte of nothing, in a thousand bytes, is over a limit of 64 KiB and dropped for it."""
    async with Watched(inflated_limit_bytes=65_536) as watched, await watched.client() as client:
        await client.send(Packet.sink(bytes(1_000_000)))
        assert (b"", "fin") == await client.end()
        record = await watched.next_ended()
    assert Ended.INFLATE_TOO_LARGE is record.ended
    assert record.bytes_received < 2_000


async def test_a_packet_that_is_no_gzip_is_dropped() -> None:
    """A packet that opens, but holds no gzip member, ends the connection."""
    async with Watched() as watched, await watched.client() as client:
        await client.write(sealed_by_hand(zlib.compress(b"zlib, not gzip")))
        assert (b"", "fin") == await client.end()
        assert Ended.BODY_MALFORMED is (await watched.next_ended()).ended


async def test_a_frame_cut_by_a_fin() -> None:
    """An end inside a frame is no clean end."""
    async with Watched() as watched, await watched.client() as client:
        await client.ask(Packet.ping())
        await client.write(client.packets.send(Packet.ping())[:30])
        client.half_close()
        assert (b"", "fin") == await client.end()
        record = await watched.next_ended()
    assert (Ended.STREAM_TRUNCATED, 1) == (record.ended, record.packets_received)
    assert "after 26 of the 40 bytes" in record.detail


async def test_a_frame_cut_by_a_reset() -> None:
    """A reset inside a frame is told as a reset, with how much of the frame had come."""
    async with Watched() as watched:
        client = await watched.client()
        await client.ask(Packet.ping())
        await client.write(client.packets.send(Packet.ping())[:30])
        await until(lambda: watched.server.journal.records[0].bytes_received >= 74)
        client.reset()
        record = await watched.next_ended()
    assert Ended.CLIENT_RESET is record.ended
    assert "in the middle of a frame, 30 bytes of it came" in record.detail


async def test_a_reset_is_seen_while_an_answer_is_held() -> None:
    """A client that goes away during HOLD is seen going at once, not when its time has come."""
    async with Watched() as watched:
        client = await watched.client()
        await client.send(Packet.hold(MAX_HOLD_MILLISECONDS))
        await until(lambda: watched.server.journal.records[0].packets_received >= 1)
        client.reset()
        assert Ended.CLIENT_RESET is (await watched.next_ended()).ended


async def test_little_is_read_while_an_answer_is_held() -> None:
    """During HOLD the client's bytes stay in its own queue, but for READ_AHEAD_BYTES and one read."""
    async with Watched() as watched, await watched.client() as client:
        await client.send(Packet.hold(MAX_HOLD_MILLISECONDS))
        writing = asyncio.create_task(client.send(Packet.sink(os.urandom(8_000_000))))
        (conversation,) = watched.server.conversations
        await until(lambda: not conversation._is_reading)
        received = watched.server.journal.records[0].bytes_received
        assert READ_AHEAD_BYTES <= received <= READ_AHEAD_BYTES + 262_144 + 100
        writing.cancel()
        await asyncio.gather(writing, return_exceptions=True)


async def test_what_was_read_ahead_is_answered() -> None:
    """After HOLD reading goes on, and a large packet that had begun to come is answered whole."""
    async with Watched() as watched, await watched.client() as client:
        await client.send(Packet.hold(150))
        writing = asyncio.create_task(client.send(Packet.sink(os.urandom(3_000_000))))
        assert Packet.hold(150) == await client.receive()
        reply = await client.receive()
        assert reply is not None
        assert 3_000_000 == read_sink_reply(reply.argument)[0]
        await writing


@pytest.mark.parametrize("sent", [b"", b"\x00\x00"], ids=["silent", "half_a_length"])
async def test_silence_ends_by_the_idle_timeout(sent: bytes) -> None:
    """Who connects and says nothing more is closed after the idle timeout."""
    async with Watched(idle_timeout_seconds=0.1) as watched, await watched.client() as client:
        await client.write(sent)
        assert (b"", "fin") == await client.end()
        record = await watched.next_ended()
    assert (Ended.IDLE_TIMEOUT, len(sent)) == (record.ended, record.bytes_received)
    assert ("in the middle of a frame, 2 bytes of it came" if sent else "") == record.detail
    assert record.seconds is not None
    assert 0.1 <= record.seconds < 2


async def test_packets_put_the_idle_timeout_off() -> None:
    """The idle time counts from the last whole packet."""
    async with Watched(idle_timeout_seconds=0.2) as watched, await watched.client() as client:
        for _ in range(4):
            await client.ask(Packet.hold(100))
        assert (b"", "fin") == await client.end()
        record = await watched.next_ended()
    assert Ended.IDLE_TIMEOUT is record.ended
    assert record.seconds is not None
    assert record.seconds >= 0.6


async def test_a_held_answer_is_no_idleness() -> None:
    """A HOLD longer than the idle timeout is answered: it is there to find the timeouts of others."""
    async with Watched(idle_timeout_seconds=0.1) as watched, await watched.client() as client:
        assert Packet.hold(350) == await client.ask(Packet.hold(350))


async def test_a_dribbling_client_gains_no_time() -> None:
    """A byte now and then is no packet: the idle timeout comes all the same."""
    async with Watched(idle_timeout_seconds=0.3) as watched, await watched.client() as client:
        wire = client.packets.send(Packet.echo(os.urandom(1000)))

        async def dribble() -> None:
            pause = asyncio.Event()
            for place in range(len(wire)):
                try:
                    await client.write(wire[place : place + 1])
                    async with asyncio.timeout(0.02):
                        await pause.wait()
                except TimeoutError:
                    continue
                except ConnectionError:
                    return

        dribbling = asyncio.create_task(dribble())
        record = await watched.next_ended()
        await dribbling
    assert Ended.IDLE_TIMEOUT is record.ended
    assert 3 < record.bytes_received < 100
    assert f"{record.bytes_received} bytes of it came" in record.detail


async def test_a_client_that_reads_nothing_is_reset() -> None:
    """Replies that nobody takes are kept for the idle timeout, without reading on, and then thrown away."""
    async with Watched(idle_timeout_seconds=0.3) as watched:
        async with await watched.client(receive_buffer=4096) as client:
            await client.send(Packet.source(8_000_000), *(Packet.source(1_000_000) for _ in range(20)))
            record = await watched.next_ended()
            assert "rst" == (await client.end())[1]
    assert (Ended.NOT_READING, 1) == (record.ended, record.packets_received)


async def test_a_slow_reader_gets_everything() -> None:
    """A client that reads slowly, but reads, gets its replies; other connections do not wait for it."""
    async with Watched() as watched, await watched.client(receive_buffer=4096) as slow:
        await slow.send(*(Packet.source(400_000, seed) for seed in range(3)))
        async with await watched.client() as quick:
            assert Packet.ping() == await quick.ask(Packet.ping())
        for seed in range(3):
            reply = await slow.receive()
            assert reply is not None
            assert source_bytes(400_000, seed) == reply.argument


async def test_a_flood_towards_a_dead_client_stops() -> None:
    """When the client has reset, what it had asked for is not worked off any more."""
    async with Watched() as watched:
        client = await watched.client(receive_buffer=4096)
        await client.send(*(Packet.source(100_000) for _ in range(100)))
        client.reset()
        record = await watched.next_ended()
    assert Ended.CLIENT_RESET is record.ended
    assert record.packets_received < 100
