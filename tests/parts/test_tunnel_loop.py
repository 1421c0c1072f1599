"""TunnelLoop is an event loop like any other: what asyncio needs of a selector works, beside a plane too."""

import asyncio
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from relay.link import Link
from relay.splice import SplicePlane
from relay.tunnel_loop import TunnelLoop, TunnelSelector, attach
from relay.watching import EVENTS

SECONDS = 10.0


@pytest.fixture(params=[False, True], ids=["alone", "with a plane"])
def run(request: pytest.FixtureRequest) -> Callable[[Coroutine[Any, Any, Any]], Any]:
    """Give what runs a coroutine on a TunnelLoop, within a time."""

    async def limited(work: Coroutine[Any, Any, Any]) -> Any:
        plane = SplicePlane() if request.param else None
        try:
            async with asyncio.timeout(SECONDS):
                return await work
        finally:
            if plane is not None:
                plane.close()

    def start(work: Coroutine[Any, Any, Any]) -> Any:
        with asyncio.Runner(loop_factory=TunnelLoop) as runner:
            return runner.run(limited(work))

    return start


def test_timers_come_in_time_and_in_order(run: Callable[..., Any]) -> None:
    """None comes early, and the loop does not spin while it waits."""

    async def work() -> list[int]:
        loop, came, done = asyncio.get_running_loop(), [], asyncio.Event()
        began = loop.time()
        for number, delay in enumerate((0.03, 0.01, 0.02)):
            loop.call_later(delay, lambda n=number, d=delay: came.append((n, loop.time() - began >= d)))
        loop.call_later(0.3, done.set)
        before = time.process_time()
        await done.wait()
        assert time.process_time() - before < 0.1
        return came

    assert [(1, True), (2, True), (0, True)] == run(work())


def test_threads_and_signals_wake_it(run: Callable[..., Any]) -> None:
    """call_soon_threadsafe and a signal handler are heard at once, though nothing else happens."""

    async def work() -> None:
        loop, called, hit = asyncio.get_running_loop(), asyncio.Event(), asyncio.Event()
        threading.Thread(target=loop.call_soon_threadsafe, args=(called.set,)).start()
        await called.wait()
        loop.add_signal_handler(signal.SIGUSR1, hit.set)
        os.kill(os.getpid(), signal.SIGUSR1)
        await hit.wait()
        loop.remove_signal_handler(signal.SIGUSR1)

    run(work())


def test_streams_and_subprocesses(run: Callable[..., Any]) -> None:
    """A server, a client, a megabyte both ways, and a child process with pipes."""

    async def work() -> None:
        async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while data := await reader.read(65_536):
                writer.write(data)
                await writer.drain()
            writer.close()

        async with await asyncio.start_server(echo, "127.0.0.1", 0) as server:
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            sent = os.urandom(2**20)
            writer.write(sent)
            writer.write_eof()
            assert sent == await reader.read(-1)
            writer.close()
        child = await asyncio.create_subprocess_exec("cat", stdin=-1, stdout=-1)
        assert (b"through", None) == await child.communicate(b"through")

    run(work())


def test_two_planes_in_one_loop() -> None:
    """The second has an epoll of its own; both carry, and both end."""

    async def work() -> list[bytes]:
        got, planes = [], [SplicePlane(), SplicePlane()]
        loop = asyncio.get_running_loop()
        for plane in planes:
            (near, one), (two, far) = socket.socketpair(), socket.socketpair()
            ended = loop.create_future()
            for sock in (near, one, two, far):
                sock.setblocking(False)
            plane.add(Link(one, two, ended.set_result))
            await loop.sock_sendall(near, b"hello")
            got.append(await loop.sock_recv(far, 100))
            near.close()
            far.close()
            await ended
        for plane in planes:
            plane.close()
        return got

    with asyncio.Runner(loop_factory=TunnelLoop) as runner:
        assert [b"hello", b"hello"] == runner.run(work())


class Watching:
    """A watcher that does what it is told with each of its events."""

    def __init__(self, then: Callable[[], None]) -> None:
        self._then = then

    def woke(self, descriptor: int, flags: int) -> None:
        self._then()


@pytest.mark.parametrize("factory", [TunnelLoop, asyncio.SelectorEventLoop])
def test_an_error_in_one_event_ends_nobody_else(factory: Callable[[], asyncio.AbstractEventLoop]) -> None:
    """The others of the same wait are served, edge-triggered as they are; the loop is told of the error."""

    async def work() -> None:
        loop, told, served = asyncio.get_running_loop(), [], []
        loop.set_exception_handler(lambda _, context: told.append(context["exception"]))
        plane, ends = SplicePlane(), [socket.socketpair() for _ in range(3)]
        all_served, error = asyncio.Event(), RuntimeError("of the second")

        def serve(number: int) -> None:
            if number == 1:
                raise error
            served.append(number)
            if len(served) == 2:
                all_served.set()

        for number, (one, two) in enumerate(ends):
            plane.watching.watch(one.fileno(), Watching(lambda n=number: serve(n)), EVENTS)
            two.send(b"x")
        async with asyncio.timeout(SECONDS):
            await all_served.wait()
        assert ([0, 2], [error]) == (sorted(served), told)
        plane.close()
        for pair in ends:
            for sock in pair:
                sock.close()

    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(work())


@pytest.mark.parametrize("factory", [TunnelLoop, asyncio.SelectorEventLoop])
def test_an_error_while_carrying_on_ends_nobody(factory: Callable[[], asyncio.AbstractEventLoop]) -> None:
    """The loop is told of it, and what else is in the queue has its turn."""

    async def work() -> None:
        loop, told, queue = asyncio.get_running_loop(), [], [1, 2, 3]
        loop.set_exception_handler(lambda _, context: told.append(context["exception"]))
        all_done, error = asyncio.Event(), RuntimeError("of the second")

        def carry_on() -> None:
            number = queue.pop(0)
            if not queue:
                all_done.set()
            if number == 2:
                raise error

        poller = attach(loop, {}, lambda *_: None, queue, carry_on)
        poller.schedule()
        async with asyncio.timeout(SECONDS):
            await all_done.wait()
        assert [error] == told
        poller.detach()

    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(work())


@pytest.mark.parametrize("factory", [TunnelLoop, asyncio.SelectorEventLoop])
def test_a_timer_belongs_to_no_turn_of_events_behind_it(
    factory: Callable[[], asyncio.AbstractEventLoop],
) -> None:
    """What is watched from a timer has none of its events taken for those of an earlier socket."""

    async def work() -> None:
        loop, plane = asyncio.get_running_loop(), SplicePlane()
        turns: list[int] = []
        for _ in range(3):
            (one, two), served = socket.socketpair(), asyncio.Event()

            def begin(one: socket.socket = one, two: socket.socket = two, served: Any = served) -> None:
                began = plane.poller.turn
                two.send(b"x")
                watcher = Watching(lambda: (turns.append(plane.poller.turn - began), served.set()))
                plane.watching.watch(one.fileno(), watcher, EVENTS)

            loop.call_later(0.001, begin)
            async with asyncio.timeout(SECONDS):
                await served.wait()
            plane.watching.unwatch(one.fileno())
            one.close()
            two.close()
        plane.close()
        assert all(turn > 0 for turn in turns), turns

    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(work())


def test_the_selector_keeps_its_contract() -> None:
    """Registered twice, and not at all: the errors of selectors.BaseSelector; a closed one can go."""
    selector = TunnelSelector()
    one, two = socket.socketpair()
    with one:
        key = selector.register(one, 1, "data")
        assert key is selector.get_key(one) is selector.get_map()[one.fileno()]
        with pytest.raises(KeyError):
            selector.register(one, 1)
        with pytest.raises(KeyError):
            selector.get_key(two)
        with pytest.raises(KeyError):
            selector.unregister(two)
        selector.modify(one, 2, "other")
        assert [(selector.get_key(one), 2)] == selector.select(1.0)
        selector.modify(one, 1)
        assert [] == selector.select(0)
        two.close()
        assert [(selector.get_key(one), 1)] == selector.select(1.0)
        descriptor = one.fileno()
    assert descriptor == selector.unregister(descriptor).fd
    selector.close()
