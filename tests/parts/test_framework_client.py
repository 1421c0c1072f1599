"""FrameworkClient against scripted servers: what it repeats, what it never repeats, and how it comes back."""

import asyncio
import socket
from collections.abc import Callable

import pytest

from protocol.errors import LocalWireError
from protocol.packet import Packet
from protocol.sealing import Direction, Key, seal
from relay.emulator import EmulatedServer
from relay.failure import AnswerLost, DialFailed, Failure, PeerMisbehaved, Reason, SettingsError, Stage
from relay.framework_client import FrameworkClient, Reconnecting
from relay.journal import Ended
from relay.route import Endpoint, Route
from relay.stream import Stream
from relay.tunnel import open_tunnel
from tests.parts.framework_peers import (
    FREE,
    QUICK,
    Conversed,
    Counted,
    ScriptedServer,
    Watched,
    client_of,
    until,
)

TCP_ESTABLISHED = 1  # linux/tcp.h, the first byte of TCP_INFO


@pytest.mark.parametrize("end", [lambda peer: None, Conversed.reset], ids=["fin", "rst"])
async def test_makes_a_new_connection_when_the_idle_one_has_died(end: Callable[[Conversed], None]) -> None:
    """A connection that ended between requests is replaced before the next; nothing is lost or doubled."""
    counted, told = Counted(), list[Reconnecting]()
    async with ScriptedServer(counted.after_one_answer(end), counted.answer) as server:
        async with client_of(server, on_reconnect=told.append) as client:
            assert Packet.echo(b"1") == await client.request(Packet.echo(b"1"))
            await until(lambda: is_ended(client))
            assert Packet.echo(b"2") == await client.request(Packet.echo(b"2"))
            assert (2, 2) == (client.connections_made, server.connections)
    assert [b"1", b"2"] == counted.requests
    ((attempt, delay_seconds, stage),) = [(t.attempt, t.delay_seconds, t.failure.stage) for t in told]
    assert (1, 0.0, Stage.FRAMEWORK) == (attempt, delay_seconds, stage)


def is_ended(client: FrameworkClient) -> bool:
    """Whether the end of the idle connection has arrived here; seen without taking it away."""
    assert client._packets is not None
    sock = client._packets.stream.fileno_socket()
    state = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]
    return state != TCP_ESTABLISHED


async def test_goes_on_after_the_servers_idle_timeout() -> None:
    """The server's own timeout costs a new connection, and no request."""
    async with Watched(idle_timeout_seconds=0.1) as watched, client_of(watched) as client:
        for expected in (1, 2):
            assert Packet.echo(b"x") == await client.request(Packet.echo(b"x"))
            assert expected == client.connections_made
            assert Ended.IDLE_TIMEOUT is (await watched.next_ended()).ended


async def test_bytes_that_nobody_asked_for_end_the_connection() -> None:
    """An answer too many is never taken for that of the next request."""
    counted, told = Counted(), list[Reconnecting]()

    async def twice(peer: Conversed) -> None:
        packet = await counted.take(peer)
        assert packet is not None
        await peer.write(peer.packets.send(packet) + peer.packets.send(Packet.echo(b"unasked")))
        await peer.receive()

    async with ScriptedServer(twice, counted.answer) as server:
        async with client_of(server, on_reconnect=told.append) as client:
            assert Packet.echo(b"1") == await client.request(Packet.echo(b"1"))
            assert Packet.echo(b"2") == await client.request(Packet.echo(b"2"))
    assert [b"1", b"2"] == counted.requests
    assert ["bytes that nobody had asked for" in event.failure.detail for event in told] == [True]


async def test_a_server_that_is_restarted_loses_nobody() -> None:
    """Every client that pings while the server stops and starts goes on, on the new one."""
    server = EmulatedServer((FREE,))
    await server.start()
    endpoint = server.endpoint
    clients = [FrameworkClient(Route(endpoint), backoff=QUICK) for _ in range(20)]
    await asyncio.gather(*(client.ping() for client in clients))
    await server.aclose()
    pinging = asyncio.gather(*(client.ping() for client in clients))
    await asyncio.sleep(0)
    async with EmulatedServer((endpoint,)) as server:
        await pinging
        assert [2] * 20 == [client.connections_made for client in clients]
        for client in clients:
            await client.aclose()


@pytest.mark.parametrize("scene", ["reset_on_request", "close_on_request", "cut_the_answer"])
async def test_a_request_is_never_sent_twice(scene: str) -> None:
    """When the connection dies before the answer, AnswerLost is raised, and the server has seen it once."""
    counted = Counted()
    async with ScriptedServer(getattr(counted, scene), counted.answer) as server, client_of(server) as client:
        with pytest.raises(AnswerLost, match="the request may have been carried out") as caught:
            await client.request(Packet.echo(b"once"))
        failure = caught.value.failure
        assert (Stage.FRAMEWORK, Reason.ANSWER_LOST) == (failure.stage, failure.reason)
        assert [b"once"] == counted.requests
        assert Packet.echo(b"next") == await client.request(Packet.echo(b"next"))
    assert [b"once", b"next"] == counted.requests


@pytest.mark.parametrize("scene", ["reset_on_request", "close_on_request", "cut_the_answer"])
async def test_a_safe_request_is_repeated(scene: str) -> None:
    """With safe_to_repeat the same request is sent again on a new connection, until it is answered."""
    counted, told = Counted(), list[Reconnecting]()
    bad = getattr(counted, scene)
    async with ScriptedServer(bad, bad, bad, counted.answer) as server:
        async with client_of(server, on_reconnect=told.append) as client:
            reply = await client.request(Packet.echo(b"again"), safe_to_repeat=True)
    assert Packet.echo(b"again") == reply
    assert [b"again"] * 4 == counted.requests
    assert [1, 2, 3] == [event.attempt for event in told]
    assert 0.0 == told[0].delay_seconds
    assert [Reason.ANSWER_LOST] * 3 == [event.failure.reason for event in told]


async def test_a_packet_that_does_not_open_is_not_asked_for_again() -> None:
    """A server with another key will not change by being asked again: raised at once, even where safe."""

    async def other_key(peer: Conversed) -> None:
        await peer.receive()
        await peer.write(seal(Key(b"o" * 32), b"", direction=Direction.SERVER, number=0))

    async with ScriptedServer(other_key) as server, client_of(server) as client:
        with pytest.raises(PeerMisbehaved) as caught:
            await client.ping()
        assert (Reason.SEAL_BROKEN, 1) == (caught.value.failure.reason, server.connections)


async def test_a_ping_answered_by_something_else_is_told() -> None:
    """A ping's answer is empty; another one is the server's fault and says so."""

    async def scene(peer: Conversed) -> None:
        await peer.receive()
        await peer.send(Packet.echo(b"pong"))

    async with ScriptedServer(scene) as server, client_of(server) as client:
        with pytest.raises(PeerMisbehaved, match="answered a ping with a packet that is not empty"):
            await client.ping()


@pytest.mark.parametrize("connections", [0, 1])
async def test_a_refused_login_is_not_tried_again(connections: int) -> None:
    """Neither on the first connection nor later: every further request has the same refusal, unsent."""
    refusal = DialFailed(Failure(Stage.LOGIN, Reason.LOGIN_REFUSED, "http://p:1", "not accepted", 0))
    tries = list[int]()
    async with Watched() as watched:

        async def open_stream() -> Stream:
            tries.append(len(tries))
            if len(tries) <= connections:
                return await open_tunnel(Route(watched.server.endpoint))
            raise refusal

        async with FrameworkClient(Route(watched.server.endpoint), open_stream=open_stream) as client:
            if connections:
                await client.ping()
                assert client._packets is not None
                client._packets.reset()
                client._packets = None
            for _ in range(3):
                with pytest.raises(DialFailed) as caught:
                    await client.ping()
                assert refusal is caught.value
    assert connections + 1 == len(tries)


@pytest.mark.parametrize("seconds", [0, -1.0, float("nan"), float("inf"), 86_401])
def test_a_keep_alive_that_cannot_be(seconds: float) -> None:
    """Without a pause pings would be a flood."""
    with pytest.raises(SettingsError, match=r"keep_alive_seconds: .*; expected seconds above 0"):
        FrameworkClient(Route(Endpoint("127.0.0.1", 5000)), keep_alive_seconds=seconds)


async def test_a_packet_too_large_costs_nothing() -> None:
    """What the wire cannot carry is refused before anything is sent; the connection goes on."""
    counted = Counted()
    async with ScriptedServer(counted.answer) as server, client_of(server) as client:
        assert Packet.echo(b"1") == await client.request(Packet.echo(b"1"))
        with pytest.raises(LocalWireError):
            await client.request(Packet.sink(bytes(64 * 2**20 + 1)), safe_to_repeat=True)
        assert Packet.echo(b"2") == await client.request(Packet.echo(b"2"))
        assert 1 == client.connections_made
