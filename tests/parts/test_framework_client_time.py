"""FrameworkClient under pressure of time: timeouts, backoff, tasks that share it, cancellation, closing."""

import asyncio
from itertools import pairwise

import pytest

from protocol.packet import MAX_HOLD_MILLISECONDS, Packet
from relay.failure import AnswerLost, DialFailed, Reason, RelayError, TimedOut
from relay.framework_client import Backoff, FrameworkClient, Reconnecting
from relay.journal import Ended
from relay.route import Route
from relay.stream import Stream
from tests.parts.framework_peers import FREE, Conversed, Counted, ScriptedServer, Watched, client_of, until


async def test_no_answer_in_time_is_not_repeated() -> None:
    """An answer that does not come in time raises TimedOut, sends nothing twice, and cannot come later."""
    counted = Counted()
    async with ScriptedServer(counted.stay_silent, counted.answer) as server, client_of(server) as client:
        with pytest.raises(TimedOut, match=r"no answer within 0\.05 s"):
            await client.request(Packet.echo(b"1"), safe_to_repeat=True, timeout_seconds=0.05)
        assert Packet.echo(b"2") == await client.request(Packet.echo(b"2"))
    assert [b"1", b"2"] == counted.requests


async def test_the_first_connection_is_not_repeated() -> None:
    """A server that was never there is told at once, each time it is asked."""
    async with ScriptedServer(Conversed.answer_all) as server:
        await server.close()
        told: list[Reconnecting] = []
        async with client_of(server, on_reconnect=told.append, backoff=Backoff()) as client:
            for _ in range(2):
                with pytest.raises(DialFailed) as caught:
                    await asyncio.wait_for(client.ping(), 1)
                assert Reason.REFUSED is caught.value.failure.reason
            assert ([], 0) == (told, client.connections_made)


async def test_gives_up_when_its_time_is_over() -> None:
    """No attempt begins after give_up_seconds; delays grow within their bounds and carry jitter."""
    backoff = Backoff(first_seconds=0.01, most_seconds=0.08, give_up_seconds=0.5)
    told: list[Reconnecting] = []
    async with ScriptedServer(Conversed.answer_all) as server:
        async with client_of(server, on_reconnect=told.append, backoff=backoff) as client:
            await client.ping()
            await server.close()
            began = asyncio.get_running_loop().time()
            with pytest.raises(DialFailed) as caught:
                await client.ping()
            took = asyncio.get_running_loop().time() - began
    assert Reason.REFUSED is caught.value.failure.reason
    assert 0.3 <= took < 1.5
    assert list(range(1, len(told) + 1)) == [event.attempt for event in told]
    delays = [event.delay_seconds for event in told[1:]]
    for number, delay in enumerate(delays):
        step = min(0.08, 0.01 * 2**number)
        assert step / 2 * 0.8 <= delay <= step
    assert all(event.failure.reason is Reason.REFUSED for event in told[1:])


async def test_a_flapping_server_is_not_hammered() -> None:
    """A server that takes every connection and resets it on the first request is asked ever more slowly."""
    counted, told = Counted(), list[Reconnecting]()
    backoff = Backoff(first_seconds=0.01, most_seconds=10, give_up_seconds=0.3)
    async with ScriptedServer(counted.after_one_answer(Conversed.reset), counted.reset_on_request) as server:
        async with client_of(server, on_reconnect=told.append, backoff=backoff) as client:
            await client.request(Packet.echo(b"good"))
            with pytest.raises(AnswerLost):
                await client.request(Packet.echo(b"bad"), safe_to_repeat=True)
            asked_in_vain = len(counted.requests) - 1
            # A caller that asks again and again does not make it faster
            for _ in range(3):
                with pytest.raises(AnswerLost):
                    await client.request(Packet.echo(b"bad"))
    assert 3 <= asked_in_vain <= 8
    delays = [event.delay_seconds for event in told if event.delay_seconds]
    assert all(later > earlier for earlier, later in pairwise(delays[:4]))
    assert delays[-1] > 0.1


async def test_those_who_waited_their_turn_in_vain_do_not_wait_again() -> None:
    """Ten requests on one dead server give up together, not one give-up time after the other."""
    backoff = Backoff(first_seconds=0.1, most_seconds=0.2, give_up_seconds=0.4)
    told: list[Reconnecting] = []
    async with ScriptedServer(Conversed.answer_all) as server:
        async with client_of(server, backoff=backoff, on_reconnect=told.append) as client:
            await client.ping()
            await server.close()
            began = asyncio.get_running_loop().time()
            results = await asyncio.gather(*(client.ping() for _ in range(10)), return_exceptions=True)
            assert asyncio.get_running_loop().time() - began < 1.5
    # The first one's attempts, and none of the others
    assert len(told) <= 8
    assert [Reason.REFUSED] * 10 == [
        result.failure.reason for result in results if isinstance(result, RelayError)
    ]


async def test_many_tasks_share_one_client() -> None:
    """Requests of many tasks take turns on one connection; each gets its own answer, and none is doubled."""
    counted = Counted()
    async with ScriptedServer(counted.answer) as server, client_of(server) as client:

        async def ask(name: int) -> None:
            for number in range(20):
                packet = Packet.echo(b"%d/%d" % (name, number))
                assert packet == await client.request(packet)

        await asyncio.gather(*(ask(name) for name in range(20)))
        assert 1 == client.connections_made
    assert 400 == len(counted.requests) == len(set(counted.requests))


async def test_a_cancelled_request_leaves_no_answer_behind() -> None:
    """Cancelled before its answer, a request takes its connection along; the next gets its own answer."""
    told: list[Reconnecting] = []
    async with Watched() as watched, client_of(watched, on_reconnect=told.append) as client:
        waiting = asyncio.create_task(client.request(Packet.hold(MAX_HOLD_MILLISECONDS)))
        await until(lambda: any(r.packets_received for r in watched.server.journal.records))
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert Ended.CLIENT_RESET is (await watched.next_ended()).ended
        assert Packet.echo(b"mine") == await client.request(Packet.echo(b"mine"))
    assert ["was left: a request was given up before its answer"] == [event.failure.detail for event in told]


async def test_cancelling_one_who_waits_for_its_turn_disturbs_nobody() -> None:
    """A request that is cancelled before its turn is never sent, and the others go on."""
    counted = Counted()
    async with ScriptedServer(counted.answer) as server, client_of(server) as client:
        tasks = [asyncio.create_task(client.request(Packet.echo(b"%d" % n))) for n in range(5)]
        await asyncio.sleep(0)
        tasks[2].cancel()
        replies = await asyncio.gather(*tasks, return_exceptions=True)
        assert isinstance(replies[2], asyncio.CancelledError)
        assert 1 == client.connections_made
    assert [b"0", b"1", b"3", b"4"] == counted.requests


async def test_a_callers_timeout_stays_a_timeout() -> None:
    """asyncio.timeout around a request ends it as the caller wants, not as an error of ours."""
    counted = Counted()
    async with ScriptedServer(counted.stay_silent) as server, client_of(server) as client:
        with pytest.raises(TimeoutError) as caught:
            async with asyncio.timeout(0.05):
                await client.ping()
        assert TimeoutError is type(caught.value)


async def test_closing_ends_the_requests_that_wait() -> None:
    """aclose() ends at once: the request on its way is AnswerLost, those in the queue were never sent."""
    counted = Counted()
    async with ScriptedServer(counted.stay_silent) as server:
        client = client_of(server)
        tasks = [asyncio.create_task(client.request(Packet.echo(b"%d" % n))) for n in range(3)]
        await until(lambda: bool(counted.requests))
        await asyncio.wait_for(client.aclose(), 1)
        first, *others = await asyncio.gather(*tasks, return_exceptions=True)
        assert isinstance(first, AnswerLost)
        assert "this client was closed" in str(first)
        assert [DialFailed] * 2 == [type(error) for error in others]
        with pytest.raises(DialFailed, match="was not asked: this client is closed"):
            await client.ping()
        await client.aclose()
    assert [b"0"] == counted.requests


async def test_closing_ends_a_backoff() -> None:
    """aclose() does not wait for a delay between two attempts."""
    async with ScriptedServer(Conversed.answer_all) as server:
        told = asyncio.Event()
        slow = Backoff(first_seconds=60, most_seconds=60, give_up_seconds=600)
        client = client_of(server, backoff=slow, on_reconnect=lambda event: told.set())
        await client.ping()
        await server.close()
        waiting = asyncio.create_task(client.ping())
        await told.wait()
        await asyncio.wait_for(client.aclose(), 1)
        with pytest.raises(DialFailed, match="this client is closed"):
            await waiting


async def test_an_error_that_is_not_ours_is_left_alone() -> None:
    """What a caller's own way to open a stream raises comes out as it is, a TimeoutError as well."""

    async def never_in_time() -> Stream:
        raise TimeoutError("theirs")

    async with FrameworkClient(Route(FREE), open_stream=never_in_time) as client:
        with pytest.raises(TimeoutError, match="theirs"):
            await client.ping()
