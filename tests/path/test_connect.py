"""CONNECT through a real proxy on real sockets, on both event loops."""

import asyncio
import contextlib
import os
import re
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import relay.lookup
from relay.access import Access
from relay.dial import Address
from relay.proxy import ConnectProxy
from relay.route import Endpoint
from tests.path.proxied import (
    LOOPS,
    Proxied,
    Target,
    connect_head,
    fields_of,
    full_backlog,
    read_all,
    read_exactly,
    read_head,
    reset,
    settled,
    status_of,
    tunnel,
    wait_until_delivered,
)

PROXY_STATUS = re.compile(r'framework-relay; error=[a-z_]+; details="([ !#-\[\]-~]|\\["\\])*"\Z')
"""An item of RFC 8941 with parameters, as RFC 9209 wants it."""

MIB = 1 << 20


@pytest.fixture(params=LOOPS)
def proxied(request: pytest.FixtureRequest) -> Iterator[Proxied]:
    with settled(request.param) as running:
        yield running


def test_the_reply_is_one_line(proxied: Proxied) -> None:
    """200 has no field at all: no length, no coding (RFC 9110 section 9.3.6), nothing to stumble over."""
    with Target() as target, proxied.client(connect_head(target.authority)) as near, target.accept() as far:
        assert b"HTTP/1.1 200 Connection established\r\n\r\n" == near.recv(1000)
        near.sendall(b"ping")
        assert b"ping" == far.recv(100)


def test_http_1_0_needs_no_host(proxied: Proxied) -> None:
    """An HTTP/1.0 client gets its tunnel too."""
    with Target() as target:
        with proxied.client(f"CONNECT {target.authority} HTTP/1.0\r\n\r\n".encode()) as near:
            with target.accept() as far:
                assert 200 == status_of(read_head(near))
                far.sendall(b"hello")
                assert b"hello" == near.recv(100)


@pytest.mark.parametrize("size", [1, 2, 1000, 65_535, 65_536, 65_537, 262_144, MIB, MIB + 1])
def test_early_bytes_of_any_size_arrive(proxied: Proxied, size: int) -> None:
    """Bytes right behind the head, in the same call, come out whole and in order."""
    early = os.urandom(size)
    with Target() as target:
        near = proxied.client()
        # Nobody reads the last bytes until the tunnel is open, so they are sent from a thread
        sending = threading.Thread(target=near.sendall, args=(connect_head(target.authority) + early,))
        sending.start()
        with near, target.accept() as far:
            assert early == read_exactly(far, size)
            sending.join()
            assert 200 == status_of(read_head(near))


def test_a_head_may_come_in_any_pieces(proxied: Proxied) -> None:
    """Cut anywhere, early bytes included, a head is the same head."""
    with Target() as target:
        request = connect_head(target.authority) + b"EARLY"
        for cut in range(1, len(request)):
            with proxied.client() as near:
                near.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                near.sendall(request[:cut])
                near.sendall(request[cut:])
                with target.accept() as far:
                    assert 200 == status_of(read_head(near))
                    assert b"EARLY" == read_exactly(far, 5)


def test_a_head_may_come_byte_by_byte(proxied: Proxied) -> None:
    """One byte per segment is slow, but no fault."""
    with Target() as target, proxied.client() as near:
        near.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in connect_head(target.authority, "X-Field: value"):
            near.sendall(bytes([byte]))
        with target.accept():
            assert 200 == status_of(read_head(near))


def test_fin_in_the_same_breath(proxied: Proxied) -> None:
    """Head, bytes and FIN at once (`printf ... | nc -N`): the target gets them, and its answer comes back."""
    with Target() as target, proxied.client(connect_head(target.authority) + b"question") as near:
        near.shutdown(socket.SHUT_WR)
        with target.accept() as far:
            assert (b"question", "FIN") == read_all(far)
            far.sendall(b"answer")
            far.close()
            reply, end = read_all(near)
            assert (b"HTTP/1.1 200 Connection established\r\n\r\nanswer", "FIN") == (reply, end)
    assert "client-closed" == proxied.entry()["ended"]


def test_the_server_may_speak_first(proxied: Proxied) -> None:
    """What the target says before the client said anything follows the reply."""
    with Target() as target, proxied.client(connect_head(target.authority)) as near, target.accept() as far:
        far.sendall(b"220 welcome\r\n")
        assert 200 == status_of(read_head(near))
        assert b"220 welcome\r\n" == read_exactly(near, 13)


def test_half_close_of_the_client(proxied: Proxied) -> None:
    """After the client's FIN the way back stays open, as long as the target likes."""
    with tunnel(proxied) as (near, far):
        near.sendall(b"last word")
        near.shutdown(socket.SHUT_WR)
        assert (b"last word", "FIN") == read_all(far)
        for _ in range(3):
            far.sendall(b"x" * 100_000)
            assert 100_000 == len(read_exactly(near, 100_000))
        far.close()
        assert (b"", "FIN") == read_all(near)
    entry = proxied.entry()
    assert ("client-closed", 9, 300_000) == (entry["ended"], entry["bytes_up"], entry["bytes_down"])


def test_half_close_of_the_target(proxied: Proxied) -> None:
    """The same the other way round."""
    with tunnel(proxied) as (near, far):
        far.sendall(b"last word")
        far.shutdown(socket.SHUT_WR)
        assert (b"last word", "FIN") == read_all(near)
        near.sendall(b"still here")
        near.close()
        assert (b"still here", "FIN") == read_all(far)
    assert "target-closed" == proxied.entry()["ended"]


def test_a_reset_of_the_client_reaches_the_target_as_one(proxied: Proxied) -> None:
    """RST in, RST out: the target must not take an aborted session for a finished one."""
    with tunnel(proxied) as (near, far):
        near.sendall(b"half a sess")
        assert b"half a sess" == read_exactly(far, 11)
        reset(near)
        assert (b"", "RST") == read_all(far)
    entry = proxied.entry()
    assert ("client-reset", 200, 11, 0) == tuple(
        entry[key] for key in ("ended", "status", "bytes_up", "bytes_down")
    )


def test_a_reset_of_the_target_reaches_the_client_as_one(proxied: Proxied) -> None:
    """The same the other way round."""
    with tunnel(proxied) as (near, far):
        reset(far)
        assert (b"", "RST") == read_all(near)
    assert "target-reset" == proxied.entry()["ended"]


def test_who_closes_without_reading_loses_no_word_of_its_own(proxied: Proxied) -> None:
    """A target that answers and closes, bytes unread, resets; its answer still arrives, then the RST."""
    answer = os.urandom(300_000)
    with tunnel(proxied) as (near, far):
        near.sendall(b"unread" * 1000)
        far.sendall(answer)
        # The bytes of the client are there, and nobody reads them
        far.recv(1, socket.MSG_PEEK)
        wait_until_delivered(far)
        far.close()
        data, end = read_all(near)
        assert (len(answer), answer, "RST") == (len(data), data, end)
    assert "target-reset" == proxied.entry()["ended"]


def test_the_same_of_a_client(proxied: Proxied) -> None:
    """A client that sends and closes, the target's bytes unread: its words still arrive, then the RST."""
    words = os.urandom(300_000)
    with tunnel(proxied) as (near, far):
        far.sendall(b"unread" * 1000)
        near.recv(1, socket.MSG_PEEK)
        near.sendall(words)
        wait_until_delivered(near)
        near.close()
        assert (words, "RST") == read_all(far)
    assert "client-reset" == proxied.entry()["ended"]


@pytest.mark.parametrize("reader", ["near", "far"])
def test_who_does_not_read_holds_the_other_back(proxied: Proxied, reader: str) -> None:
    """A side that does not read stops the other; what waits, waits in the kernel and not in the proxy."""
    with tunnel(proxied) as (near, far):
        silent, sender = (near, far) if reader == "near" else (far, near)
        before_bytes = memory_bytes()
        sender.settimeout(0.3)
        sent, block = 0, os.urandom(MIB)
        with contextlib.suppress(TimeoutError):
            while sent < 200 * MIB:
                sent += sender.send(block)
        assert sent < 200 * MIB
        assert memory_bytes() - before_bytes < 8 * MIB
        # Nothing was lost by it
        sender.shutdown(socket.SHUT_WR)
        silent.settimeout(10)
        assert (block[:1000], "FIN") == (silent.recv(1000, socket.MSG_WAITALL), read_all(silent)[1])


def memory_bytes() -> int:
    """Of this process, and so of the proxy in it."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


REFUSED = [
    ("127.0.0.1", 400, "http_request_error"),
    ("127.0.0.1:0", 400, "http_request_error"),
    ("user@127.0.0.1:80", 400, "http_request_error"),
    ("127.0.0.1:25", 403, "http_request_denied"),
    ("255.255.255.255:1", 502, "destination_ip_unroutable"),
    ("no.such.name.invalid:1", 502, "dns_error"),
]


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize(("authority", "status", "error"), REFUSED)
def test_a_refusal_says_why_and_closes(loop: str, authority: str, status: int, error: str) -> None:
    """Status, Proxy-Status (RFC 9209) and log tell the same; the connection closes, the rest is unread."""
    with Proxied(loop, access=Access(allow_ports=(range(1, 25), range(26, 65536)))) as proxied:
        smuggled = b"GET http://127.0.0.1:1/smuggled HTTP/1.1\r\nHost: a\r\n\r\n"
        with proxied.client(connect_head(authority) + smuggled) as near:
            reply, end = read_all(near)
        assert (status, "FIN", 1) == (status_of(reply), end, reply.count(b"HTTP/1.1 "))
        fields = fields_of(reply)
        assert [f"error={error}"] == re.findall(r"error=\w+", fields["proxy-status"][0])
        assert PROXY_STATUS.match(fields["proxy-status"][0])
        assert ["close"] == fields["connection"]
        assert str(len(reply.partition(b"\r\n\r\n")[2])) == fields["content-length"][0]
        entry = proxied.entry()
        assert ("CONNECT", authority, status, "refused", error) == tuple(
            entry[key] for key in ("method", "target", "status", "ended", "error")
        )
        assert (0, 0, 0) == proxied.settled()
        assert not proxied.has_entries()


def test_a_closed_port_is_502(proxied: Proxied) -> None:
    """Nobody listens there: connection_refused."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        with proxied.client(connect_head(f"127.0.0.1:{unused.getsockname()[1]}")) as near:
            reply, _ = read_all(near)
    assert (502, "connection_refused") == (status_of(reply), proxied.entry()["error"])


@pytest.mark.parametrize("loop", LOOPS)
def test_a_silent_target_is_504(loop: str) -> None:
    """SYNs that nobody answers end in connection_timeout, after the time that was set."""
    with full_backlog() as target, Proxied(loop, connect_timeout_seconds=0.2) as proxied:
        with proxied.client(connect_head(target.authority)) as near:
            reply, _ = read_all(near)
        entry = proxied.entry()
        assert (504, 504, "connection_timeout") == (status_of(reply), entry["status"], entry["error"])
        assert 0.2 <= entry["seconds"] < 2


@pytest.mark.parametrize("loop", LOOPS)
def test_a_client_that_vanishes_while_we_dial_leaves_nothing(loop: str) -> None:
    """Its RST comes before the target has answered: no connection, tunnel or task stays."""
    with full_backlog() as target, Proxied(loop, connect_timeout_seconds=0.2) as proxied:
        for _ in range(20):
            reset(proxied.client(connect_head(target.authority) + b"early"))
        assert 20 == len([proxied.entry() for _ in range(20)])
        assert (0, 0, 0) == proxied.settled()


def test_clients_that_vanish_at_once_leave_nothing(proxied: Proxied) -> None:
    """RST at any moment: before the head is read, while we dial, when the tunnel opens."""
    with Target(backlog=256) as target:
        for cut in range(0, 60, 2):
            reset(proxied.client(connect_head(target.authority)[:cut]))
            reset(proxied.client(connect_head(target.authority)))
        assert (0, 0, 0) == proxied.settled()
        while target.was_called():
            with target.accept() as far:
                # Never a clean end with nothing sent that looks like a session
                assert "RST" == read_all(far)[1]


def test_a_refusal_arrives_although_the_client_sends_on(proxied: Proxied) -> None:
    """1 MiB behind a refused CONNECT does not cost the client the reply (RFC 9112 section 9.6)."""
    near = proxied.client()
    with near:
        near.sendall(connect_head("127.0.0.1") + os.urandom(MIB))
        near.sendall(os.urandom(MIB))
        reply, end = read_all(near)
        assert (400, "FIN") == (status_of(reply), end)


@pytest.mark.parametrize("loop", LOOPS)
def test_a_stop_is_immediate_and_resets(loop: str) -> None:
    """Open and half-closed tunnels, and one that is being dialled, end at once by RST; all are logged."""
    with full_backlog() as unreachable, Proxied(loop) as proxied:
        with tunnel(proxied) as (near, far), tunnel(proxied) as (half_near, half_far):
            dialling = proxied.client(connect_head(unreachable.authority))
            idle = proxied.client()
            half_near.shutdown(socket.SHUT_WR)
            assert (b"", "FIN") == read_all(half_far)
            near.sendall(b"alive")
            assert b"alive" == read_exactly(far, 5)

            async def stop() -> float:
                while len(proxied.proxy.tunnels) < 3:  # noqa: ASYNC110 - a request being read has no event
                    await asyncio.sleep(0.001)
                began = proxied._loop.time()
                await proxied.proxy.aclose()
                return proxied._loop.time() - began

            assert proxied.run(stop()) < 0.5
            with dialling, idle:
                ends = [read_all(sock) for sock in (near, far, half_near, dialling)]
                assert [(b"", "RST")] * 4 == ends
                assert "RST" == read_all(idle)[1]
        assert ["stopped"] * 3 == [proxied.entry()["ended"] for _ in range(3)]


@pytest.mark.parametrize("loop", LOOPS)
def test_it_does_not_connect_to_itself(loop: str) -> None:
    """Every spelling of the own listener is a loop: by name, mapped, unspecified."""
    with Proxied(loop) as proxied:
        for host in ("127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "0.0.0.0"):
            with proxied.client(connect_head(f"{host}:{proxied.port}")) as near:
                assert 502 == status_of(read_all(near)[0])
            assert "proxy_loop_detected" == proxied.entry()["error"]


def test_our_name_in_via_is_a_loop(proxied: Proxied) -> None:
    """A CONNECT that has been here before is not passed on."""
    with Target() as target:
        via = f"Via: 1.1 other, 1.1 {proxied.proxy.via} (comment)"
        with proxied.client(connect_head(target.authority, via)) as near:
            assert 502 == status_of(read_all(near)[0])
        assert not target.was_called()


async def test_a_public_listener_does_not_reach_its_own_machine() -> None:
    """Beyond loopback the default is to refuse loopback targets; on loopback it is not."""
    async with (
        ConnectProxy((Endpoint("0.0.0.0", 0),)) as public,
        ConnectProxy((Endpoint("::1", 0),)) as private,
    ):
        assert (False, True) == (public.access.allow_local, private.access.allow_local)


def test_a_prohibited_address_is_403() -> None:
    """The address is judged, whatever name or form it came in."""
    with Target() as target, Proxied(access=Access(allow_local=False)) as proxied:
        for host in ("127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "[64:ff9b::7f00:1]", "0.0.0.0"):
            with proxied.client(connect_head(f"{host}:{target.port}")) as near:
                assert 403 == status_of(read_all(near)[0])
            assert "destination_ip_prohibited" == proxied.entry()["error"]
        assert not target.was_called()


def test_a_dead_resolver_holds_nobody_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many names whose lookup hangs: each is 504 in time, others are found, a stop waits for none."""
    answered, really = threading.Event(), relay.lookup.look_up

    def look_up(host: str, port: int) -> list[Address]:
        if host.endswith(".dead.example"):
            answered.wait()
        return really("localhost", port)

    monkeypatch.setattr(relay.lookup, "look_up", look_up)
    try:
        with Target() as target, Proxied(connect_timeout_seconds=0.5) as proxied:
            dead = [proxied.client(connect_head(f"{number}.dead.example:1")) for number in range(50)]
            with proxied.client(connect_head(f"localhost:{target.port}")) as near, target.accept():
                assert 200 == status_of(read_head(near))
            for sock in dead:
                with sock:
                    assert 504 == status_of(read_all(sock)[0])
            errors = [proxied.entry().get("error") for _ in range(51)]
            assert (50, 1) == (errors.count("dns_timeout"), errors.count(None))
            hanging = proxied.client(connect_head("last.dead.example:1"))
            began = time.monotonic()
        with hanging:
            assert time.monotonic() - began < 0.5
    finally:
        answered.set()


async def test_a_failed_start_leaves_nothing_open() -> None:
    """When one of two listeners is taken, the other is not kept."""
    with Target() as taken:
        with pytest.raises(OSError, match="cannot listen"):
            await ConnectProxy((Endpoint("127.0.0.1", 0), Endpoint("127.0.0.1", taken.port))).start()
