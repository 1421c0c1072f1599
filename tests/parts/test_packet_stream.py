"""Packets over a Stream: what ends one, and what is seen of an idle connection without waiting."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator

import pytest
import trustme

from protocol.errors import LocalWireError
from protocol.packet import Packet
from protocol.sealing import Key
from relay.dial import literal_addresses
from relay.failure import DialFailed, PeerMisbehaved, Reason, RelayError, Stage
from relay.packet_stream import PacketStream
from relay.route import Endpoint
from relay.stream import TlsStream
from relay.tunnel import connect
from tests.parts.framework_peers import Conversed, Scene, ScriptedServer, until


@contextlib.asynccontextmanager
async def packets_to(*scenes: Scene) -> AsyncIterator[PacketStream]:
    async with ScriptedServer(*scenes) as server:
        stream = PacketStream(await connect(address_of(server.endpoint), 5.0), peer="fw:5000")
        try:
            yield stream
        finally:
            await stream.aclose()


def address_of(endpoint: Endpoint):  # type: ignore[no-untyped-def]
    (address,) = literal_addresses(endpoint.host, endpoint.port) or []
    return address


async def test_packets_there_and_back() -> None:
    """Requests and their replies, one after the other; None when the server has closed between packets."""

    async def twice(peer: Conversed) -> None:
        for _ in range(2):
            packet = await peer.receive()
            assert packet is not None
            await peer.send(packet)

    async with packets_to(twice) as packets:
        for body in (b"1", b"2" * 300_000):
            await packets.send(Packet.echo(body))
            assert Packet.echo(body) == await packets.receive()
        assert [None, None] == [await packets.receive(), await packets.receive()]


async def test_replies_come_after_our_last_word() -> None:
    """half_close ends our direction only."""

    async def answer_after_the_end(peer: Conversed) -> None:
        packet = await peer.receive()
        assert packet is not None
        assert await peer.receive() is None
        await peer.send(packet)

    async with packets_to(answer_after_the_end) as packets:
        await packets.send(Packet.echo(b"last word"))
        await packets.half_close()
        assert Packet.echo(b"last word") == await packets.receive()


@pytest.mark.parametrize(
    ("data", "reason", "words"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", Reason.MALFORMED, "sent an HTTP reply where"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", Reason.MALFORMED, "sent an SSH banner where"),
        (b"\x00\x00\x00\x28" + b"\x99" * 40, Reason.SEAL_BROKEN, "does not open"),
        (b"\x00\x00", Reason.TRUNCATED, "in the middle of its answer"),
    ],
    ids=["web_server", "ssh_server", "other_key", "cut"],
)
async def test_what_is_no_framework_server_is_named(data: bytes, reason: Reason, words: str) -> None:
    """The error names stage, peer and what answers there instead."""
    async with packets_to(lambda peer: peer.write(data)) as packets:
        with pytest.raises(PeerMisbehaved, match=words) as caught:
            await packets.receive()
    failure = caught.value.failure
    assert (Stage.FRAMEWORK, reason, "fw:5000") == (failure.stage, failure.reason, failure.peer)


async def test_first_bytes_are_looked_at_in_any_pieces() -> None:
    """A web server whose answer comes in pieces is recognised, too."""

    async def in_pieces(peer: Conversed) -> None:
        for piece in (b"HTT", b"P/1.1 400 Bad Request\r\n"):
            await peer.write(piece)
            await peer.receive()

    async with packets_to(in_pieces) as packets:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await packets.receive()
        await packets.send(Packet.ping())
        with pytest.raises(PeerMisbehaved, match="sent an HTTP reply where"):
            await packets.receive()


async def test_a_reset_is_an_error_of_ours() -> None:
    """RST while an answer is awaited: DialFailed of stage framework; then sending fails the same way."""

    async def reset(peer: Conversed) -> None:
        await peer.receive()
        peer.reset()

    async with packets_to(reset) as packets:
        await packets.send(Packet.ping())
        with pytest.raises(DialFailed) as caught:
            await packets.receive()
        assert (Stage.FRAMEWORK, Reason.RESET) == (caught.value.failure.stage, caught.value.failure.reason)
        with pytest.raises(RelayError):
            await packets.send(Packet.ping())


async def test_a_packet_too_large_sends_nothing() -> None:
    """LocalWireError takes no number: the next packet opens at the server."""
    async with packets_to(Conversed.answer_all) as packets:
        with pytest.raises(LocalWireError):
            await packets.send(Packet.sink(bytes(64 * 2**20 + 1)))
        await packets.send(Packet.ping())
        assert Packet.ping() == await packets.receive()


# What is seen of an idle connection


async def test_an_idle_connection_is_seen_alive_and_ended() -> None:
    """Alive while it is, then its end, without a wait; a reset is told as one."""
    for end, reason in ((lambda peer: None, Reason.CLOSED), (Conversed.reset, Reason.RESET)):
        go_on = asyncio.Event()

        async def scene(peer: Conversed, go_on: asyncio.Event = go_on, end=end) -> None:  # type: ignore[no-untyped-def]
            await go_on.wait()
            end(peer)

        async with packets_to(scene) as packets:
            assert packets.ended_while_idle() is None
            go_on.set()
            seen = []
            await until(lambda: seen.append(packets.ended_while_idle()) or seen[-1] is not None)  # noqa: B023
            assert reason is seen[-1].reason  # type: ignore[union-attr]


async def test_unasked_bytes_are_seen() -> None:
    """Bytes that came without a request are told, read already or not."""

    async def unasked(peer: Conversed) -> None:
        await peer.write(peer.packets.send(Packet.ping()) + peer.packets.send(Packet.ping())[:10])
        await peer.receive()

    async with packets_to(unasked) as packets:
        assert Packet.ping() == await packets.receive()
        failure = packets.ended_while_idle()
    assert failure is not None
    assert "sent 10 bytes that nobody had asked for" == failure.detail


async def test_an_end_inside_tls_is_seen() -> None:
    """Tickets that a TLS server sends by itself are no end; its close_notify behind them is one."""
    authority = trustme.CA()
    server_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(server_context)
    client_context = ssl.create_default_context()
    authority.configure_trust(client_context)
    go_on = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await go_on.wait()
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()

    async with await asyncio.start_server(serve, "127.0.0.1", 0, ssl=server_context) as server:
        endpoint = Endpoint(*server.sockets[0].getsockname()[:2])
        stream = TlsStream(await connect(address_of(endpoint), 5.0), client_context, "127.0.0.1")
        await stream.handshake()
        packets = PacketStream(stream, Key.public(), "fw:5000")
        # The tickets have come: there is something to read, and it is not for us
        await asyncio.get_running_loop().run_in_executor(None, wait_readable, stream)
        assert packets.ended_while_idle() is None
        go_on.set()
        seen = []
        await until(lambda: seen.append(packets.ended_while_idle()) or seen[-1] is not None)
        assert Reason.CLOSED is seen[-1].reason  # type: ignore[union-attr]
        await packets.aclose()


def wait_readable(stream: TlsStream) -> None:
    import select

    assert select.select([stream.fileno_socket()], [], [], 5.0)[0]
