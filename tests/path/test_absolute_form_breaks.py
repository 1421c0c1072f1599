"""Forwarding of http URIs: every way in which origin, client and proxy break off."""

import re
import socket
import time
from collections.abc import Iterator

import pytest

from relay.exchange import Exchange
from relay.origin import MAX_HEAD_BYTES, MAX_INTERIM_REPLIES
from tests.path.proxied import (
    LOOPS,
    SOON_SECONDS,
    Proxied,
    Target,
    asked,
    fields_of,
    full_backlog,
    get_head,
    read_all,
    read_exactly,
    read_head,
    reset,
    send_until_refused,
    settled,
    status_of,
)

MIB = 1 << 20


@pytest.fixture(params=LOOPS)
def proxied(request: pytest.FixtureRequest) -> Iterator[Proxied]:
    with settled(request.param, answer_timeout_seconds=0.5) as running:
        yield running


@pytest.mark.parametrize(
    "sent",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nxyz\r\n",
    ],
)
@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_a_broken_reply_is_never_a_whole_one(proxied: Proxied, sent: bytes, version: str) -> None:
    """An origin that dies in the middle: the client gets RST, where FIN would end the body (HTTP/1.0)."""
    with asked(proxied, version=version) as (near, origin):
        origin.sendall(sent)
        read_head(near)
        origin.close()
        data, end = read_all(near)
        assert ("RST", False) == (end, data.endswith(b"0\r\n\r\n"))
    entry = proxied.entry()
    assert (200, "origin-broke") == (entry["status"], entry["ended"])


OK = b"HTTP/1.1 200 OK\r\n"
BROKEN = [
    ("nothing", b"", "connection_terminated"),
    ("half a status line", b"HTTP/1.1 2", "http_response_incomplete"),
    ("half a head", OK + b"Content-Le", "http_response_incomplete"),
    ("interim only", b"HTTP/1.1 100 Continue\r\n\r\n", "connection_terminated"),
    ("HTTP/0.9", b"hello\n", "http_protocol_error"),
    ("HTTP/2", b"HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n", "http_protocol_error"),
    ("TLS", b"\x15\x03\x01\x00\x02\x02\x46", "http_protocol_error"),
    ("SSH", b"SSH-2.0-OpenSSH_9.6\r\n", "http_protocol_error"),
    ("status of two digits", b"HTTP/1.1 20 OK\r\n\r\n", "http_protocol_error"),
    ("status 099", b"HTTP/1.1 099 OK\r\n\r\n", "http_protocol_error"),
    ("switching protocols", b"HTTP/1.1 101 Go\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
     "http_protocol_error"),
    ("lengths that differ", OK + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
     "http_protocol_error"),
    ("length in letters", OK + b"Content-Length: five\r\n\r\nhello", "http_protocol_error"),
    ("negative length", OK + b"Content-Length: -5\r\n\r\nhello", "http_protocol_error"),
    ("length beyond all bounds", OK + b"Content-Length: 99999999999999999999\r\n\r\n",
     "http_response_body_size"),
    ("length just beyond", OK + b"Content-Length: 9223372036854775808\r\n\r\n",
     "http_response_body_size"),
    ("NUL in a value", OK + b"X: a\0b\r\n\r\n", "http_protocol_error"),
    ("bare CR in a value", OK + b"X: a\rb\r\n\r\n", "http_protocol_error"),
    ("no colon", OK + b"X\r\n\r\n", "http_protocol_error"),
    ("unknown coding", OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n", "http_response_transfer_coding"),
    ("endless head", OK + b"X: " + b"a" * MAX_HEAD_BYTES, "http_response_header_section_size"),
    ("endless interim replies", b"HTTP/1.1 103 Hints\r\n\r\n" * (MAX_INTERIM_REPLIES + 1),
     "http_protocol_error"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "sent", "error"), BROKEN, ids=[broken[0] for broken in BROKEN])
def test_an_unusable_reply_is_502(proxied: Proxied, name: str, sent: bytes, error: str) -> None:
    """The client gets a whole reply of ours that says what was wrong, without the origin's bytes."""
    with asked(proxied) as (near, origin):
        origin.sendall(sent)
        # An endless head may be refused before its end
        if name != "endless head":
            origin.shutdown(socket.SHUT_WR)
        replies = re.sub(rb"HTTP/1\.1 10[03] \w+\r\nVia: .*\r\n\r\n", b"", read_all(near)[0])
        assert (502, [f"error={error}"]) == (
            status_of(replies),
            re.findall(r"error=\w+", fields_of(replies)["proxy-status"][0]),
        )
        assert not re.search(rb"event type|bytearray|SSH-2", replies)
    entry = proxied.entry()
    assert (502, error, "refused") == tuple(entry[key] for key in ("status", "error", "ended"))


SPACES = b" " * 100_000
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (OK + b"X:" + SPACES + b"\0\r\n\r\n", 502),
        (OK + b"X: a" + SPACES + b"\r\r\n\r\n", 502),
        (OK + b"X: " + b"a " * 50_000 + b"\v\r\n\r\n", 502),
        (OK + b"X" + SPACES + b"Y: z\r\n\r\n", 502),
        (CHUNKED + b"5;" + SPACES + b"\nx\r\n", 200),
        (CHUNKED + b"5" + SPACES + b"x\r\n", 200),
        (CHUNKED + b"0\r\nX:" + SPACES[:60_000] + b"\0\r\n\r\n", 200),
    ],
    ids=lambda value: repr(value).replace(" ", "")[:60],
)
def test_no_reply_holds_everybody_up(proxied: Proxied, sent: bytes, status: int) -> None:
    """White space before what is malformed is read once, not once for each of its places."""
    with asked(proxied) as (near, origin):
        origin.sendall(sent)
        assert status == status_of(read_head(near))
        began = time.monotonic()
        with proxied.client(b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n") as other:
            assert 200 == status_of(read_head(other))
        # Quadratic time is 20 seconds here
        assert time.monotonic() - began < SOON_SECONDS / 2
        assert not read_all(near)[0].endswith(b"0\r\n\r\n")


@pytest.mark.parametrize("size", [b"5  ", b"5\t", b"005 ;x=y", b"5 ; x"])
def test_a_padded_size_is_borne_with(proxied: Proxied, size: bytes) -> None:
    """Old servers pad the sizes of their chunks; the client gets ours."""
    with asked(proxied) as (near, origin):
        origin.sendall(CHUNKED + size + b"\r\nhello\r\n0  \r\n\r\n")
        assert 200 == status_of(read_head(near))
        assert b"5\r\nhello\r\n0\r\n\r\n" == read_exactly(near, 15)


@pytest.mark.parametrize(
    "body",
    [
        b"5;\0\r\nhello\r\n0\r\n\r\n",
        b"5;a\rb\r\nhello\r\n0\r\n\r\n",
        b"5\nhello\n0\n\n",
        b"0x5\r\nhello\r\n0\r\n\r\n",
        b"5\r\nhelloXX0\r\n\r\n",
        b"8000000000000000\r\nhello",
        b"5\r\nhello\r\n0\r\nX\r\n\r\n",
        b"5\r\nhello\r\n0\r\nX: " + b"a" * 70_000 + b"\r\n\r\n",
        b"5;" + b"a" * 5000 + b"\r\nhello\r\n0\r\n\r\n",
    ],
    ids=lambda body: repr(body)[:30],
)
def test_a_malformed_chunked_reply_is_a_broken_one(proxied: Proxied, body: bytes) -> None:
    """Its chunks are read as strictly as a client's: nobody behind us may find another end in them."""
    with asked(proxied) as (near, origin):
        origin.sendall(CHUNKED + body)
        assert 200 == status_of(read_head(near))
        rest, end = read_all(near)
        assert ("RST", False) == (end, rest.endswith(b"0\r\n\r\n"))


def test_what_is_no_http_is_refused_at_once(proxied: Proxied) -> None:
    """An SSH server says its banner and waits: that is enough to know."""
    with asked(proxied) as (near, origin):
        origin.sendall(b"SSH-2.0-OpenSSH_9.6\r\n")
        assert 502 == status_of(read_all(near)[0])
    assert proxied.entry()["seconds"] < 0.4


def test_a_reset_without_an_answer_is_502(proxied: Proxied) -> None:
    """connection_terminated, in our words."""
    with asked(proxied) as (near, origin):
        reset(origin)
        assert 502 == status_of(read_all(near)[0])
    assert "connection_terminated" == proxied.entry()["error"]


def test_a_silent_origin_is_504(proxied: Proxied) -> None:
    """After answer_timeout_seconds."""
    with asked(proxied) as (near, _):
        assert 504 == status_of(read_all(near)[0])
    entry = proxied.entry()
    assert ("http_response_timeout", True) == (entry["error"], 0.5 <= entry["seconds"] < 2)


def test_a_client_that_stops_in_its_body_is_408(proxied: Proxied) -> None:
    """It is the client who is slow, and it is told so."""
    with asked(proxied, "Content-Length: 5", method="POST", body=b"he") as (near, _):
        assert 408 == status_of(read_all(near)[0])


def test_a_client_that_ends_in_its_body_is_400(proxied: Proxied) -> None:
    """FIN before the last byte: the origin's request is broken off, and the client may still read why."""
    with asked(proxied, "Content-Length: 5", method="POST", body=b"he") as (near, origin):
        near.shutdown(socket.SHUT_WR)
        assert 400 == status_of(read_all(near)[0])
        assert b"he" == read_all(origin)[0]


def test_a_malformed_chunk_later_on_is_400(proxied: Proxied) -> None:
    """The head is with the origin already; the body never becomes whole there."""
    with asked(proxied, "Transfer-Encoding: chunked", method="POST", body=b"5\r\nhello\r\n") as (
        near,
        origin,
    ):
        assert b"5\r\nhello\r\n" == read_exactly(origin, 10)
        near.sendall(b"fffffffffffffffff\r\n")
        assert 400 == status_of(read_all(near)[0])
        assert b"" == read_all(origin)[0]
    entry = proxied.entry()
    assert (400, "refused") == tuple(entry[key] for key in ("status", "ended"))


def test_a_malformed_chunk_behind_the_reply_is_a_reset(proxied: Proxied) -> None:
    """When the reply has begun there is no place for a refusal."""
    with asked(proxied, "Transfer-Encoding: chunked", method="POST") as (near, origin):
        origin.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        read_head(near)
        near.sendall(b"xyz\r\n")
        assert (b"", "RST") == read_all(near)
    assert "client-broke" == proxied.entry()["ended"]


def test_a_client_that_goes_frees_its_origin(proxied: Proxied) -> None:
    """RST of the client while the origin thinks: the origin's connection is closed at once."""
    with asked(proxied) as (near, origin):
        reset(near)
        read_all(origin)
    entry = proxied.entry()
    assert (0, "client-reset", True) == (entry["status"], entry["ended"], entry["seconds"] < 0.4)


def test_a_client_that_goes_in_the_reply(proxied: Proxied) -> None:
    """RST of the client in the middle of the reply ends the origin's connection."""
    with asked(proxied) as (near, origin):
        origin.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
        read_head(near)
        reset(near)
        send_until_refused(origin, 64 * MIB)
    entry = proxied.entry()
    assert (200, "client-reset") == (entry["status"], entry["ended"])


def test_a_stop_breaks_replies_off(proxied: Proxied) -> None:
    """A stop in the middle of a reply that FIN would end is a RST, and stands in the log."""
    with asked(proxied, version="1.0") as (near, origin):
        origin.sendall(b"HTTP/1.1 200 OK\r\n\r\nhello")
        read_head(near)
        assert b"hello" == read_exactly(near, 5)
        proxied.run(proxied.proxy.aclose())
        assert (b"", "RST") == read_all(near)
    assert "stopped" == proxied.entry()["ended"]


def test_targets_that_cannot_be_reached(proxied: Proxied) -> None:
    """The same statuses as for CONNECT."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        with proxied.client(get_head(f"127.0.0.1:{unused.getsockname()[1]}")) as near:
            assert 502 == status_of(read_all(near)[0])
    with proxied.client(get_head(f"127.0.0.1:{proxied.port}")) as near:
        assert 502 == status_of(read_all(near)[0])
    assert ["connection_refused", "proxy_loop_detected"] == [proxied.entry()["error"] for _ in range(2)]


@pytest.mark.parametrize("loop", LOOPS)
def test_a_silent_target_is_504(loop: str) -> None:
    """SYNs that nobody answers."""
    with full_backlog() as target, Proxied(loop, connect_timeout_seconds=0.2) as proxied:
        with proxied.client(get_head(target.authority)) as near:
            assert 504 == status_of(read_all(near)[0])


def test_a_fault_of_ours_is_500(proxied: Proxied, monkeypatch: pytest.MonkeyPatch) -> None:
    """An exception nobody foresaw is answered in the same form, and no detail of it comes out."""

    async def fail(self: Exchange) -> None:
        raise LookupError("secret detail")

    monkeypatch.setattr(Exchange, "run", fail)
    with Target() as target, proxied.client(get_head(target.authority)) as near:
        reply, end = read_all(near)
    assert (500, "FIN", False) == (status_of(reply), end, b"secret" in reply)
    assert (500, "refused") == ((entry := proxied.entry())["status"], entry["ended"])
    assert not proxied.has_entries()
