"""The pinger by itself: what counts as sent and as answered, and when it connects anew."""

import asyncio
import select
import socket
from typing import Any

import pytest

from protocol.packet import Packet
from protocol.sealing import Key
from relay.blocking import open_tunnel
from relay.failure import Reason, Stage
from relay.ping import Answer, Pinger, Statistics
from relay.pipe import BlockingStream
from relay.route import Endpoint, Route
from tests.parts.beside import beside
from tests.parts.framework_peers import Conversed, Scene, ScriptedServer

PUBLIC = Key.public()


def pings(*scenes: Scene, count: int = 2, wait_seconds: float = 5.0) -> tuple[Pinger, list[Answer], int]:
    """Ping a scripted server; also gives how many connections it saw."""
    with beside(lambda: ScriptedServer(*scenes)) as server:
        pinger = Pinger(Route(server.endpoint), PUBLIC, wait_seconds)
        try:
            answers = list(pinger.pings(count, 0.001))
        finally:
            pinger.close()
        return pinger, answers, server.connections


# What the statistics say


@pytest.mark.parametrize(
    ("transmitted", "times", "lines"),
    [
        (4, [1.0, 2.0, 3.0, 4.0], ["4 packets transmitted", "round-trip min/avg/max = 1.00/2.50/4.00 ms"]),
        (
            4,
            [0.5, 0.25, 0.75],
            [
                "4 packets transmitted, 3 received, 25% packet loss",
                "round-trip min/avg/max = 0.25/0.50/0.75 ms",
            ],
        ),
        (4, [], ["4 packets transmitted, 0 received, 100% packet loss"]),
        (0, [], ["0 packets transmitted"]),
        (1, [0.004], ["1 packets transmitted", "round-trip min/avg/max = 0.00/0.00/0.00 ms"]),
        (
            3,
            [7.0, 7.0],
            [
                "3 packets transmitted, 2 received, 33.3333% packet loss",
                "round-trip min/avg/max = 7.00/7.00/7.00 ms",
            ],
        ),
        (
            1000,
            [1.0] * 999,
            [
                "1000 packets transmitted, 999 received, 0.1% packet loss",
                "round-trip min/avg/max = 1.00/1.00/1.00 ms",
            ],
        ),
    ],
)
def test_statistics_lines(transmitted: int, times: list[float], lines: list[str]) -> None:
    """The closing lines have the vendor's form; a loss is told as ping(8) does, and never rounded away."""
    expected = ["--- 192.0.2.1 TMSS10Ping statistics ---", *lines]
    assert expected == Statistics(transmitted, times).lines("192.0.2.1")


def test_statistics_as_data() -> None:
    """The same for machines; without an answer there is no round trip."""
    data = Statistics(3, [1.0, 2.0]).as_dict()
    assert (3, 2, 33.3333) == (data["transmitted"], data["received"], data["loss_percent"])
    assert {"min": 1.0, "avg": 1.5, "max": 2.0} == data["round_trip_ms"]
    assert None is Statistics(1).as_dict()["round_trip_ms"]


# What counts, and on which connection


def test_all_pings_use_one_connection() -> None:
    """One connection serves all pings; each answer has its size on the wire and a time."""
    pinger, answers, connections = pings(Conversed.answer_all, count=3)
    seen = [(answer.seq, answer.size_bytes, answer.failure) for answer in answers]
    assert [(1, 44, None), (2, 44, None), (3, 44, None)] == seen
    assert all(0 < answer.milliseconds < 5000 for answer in answers)
    assert (1, 3, "127.0.0.1") == (connections, pinger.statistics.transmitted, pinger.address)


async def reset_on_ping(peer: Conversed) -> None:
    await peer.receive()
    peer.reset()


async def close_on_ping(peer: Conversed) -> None:
    await peer.receive()


async def cut_the_answer(peer: Conversed) -> None:
    await peer.receive()
    await peer.write(peer.packets.send(Packet.ping())[:40])


async def answer_something_else(peer: Conversed) -> None:
    await peer.receive()
    await peer.send(Packet.echo(b"pong"))
    await peer.receive()


@pytest.mark.parametrize(
    ("scene", "reason"),
    [
        (reset_on_ping, Reason.RESET),
        (close_on_ping, Reason.CLOSED),
        (cut_the_answer, Reason.TRUNCATED),
        (answer_something_else, Reason.MALFORMED),
    ],
)
def test_a_ping_that_fails_is_lost_and_the_next_connects_anew(scene: Scene, reason: Reason) -> None:
    """However a connection ends, one ping is lost with it, and the next one gets a new connection."""
    pinger, answers, connections = pings(scene, Conversed.answer_all)
    failure = answers[0].failure
    assert failure is not None
    assert (Stage.FRAMEWORK, reason) == (failure.stage, failure.reason)
    assert (None, 44) == (answers[1].failure, answers[1].size_bytes)
    assert (2, 2, 1) == (connections, pinger.statistics.transmitted, pinger.statistics.received)


def test_a_late_answer_is_not_taken_for_the_next() -> None:
    """An answer that comes after the wait dies with its connection: the next ping times its own."""

    async def late(peer: Conversed) -> None:
        await peer.receive()
        # The client has given up: only now comes the answer
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await asyncio.Event().wait()
        await peer.send(Packet.ping())

    pinger, answers, connections = pings(late, Conversed.answer_all, wait_seconds=0.1)
    assert answers[0].failure is not None
    assert "timed-out" == answers[0].failure.reason
    assert "did not answer in time (no reply within 0.1 s)" in answers[0].failure.sentence
    assert (2, 1, 2) == (connections, pinger.statistics.received, pinger.statistics.transmitted)


def test_a_reset_before_the_first_ping_is_one_lost_ping(monkeypatch: pytest.MonkeyPatch) -> None:
    """A peer that accepts and resets at once costs a ping and no exception, though it has no address then."""

    async def reset(peer: Conversed) -> None:
        peer.reset()

    def open_and_wait(route: Route, **limits: Any) -> BlockingStream:
        stream = open_tunnel(route, **limits)
        poll = select.poll()
        poll.register(stream.fileno_socket(), 0)  # POLLHUP and POLLERR are always told
        assert poll.poll(10_000)
        return stream

    # Otherwise it is a matter of luck whether the reset has arrived yet
    monkeypatch.setattr("relay.ping.open_tunnel", open_and_wait)
    pinger, answers, _ = pings(reset, count=1)
    failure = answers[0].failure
    assert failure is not None
    assert Reason.RESET is failure.reason
    assert 1 == pinger.statistics.transmitted


def test_a_connection_that_cannot_be_made_is_a_lost_ping() -> None:
    """As with ping(8): nothing could be sent, and it counts as transmitted and lost."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        endpoint = Endpoint(*listener.getsockname()[:2])
    pinger = Pinger(Route(endpoint), PUBLIC, 5.0)
    (answer,) = pinger.pings(1, 1.0)
    assert answer.failure is not None
    assert Reason.REFUSED is answer.failure.reason
    assert (1, 0) == (pinger.statistics.transmitted, pinger.statistics.received)


def test_an_interrupt_counts_only_what_was_sent() -> None:
    """Interrupted while it connects, a ping was never sent; while it waits for the answer, it was."""

    class Interrupting(Pinger):
        def _connect(self):  # type: ignore[no-untyped-def]
            raise KeyboardInterrupt

    pinger = Interrupting(Route(Endpoint("192.0.2.1", 5000)), PUBLIC, 1.0)
    with pytest.raises(KeyboardInterrupt):
        next(pinger.pings(1, 1.0))
    assert 0 == pinger.statistics.transmitted


def test_pings_are_counted_from_send_to_send() -> None:
    """The interval is kept whatever the answers take: ten pings 20 ms apart take 180 ms, not more by much."""
    import time

    with beside(lambda: ScriptedServer(Conversed.answer_all)) as server:
        pinger = Pinger(Route(server.endpoint), PUBLIC, 5.0)
        began = time.monotonic()
        assert 10 == len(list(pinger.pings(10, 0.02)))
        assert 0.18 <= time.monotonic() - began < 1
        pinger.close()
