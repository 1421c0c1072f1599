"""The express lane: what it takes, what it leaves to aiohttp, and how its guests leave."""

import asyncio
import contextlib
import os
import select
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from relay.takeover import RawServer
from tests.path.proxied import (
    SOON_SECONDS,
    Proxied,
    Target,
    connect_head,
    proxy_with_few_files,
    read_all,
    read_head,
    status_of,
)


@pytest.fixture
def handed_over(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Give the first bytes of each connection that the lane leaves to aiohttp."""
    given: list[bytes] = []
    take = RawServer.take

    def note(server: RawServer, sock: socket.socket, data: bytes) -> None:
        given.append(data)
        take(server, sock, data)

    monkeypatch.setattr(RawServer, "take", note)
    return given


@pytest.mark.parametrize(
    "fields",
    [
        b"",
        b"User-Agent: curl/7.88.1\r\nProxy-Connection: Keep-Alive\r\n",
        b"proxy-connection: keep-alive\r\nuser-agent: Mozilla/5.0 (X11)\r\nAccept: */*\r\n",
    ],
)
@pytest.mark.parametrize("version", [b"1.0", b"1.1"])
def test_the_usual_connect_does_not_reach_aiohttp(
    handed_over: list[bytes], loop: str, fields: bytes, version: bytes
) -> None:
    """Heads as curl and browsers send them are answered in the lane; early bytes come first."""
    with Target() as target, Proxied(loop) as proxied:
        authority = target.authority.encode()
        head = b"CONNECT %b HTTP/%b\r\nHost: %b\r\n%b\r\n" % (authority, version, authority, fields)
        with proxied.client(head + b"early") as near, target.accept() as far:
            assert 200 == status_of(read_head(near))
            assert b"early" == far.recv(100)
            far.sendall(b"answer")
            assert b"answer" == near.recv(100)
        entry = proxied.entry()
        assert (200, 5, 6, "splice") == tuple(entry[n] for n in ("status", "bytes_up", "bytes_down", "path"))
        assert (0, 0, 0) == proxied.settled()
    assert [] == handed_over


@pytest.mark.parametrize(
    "head",
    [
        b"CONNECT {t} HTTP/1.1\r\nHost: {t}\r\n",
        b"connect {t} HTTP/1.1\r\nHost: {t}\r\n\r\n",
        b"CONNECT {t} http/1.1\r\nHost: {t}\r\n\r\n",
        b"CONNECT {t} HTTP/1.1\r\nHost: other:1\r\n\r\n",
        b"CONNECT {t} HTTP/1.1\r\nHost: {t}\r\nHost: {t}\r\n\r\n",
        b"CONNECT {t} HTTP/1.1\r\nHost: {t}\r\nContent-Length: 5\r\n\r\n",
        b"CONNECT {t} HTTP/1.1\r\nHost: {t}\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"CONNECT {t} HTTP/1.1\r\nHost: {t}\r\nVia: 1.1 somebody\r\n\r\n",
        b"CONNECT {t} HTTP/1.1\r\nHost: {t}\r\nProxy-Authorization: Basic eDp5\r\n\r\n",
        b"CONNECT {t} HTTP/1.1\r\nHost: {t}\r\n User-Agent: folded\r\n\r\n",
        b"CONNECT {t} HTTP/1.1\r\nHost: {t}\r\nAccept: a\x00b\r\n\r\n",
        b"CONNECT {t} HTTP/1.1\nHost: {t}\n\n",
        b"CONNECT 127.0.0.1:0 HTTP/1.1\r\nHost: 127.0.0.1:0\r\n\r\n",
        b"CONNECT 127.0.0.1:99999 HTTP/1.1\r\nHost: 127.0.0.1:99999\r\n\r\n",
        b"CONNECT 999.0.0.1:1 HTTP/1.1\r\nHost: 999.0.0.1:1\r\n\r\n",
        b"GET http://127.0.0.1:1/ HTTP/1.1\r\nHost: {t}\r\n\r\n",
    ],
)
def test_all_else_reaches_aiohttp_as_it_came(handed_over: list[bytes], head: bytes) -> None:
    """What is not quite usual is read by the strict reader, from its first byte."""
    with Target() as target, Proxied() as proxied:
        data = head.replace(b"{t}", target.authority.encode())
        with proxied.client(data) as near:
            near.shutdown(socket.SHUT_WR)
            select.select([near, target.listener], [], [], SOON_SECONDS)
        assert (0, 0, 0) == proxied.settled()
    assert [data] == handed_over


def test_a_silent_client_is_let_go(loop: str) -> None:
    """Without a byte in time the connection ends, with no answer and no line in the log."""
    with Proxied(loop, head_timeout_seconds=0.1) as proxied, proxied.client() as near:
        assert (b"", "FIN") == read_all(near)
        assert (0, 0, 0) == proxied.settled()
        assert not proxied.has_entries()


def test_who_spoke_in_time_is_heard_by_a_busy_loop(loop: str) -> None:
    """A loop that comes back after the limit takes what was sent within it."""
    with Target() as target, Proxied(loop, head_timeout_seconds=0.2) as proxied, proxied.client() as near:
        proxied.reaches(lambda proxy: proxy.connections == 1)
        is_stuck, is_sent = threading.Event(), threading.Event()

        async def stuck() -> None:
            is_stuck.set()
            assert is_sent.wait(SOON_SECONDS)
            select.select([], [], [], 0.3)

        running = asyncio.run_coroutine_threadsafe(stuck(), proxied._loop)
        assert is_stuck.wait(SOON_SECONDS)
        near.sendall(connect_head(target.authority))
        is_sent.set()
        running.result(SOON_SECONDS)
        with target.accept():
            assert 200 == status_of(read_head(near))


@pytest.mark.parametrize("size", [4096, 4097, 70_000, 1_000_000])
@pytest.mark.parametrize("is_waited_for", [True, False])
def test_early_bytes_beyond_the_first_read(loop: str, size: int, is_waited_for: bool) -> None:
    """Head and early bytes in one breath, and FIN behind them, whether the client was awaited or not."""
    with Target() as target, Proxied(loop) as proxied, proxied.client() as near:
        if is_waited_for:
            proxied.reaches(lambda proxy: proxy.connections == 1)
        head = connect_head(target.authority)
        data = os.urandom(size - len(head))
        sending = threading.Thread(target=lambda: (near.sendall(head + data), near.shutdown(socket.SHUT_WR)))
        sending.start()
        with target.accept() as far:
            assert (data, "FIN") == read_all(far)
        sending.join(SOON_SECONDS)
        assert 200 == status_of(read_head(near))


@pytest.mark.parametrize("is_waited_for", [False, True])
def test_early_bytes_behind_urgent_data(loop: str, is_waited_for: bool) -> None:
    """A read stops before urgent data (tcp(7)); what is behind it goes on without another word."""
    with Target() as target, Proxied(loop) as proxied, proxied.client() as near:
        if is_waited_for:
            proxied.reaches(lambda proxy: proxy.connections == 1)

        async def speak() -> None:
            # In one turn of the loop, which then hears of all of it at once
            near.sendall(connect_head(target.authority))
            near.send(b"U", socket.MSG_OOB)
            near.sendall(b"early")

        proxied.run(speak())
        with target.accept() as far:
            assert b"early" == far.recv(100)
            assert 200 == status_of(read_head(near))


def test_a_crowd_is_let_in(loop: str) -> None:
    """Fifty at once: each is answered, and none keeps another waiting."""
    with Target(backlog=64) as target, Proxied(loop) as proxied, contextlib.ExitStack() as stack:
        head = connect_head(target.authority)
        near = [stack.enter_context(proxied.client(head)) for _ in range(50)]
        far = [stack.enter_context(target.accept()) for _ in near]
        for sock in near:
            assert 200 == status_of(read_head(sock))
        for sock in far:
            sock.sendall(b"x")
        assert [b"x"] * 50 == [sock.recv(10) for sock in near]


def test_a_client_that_leaves_at_once(loop: str) -> None:
    """FIN or RST without a byte leaves nothing behind."""
    with Proxied(loop) as proxied:
        proxied.client().close()
        with proxied.client() as near:
            near.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
        assert (0, 0, 0) == proxied.settled()


@pytest.fixture
def full() -> Iterator[tuple[str, list[socket.socket]]]:
    """Give a target that completes no further connection: its queue is full (listen(2))."""
    with Target(backlog=0) as target:
        kept = [socket.create_connection(("127.0.0.1", target.port), SOON_SECONDS)]
        yield target.authority, kept
        for sock in kept:
            sock.close()


def connect(authority: str) -> bytes:
    return f"CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n\r\n".encode()


def test_a_target_that_does_not_answer_is_504(loop: str, full: tuple[str, list[socket.socket]]) -> None:
    """The connect limit ends the dial."""
    with Proxied(loop, connect_timeout_seconds=0.2) as proxied, proxied.client(connect(full[0])) as near:
        assert 504 == status_of(read_all(near)[0])
        assert "connection_timeout" == proxied.entry()["error"]
        assert (0, 0, 0) == proxied.settled()


def test_a_client_that_resets_while_its_target_is_dialled(
    loop: str, full: tuple[str, list[socket.socket]]
) -> None:
    """The dial ends with it: nobody waits for a target on behalf of a client that has gone."""
    with Proxied(loop, connect_timeout_seconds=SOON_SECONDS) as proxied:
        with proxied.client(connect(full[0])) as near:
            proxied.reaches(lambda proxy: bool(proxy.tunnels))
            near.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
        began = time.monotonic()
        entry = proxied.entry()
        assert (0, "client-reset") == (entry["status"], entry["ended"])
        assert time.monotonic() - began < SOON_SECONDS
        assert (0, 0, 0) == proxied.settled()


def test_a_stop_ends_guests_of_every_kind(loop: str, full: tuple[str, list[socket.socket]]) -> None:
    """Silent, dialling and open ones see a RST, and each tunnel has its line in the log."""
    with Target() as target:
        with Proxied(loop, connect_timeout_seconds=SOON_SECONDS) as proxied:
            guests = [
                proxied.client(),
                proxied.client(connect(full[0])),
                proxied.client(connect(target.authority)),
            ]
            far = target.accept()
            read_head(guests[2])
            proxied.reaches(lambda proxy: len(proxy.tunnels) > 1 and proxy.connections > 0)
        for sock in (*guests, far):
            with sock:
                assert (b"", "RST") == read_all(sock)
        assert ["stopped"] * 2 == [proxied.entry()["ended"] for _ in range(2)]


def test_out_of_descriptors_it_waits_and_goes_on() -> None:
    """A proxy that may open few files serves those that wait, one after the other, without spinning."""
    with Target(backlog=64) as target, proxy_with_few_files() as (_, port):
        silent = [socket.create_connection(("127.0.0.1", port), SOON_SECONDS) for _ in range(60)]
        last = silent.pop()
        last.sendall(connect(target.authority))
        for sock in silent:
            sock.close()
        with last, target.accept():
            last.settimeout(SOON_SECONDS)
            assert 200 == status_of(read_head(last))
