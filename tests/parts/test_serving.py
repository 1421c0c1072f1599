"""One connection to the emulated server: what it answers, and how each bad client ends."""

import asyncio
import hashlib
import os
import time
import zlib
from collections.abc import AsyncIterator

import pytest

from protocol.packet import (
    MAX_HOLD_MILLISECONDS,
    CloseHow,
    Operation,
    Packet,
    read_document,
    read_error,
    read_sink_reply,
    source_bytes,
)
from protocol.sealing import Key
from relay.journal import Ended
from tests.parts.framework_peers import Watched, nothing_unheard, sealed_by_hand

NONCE = bytes(range(16))
OTHER_KEY = Key(b"o" * 32)


@pytest.fixture(autouse=True)
async def unheard() -> AsyncIterator[None]:
    """No exception of any of these tests reaches asyncio's exception handler."""
    async with nothing_unheard():
        yield


async def test_answers_pings() -> None:
    """An empty packet is answered by an empty packet, 44 bytes each way, and counted."""
    async with Watched() as watched, await watched.client() as client:
        assert Packet.ping() == await client.ask(Packet.ping())
        client.half_close()
        assert (b"", "fin") == await client.end()
        record = await watched.next_ended()
    assert (1, 1, 1, 44, 44) == (
        record.pings, record.packets_received, record.packets_sent, record.bytes_received, record.bytes_sent,
    )  # fmt: skip
    assert Ended.CLIENT_CLOSED is record.ended
    assert "a Framework frame" == record.looks_like


async def test_echoes() -> None:
    """ECHO gives back what it got: nothing, a little, and more than one read of a socket."""
    async with Watched() as watched, await watched.client() as client:
        for data in (b"", b"x", os.urandom(300_000)):
            assert Packet.echo(data) == await client.ask(Packet.echo(data))


@pytest.mark.parametrize(
    "large",
    [Packet.source(8_000_000, 1), Packet.echo(os.urandom(8_000_000)), Packet.sink(bytes(60_000_000))],
    ids=["source", "echo", "sink"],
)
async def test_a_large_packet_holds_up_nobody(large: Packet) -> None:
    """Others are answered while a thread opens one client's packet and packs its answer."""
    async with Watched() as watched, await watched.client() as busy, await watched.client() as other:
        watched.server.large_packets = asyncio.Semaphore(1)
        asked = asyncio.create_task(busy.ask(large))
        while not watched.server.large_packets.locked() and not asked.done():
            assert Packet.ping() == await other.ask(Packet.ping())
        answered = 0
        while not asked.done():
            assert Packet.ping() == await other.ask(Packet.ping())
            answered += 1
        assert large.operation == (await asked).operation
    assert answered > 4


async def test_a_client_may_leave_while_its_large_packet_is_packed() -> None:
    """Its connection ends as any other, and the server stops without waiting for the thread."""
    async with Watched() as watched:
        watched.server.large_packets = asyncio.Semaphore(1)
        async with await watched.client() as client:
            await client.send(Packet.source(8_000_000, 1))
            async with await watched.client() as other:
                while not watched.server.large_packets.locked():
                    await other.ask(Packet.ping())
            client.reset()
        assert {Ended.CLIENT_CLOSED, Ended.CLIENT_RESET} == {
            (await watched.next_ended()).ended, (await watched.next_ended()).ended
        }  # fmt: skip


async def test_is_a_source_and_a_sink() -> None:
    """SOURCE sends the bytes both sides know; SINK tells count and SHA-256 of what came."""
    async with Watched() as watched, await watched.client() as client:
        reply = await client.ask(Packet.source(100_000, seed=7))
        assert (Operation.SOURCE, source_bytes(100_000, 7)) == (reply.operation, reply.argument)
        data = os.urandom(100_000)
        reply = await client.ask(Packet.sink(data))
        assert (100_000, hashlib.sha256(data).digest()) == read_sink_reply(reply.argument)


async def test_tells_what_it_observes() -> None:
    """OBSERVED names the client's end as the server sees it, first bytes, counts, and the kernel's view."""
    async with Watched() as watched, await watched.client() as client:
        await client.ask(Packet.ping())
        seen = read_document((await client.ask(Packet.observed())).argument)
        assert (client.name, str(watched.server.endpoint)) == (seen["peer"], seen["local"])
        assert (2, 1, 1) == (seen["packets_received"], seen["packets_sent"], seen["pings"])
        assert 32 == len(seen["first_bytes"])
        assert "00000028" == seen["first_bytes"][:8]
        assert seen["tcp_info"]["snd_mss"] > 0
        assert (None, None) == (seen["ended"], seen["nonce"])


async def test_holds_an_answer() -> None:
    """HOLD is answered after its time, and what was asked behind it is answered behind it."""
    async with Watched() as watched, await watched.client() as client:
        began = time.monotonic()
        await client.send(Packet.hold(150), Packet.echo(b"behind"))
        assert Packet.hold(150) == await client.receive()
        assert time.monotonic() - began >= 0.15
        assert Packet.echo(b"behind") == await client.receive()


async def test_journal_is_fetched_by_nonce_through_another_connection() -> None:
    """What a session did is told to whoever knows its nonce, while it is open and after it has ended."""
    async with Watched() as watched, await watched.client() as other:
        names = []
        for count in (1, 2):
            async with await watched.client() as client:
                names.append(client.name)
                assert Packet.identify(NONCE) == await client.ask(Packet.identify(NONCE))
                journal = read_document((await other.ask(Packet.journal(NONCE))).argument)
            assert (count, names) == (journal["count"], [record["peer"] for record in journal["records"]])
            assert None is journal["records"][-1]["ended"]
            await watched.next_ended()
        journal = read_document((await other.ask(Packet.journal(NONCE))).argument)
        assert ["client-closed"] * 2 == [record["ended"] for record in journal["records"]]
        unknown = await other.ask(Packet.journal(bytes(16)))
    assert "no session with this nonce is in the journal" == read_error(unknown.argument)


@pytest.mark.parametrize("how", [CloseHow.FIN, CloseHow.RST])
async def test_closes_as_asked(how: CloseHow) -> None:
    """CLOSE ends the connection at once, with a FIN or with a RST."""
    async with Watched() as watched, await watched.client() as client:
        await client.send(Packet.close(how))
        assert (b"", how.name.lower()) == await client.end()
        assert Ended.CLOSE_REQUESTED is (await watched.next_ended()).ended


async def test_closes_half() -> None:
    """After CLOSE HALF nothing more is said, but all is still heard, until the client ends."""
    async with Watched() as watched, await watched.client() as client:
        await client.send(Packet.ping(), Packet.close(CloseHow.HALF), Packet.close(CloseHow.HALF))
        assert Packet.ping() == await client.receive()
        assert (b"", "fin") == await client.end()
        await client.send(Packet.ping(), Packet.hold(1), Packet.sink(b"x" * 1000))
        client.half_close()
        record = await watched.next_ended()
    assert (Ended.CLIENT_CLOSED, 6, 1) == (record.ended, record.packets_received, record.packets_sent)


@pytest.mark.parametrize(
    ("packet", "words"),
    [
        (Packet(b"\xee"), "operation 0xee is not known"),
        (Packet(bytes((Operation.SOURCE,)) + b"short"), "SOURCE has 12 bytes of argument, not 5"),
        (Packet(bytes((Operation.HOLD,)) + b"\xff" * 4), f"the limit is {MAX_HOLD_MILLISECONDS}"),
        (Packet(bytes((Operation.IDENTIFY,)) + b"x"), "a nonce has 16 bytes of argument, not 1"),
        (Packet(bytes((Operation.CLOSE,)) + b"\x09"), "closing by 9 is not known"),
        (Packet.error("no"), "ERROR is an answer, not a request"),
    ],
    ids=lambda value: value.replace(" ", "_") if isinstance(value, str) else "",
)
async def test_a_wrong_request_is_answered_and_forgiven(packet: Packet, words: str) -> None:
    """A packet that opens but asks for nonsense gets an ERROR that says what is wrong; the stream goes on."""
    async with Watched() as watched, await watched.client() as client:
        reply = await client.ask(packet)
        assert Operation.ERROR is reply.operation
        assert words in read_error(reply.argument)
        assert Packet.ping() == await client.ask(Packet.ping())


async def test_an_echo_that_does_not_fit_is_an_error() -> None:
    """What came packed tighter than the server packs, and is too large as a reply, is told, not dropped."""
    body = bytes((Operation.ECHO,)) + os.urandom(2**24 - 1620)
    async with Watched() as watched, await watched.client() as client:
        # Stored blocks of 64 KiB cost less than those of 16 KiB that level 9 makes of random bytes
        packer = zlib.compressobj(0, wbits=31)
        await client.write(sealed_by_hand(packer.compress(body) + packer.flush()))
        client.packets.packets_sent += 1
        reply = await client.receive()
        assert reply is not None
        assert Operation.ERROR is reply.operation
        assert "the limit is 16777215" in read_error(reply.argument)
        assert Packet.ping() == await client.ask(Packet.ping())


async def test_outstanding_replies_come_after_a_half_close() -> None:
    """A client that has said its last word still gets every answer, those that are held included."""
    async with Watched() as watched, await watched.client() as client:
        await client.send(Packet.ping(), Packet.hold(100), Packet.echo(b"last"), Packet.source(500_000))
        client.half_close()
        assert Packet.ping() == await client.receive()
        assert Packet.hold(100) == await client.receive()
        assert Packet.echo(b"last") == await client.receive()
        reply = await client.receive()
        assert reply is not None
        assert source_bytes(500_000, 0) == reply.argument
        assert await client.receive() is None
        assert Ended.CLIENT_CLOSED is (await watched.next_ended()).ended


async def test_many_small_requests_at_once_are_all_answered() -> None:
    """Requests sent in one breath, and cut anywhere, are answered one by one, in order."""
    async with Watched() as watched, await watched.client() as client:
        sending = asyncio.create_task(client.send(*(Packet.echo(b"%d" % n) for n in range(3000))))
        for number in range(3000):
            assert Packet.echo(b"%d" % number) == await client.receive()
        await sending
