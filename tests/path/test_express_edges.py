"""The express lane at its edges: no descriptor left, times that change, and ends that come together."""

import asyncio
import contextlib
import errno
import os
import select
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from relay import admission, desk, resetting
from relay.access import Access
from relay.admission import Admission
from relay.dialler import Dialler
from relay.limits import Limits
from tests.path.proxied import (
    FEW_FILES,
    SOON_SECONDS,
    Proxied,
    Target,
    connect_head,
    full_backlog,
    proxy_with_few_files,
    read_all,
    read_head,
    reset,
    settled,
    status_of,
    tunnel,
)


def test_a_new_target_while_there_is_no_descriptor_left() -> None:
    """Who asks then is told 503, and the proxy lives on: it serves the next one."""
    with Target() as target, proxy_with_few_files() as (pid, port):
        with contextlib.ExitStack() as stack:
            guests = [
                stack.enter_context(socket.create_connection(("127.0.0.1", port), SOON_SECONDS))
                for _ in range(60)
            ]
            _wait_until_files(pid, FEW_FILES)
            guests[0].sendall(connect_head(target.authority))
            assert 503 == status_of(read_all(guests[0])[0])
        with socket.create_connection(("127.0.0.1", port), SOON_SECONDS) as near:
            near.sendall(connect_head(target.authority))
            with target.accept():
                assert 200 == status_of(read_head(near))


def _wait_until_files(pid: int, count: int) -> None:
    while len(list(Path(f"/proc/{pid}/fd").iterdir())) < count:
        select.select([], [], [], 0.005)


def test_a_family_that_the_system_does_not_have(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where IPv6 is switched off, asking which source a target would be reached from is no error."""

    def without_ipv6(family: int, kind: int) -> Any:
        raise OSError(errno.EAFNOSUPPORT, os.strerror(errno.EAFNOSUPPORT))

    access = Access(allow_ports=(range(1, 65_536),), allow_local=True)
    judged = Admission(access, Dialler(access, (), 1.0))
    monkeypatch.setattr("relay.admission.socket.socket", without_ipv6)
    admitted = judged.admit(connect_head("[2001:db8::1]:5000"))
    assert admitted is not None
    assert admitted.may_meet_itself


@pytest.fixture
def seldom_fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is remembered of addresses is out of date at once."""
    monkeypatch.setattr(admission, "_FRESH_SECONDS", 0.0)


@pytest.mark.parametrize("allow_local", [True, False])
def test_how_long_an_address_is_remembered(seldom_fresh: None, allow_local: bool) -> None:
    """They are looked at again: this machine may take others, where the proxy itself listens, too."""
    access = Access(allow_local=allow_local)
    judged = Admission(access, Dialler(access, (), 1.0))
    assert not judged.holds(access)


def test_what_is_remembered_is_of_one_set_of_rules() -> None:
    """And holds for these until it is old."""
    access = Access()
    judged = Admission(access, Dialler(access, (), 1.0))
    assert judged.holds(access)
    assert not judged.holds(Access())


def test_an_address_that_became_our_own_is_refused(loop: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The lane asks anew when what it remembers is old."""
    asked: list[Any] = []

    class Noted(Admission):
        def __init__(self, *about: Any) -> None:
            asked.append(about)
            super().__init__(*about)

    monkeypatch.setattr(admission, "_FRESH_SECONDS", 0.0)
    monkeypatch.setattr(desk, "Admission", Noted)
    head = connect_head("127.0.0.1:1")
    with settled(loop, access=Access(allow_local=False)) as proxied:
        for _ in range(2):
            with proxied.client(head) as near:
                assert 403 == status_of(read_all(near)[0])
    assert len(asked) > 2


def test_another_connect_timeout_holds_at_once(loop: str) -> None:
    """For who is being dialled, and for those that come later; without a restart."""
    with full_backlog() as target, settled(loop, connect_timeout_seconds=3600.0) as proxied:
        with proxied.client(connect_head(target.authority)) as near:
            proxied.reaches(lambda proxy: bool(proxy.tunnels))
            short = Limits(connect_timeout_seconds=0.1)
            proxied.run(proxied.proxy.change(proxied.proxy.access, short, None))
            assert 504 == status_of(read_all(near)[0])
        with proxied.client(connect_head(target.authority)) as near:
            assert 504 == status_of(read_all(near)[0])


def test_a_policy_that_changes_holds_for_what_is_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection that comes while the old logins are still being ended is judged by the new addresses."""
    with Target() as target, Proxied("tunnel", access=Access(allow_local=True)) as proxied:
        head, proxy = connect_head(target.authority), proxied.proxy

        def ask() -> int:
            with proxied.client(head) as near:
                return status_of(read_head(near))

        statuses: list[int] = []

        class Ending:
            async def aclose(self) -> None:
                statuses.append(await asyncio.to_thread(ask))

        monkeypatch.setattr(proxy._keeper, "_login", Ending())
        proxied.run(proxy.change(Access(allow_local=False), Limits(), None))
        assert [403, 403] == [*statuses, ask()]
        assert not target.was_called()


def test_a_stop_while_a_refused_client_is_being_told(loop: str) -> None:
    """The end of a tunnel that never stood is counted once; the event loop is told of no error."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        authority = f"127.0.0.1:{closed.getsockname()[1]}"
        with Proxied(loop) as proxied:
            near = proxied.client(connect_head(authority))
            assert 502 == status_of(read_head(near))
            # It waits for the client to close
            proxied.reaches(lambda proxy: bool(proxy._answering.tasks))
        assert "refused" == proxied.entry()["ended"]
        assert not proxied.has_entries()
        near.close()


def test_a_tunnel_with_the_number_of_a_closed_listener(loop: str) -> None:
    """During the grace period a tunnel gets it; its reset in the very turn of the stop harms nobody."""
    with Target() as target, Proxied(loop) as proxied:
        listener = proxied.proxy._front.sockets[0].fileno()
        head = connect_head(target.authority)
        with proxied.client(head[:10]) as near:
            # One that has said something is waited for
            proxied.reaches(lambda proxy: proxy._server is not None and len(proxy._server.connections) == 1)
            draining: list[asyncio.Task[None]] = []

            async def drain() -> None:
                draining.append(asyncio.create_task(proxied.proxy.drain(SOON_SECONDS)))

            proxied.run(drain())
            proxied.reaches(lambda proxy: not proxy.endpoints)
            with _taken_below(listener):
                near.sendall(head[10:])
                far = target.accept()
                assert 200 == status_of(read_head(near))
            proxied.reaches(lambda proxy: bool(_halves(proxied)))
            numbers = {half.source: half for half in _halves(proxied)}
            assert listener in numbers
            other = far if numbers[listener] is numbers[listener].link.up else near

            async def stop() -> None:
                draining[0].cancel()
                stopping = asyncio.create_task(proxied.proxy.aclose())
                asyncio.get_running_loop().call_soon(reset, other)
                await stopping

            proxied.run(stop())
            far.close()


@contextlib.contextmanager
def _taken_below(number: int) -> Iterator[None]:
    """See to it that the next descriptor is this free one: the kernel gives the lowest (open(2))."""
    taken = [os.dup(0)]
    while taken[-1] < number:
        taken.append(os.dup(0))
    assert number == taken[-1]
    os.close(taken.pop())
    yield
    for descriptor in taken:
        os.close(descriptor)


def _halves(proxied: Proxied) -> list[Any]:
    plane = proxied.proxy._answering.plane.splice()
    return [half for link in plane._links for half in (link.up, link.down)]


def test_last_words_to_a_target_that_has_gone(loop: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reset behind them ends the tunnel: nobody will ever acknowledge what is owed."""
    monkeypatch.setattr(resetting, "DELIVERY_SECONDS", 3600.0)
    with settled(loop) as proxied, tunnel(proxied) as (near, far):
        far.close()
        assert b"" == near.recv(100)
        near.sendall(b"x")
        reset(near)
        proxied.reaches(lambda proxy: not proxy.tunnels)
        # The target answers them with a RST of its own, which may be heard first
        assert proxied.entry()["ended"] in ("client-reset", "target-reset")
