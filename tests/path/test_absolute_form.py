"""Forwarding of http URIs: replies in every framing, and bodies in both directions."""

import contextlib
import os
import re
import select
import socket
import threading
from collections.abc import Iterator
from dataclasses import replace

import pytest

from relay.refused import LINGER_BYTES
from tests.path.proxied import (
    LOOPS,
    SOON_SECONDS,
    Proxied,
    Target,
    asked,
    fields_of,
    get_head,
    read_all,
    read_exactly,
    read_head,
    send_until_refused,
    settled,
    status_of,
)

DATE = b"Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n"
MIB = 1 << 20
LINES_OF_OPTIONS = 5
"""Of the reply to OPTIONS *: the status, three fields, the empty line."""


@pytest.fixture(params=LOOPS)
def proxied(request: pytest.FixtureRequest) -> Iterator[Proxied]:
    with settled(request.param, answer_timeout_seconds=0.5) as running:
        yield running


def rest(proxied: Proxied, near: socket.socket) -> tuple[bytes, str]:
    """What still comes, and the end; a connection that is kept open is ended by us."""
    near.shutdown(socket.SHUT_WR)
    return read_all(near)


OK = b"HTTP/1.1 200 OK\r\n"
REPLIES = [
    # name, what the origin sends, what the client gets behind the fields
    ("by length", OK + b"Content-Length: 5\r\n\r\nhello", b"hello"),
    ("empty", OK + b"Content-Length: 0\r\n\r\n", b""),
    ("chunked", OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
     b"5\r\nhello\r\n0\r\n\r\n"),
    ("chunked with extension and trailer",
     OK + b"Trailer: X\r\nTransfer-Encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n0\r\nX: 1\r\n\r\n",
     b"5\r\nhello\r\n0\r\n\r\n"),
    ("up to the end", OK + b"\r\nhello", b"5\r\nhello\r\n0\r\n\r\n"),
    ("HTTP/1.0 up to the end", b"HTTP/1.0 200 OK\r\n\r\nhello", b"5\r\nhello\r\n0\r\n\r\n"),
    ("204", b"HTTP/1.1 204 No Content\r\n\r\n", b""),
    ("204 with a length", b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n", b""),
    ("304 with a length", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 500\r\n\r\n", b""),
    ("404", b"HTTP/1.1 404 Nope\r\nContent-Length: 2\r\n\r\nno", b"no"),
    ("unknown status", b"HTTP/1.1 799 Odd\r\nContent-Length: 2\r\n\r\nno", b"no"),
    ("no reason", b"HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nok", b"ok"),
    ("bytes behind the body", OK + b"Content-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\n\r\n", b"ok"),
    ("length and chunked",
     OK + b"Content-Length: 99\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
     b"2\r\nok\r\n0\r\n\r\n"),
    ("the same length twice", OK + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\nok", b"ok"),
    ("LF lines", b"HTTP/1.1 200 OK\nContent-Length: 2\n\nok", b"ok"),
    ("empty line before", b"\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", b"ok"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "sent", "body"), REPLIES, ids=[reply[0] for reply in REPLIES])
def test_replies_in_every_framing(proxied: Proxied, name: str, sent: bytes, body: bytes) -> None:
    """Each framing arrives whole, in a framing that the client knows, on a connection that goes on."""
    with asked(proxied) as (near, origin):
        origin.sendall(sent)
        origin.close()
        head = read_head(near)
        assert (int(re.findall(rb"HTTP/1\.. (\d+)", sent)[0]), True) == (
            status_of(head),
            "connection" not in fields_of(head),
        )
        assert (body, "FIN") == rest(proxied, near)
        has_length, has_coding = (name in fields_of(head) for name in ("content-length", "transfer-encoding"))
        assert not (has_length and has_coding)
        received = "1.0" if sent.startswith(b"HTTP/1.0") else "1.1"
        assert [f"{received} {proxied.proxy.via}"] == fields_of(head)["via"]


@pytest.mark.parametrize("sent", [b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n",
                                  b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
                                  b"HTTP/1.1 200 OK\r\n\r\n"])  # fmt: skip
def test_a_reply_to_head_has_no_body(proxied: Proxied, sent: bytes) -> None:
    """Whatever its fields say about a body."""
    with asked(proxied, method="HEAD") as (near, origin):
        origin.sendall(sent)
        head = read_head(near)
        assert (b"500" in sent) == ("content-length" in fields_of(head))
        assert (b"", "FIN") == rest(proxied, near)


def test_an_http_1_0_client_gets_no_chunks(proxied: Proxied) -> None:
    """Its body ends with the connection, and a proxy keeps none of its connections (RFC 9112 section 9.3)."""
    with asked(proxied, "Connection: keep-alive", version="1.0") as (near, origin):
        origin.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        origin.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n")
        head, _, body = read_all(near)[0].partition(b"\r\n\r\n")
        fields = fields_of(head + b"\r\n\r\n")
        assert (200, b"hello", ["close"], False) == (
            status_of(head), body, fields["connection"], "transfer-encoding" in fields,
        )  # fmt: skip


def test_close_is_done(proxied: Proxied) -> None:
    """Connection: close of the client is answered with the same, and with FIN."""
    with asked(proxied, "Connection: x, Close") as (near, origin):
        origin.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        reply, end = read_all(near)
        assert (["close"], "FIN", True) == (
            fields_of(reply)["connection"],
            end,
            reply.endswith(b"\r\n\r\nok"),
        )


def test_fields_of_a_reply(proxied: Proxied) -> None:
    """Hop-by-hop and nominated ones go no further; the rest keeps order, spelling, repetition and bytes."""
    with asked(proxied) as (near, origin):
        origin.sendall(
            b"HTTP/1.1 200 \xe9tat\r\n" + DATE + b"Set-Cookie: b=2\r\nset-cookie: a=1\r\nX-Obs: \xe9\xff\r\n"
            b"Connection: X-Hop, keep-alive\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\nUpgrade: h2c\r\n"
            b"Proxy-Authenticate: Basic\r\nSet-Cookie: b=2\r\nContent-Encoding: gzip\r\nSpaced : odd\r\n"
            b"Via: 1.0 inner\r\nContent-Length: 4\r\n\r\n\x1f\x8b\x00\xff"
        )
        assert (
            b"HTTP/1.1 200 \xe9tat\r\n" + DATE + b"Set-Cookie: b=2\r\nset-cookie: a=1\r\nX-Obs: \xe9\xff\r\n"
            b"Set-Cookie: b=2\r\nContent-Encoding: gzip\r\nSpaced: odd\r\n"
            b"Via: 1.0 inner\r\nContent-Length: 4\r\n"
            b"Via: 1.1 " + proxied.proxy.via.encode() + b"\r\n\r\n"
        ) == read_head(near)
        assert b"\x1f\x8b\x00\xff" == read_exactly(near, 4)


def test_a_reply_without_date_gets_one(proxied: Proxied) -> None:
    """RFC 9110 section 6.6.1."""
    with asked(proxied) as (near, origin):
        origin.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        assert re.fullmatch(
            r"\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT", fields_of(read_head(near))["date"][0]
        )


def test_interim_replies_are_passed_on(proxied: Proxied) -> None:
    """100 and 103 come before the final reply, in their order."""
    with asked(proxied) as (near, origin):
        origin.sendall(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: <a>\r\n\r\n")
        assert [100, 103] == [status_of(read_head(near)) for _ in range(2)]
        origin.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        assert 200 == status_of(read_head(near))


def test_expect_100_continue_from_end_to_end(proxied: Proxied) -> None:
    """The client sends its body when the origin says so, not when the proxy does."""
    with asked(proxied, "Expect: 100-continue", "Content-Length: 5", method="POST") as (near, origin):
        near.settimeout(0.1)
        with pytest.raises(TimeoutError):
            near.recv(1)
        near.settimeout(5)
        origin.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        assert 100 == status_of(read_head(near))
        near.sendall(b"hello")
        assert b"hello" == read_exactly(origin, 5)
        origin.sendall(b"HTTP/1.1 204 OK\r\n\r\n")
        assert 204 == status_of(head := read_head(near))
        assert "connection" not in fields_of(head)


def test_a_final_reply_instead_of_100(proxied: Proxied) -> None:
    """The body that the client does not send any more makes the connection useless: it is closed."""
    with asked(proxied, "Expect: 100-continue", "Content-Length: 5", method="POST") as (near, origin):
        origin.sendall(b"HTTP/1.1 417 No\r\nContent-Length: 2\r\n\r\nno")
        reply, end = read_all(near)
        assert (417, ["close"], "FIN") == (status_of(reply), fields_of(reply)["connection"], end)


def test_an_early_reply_ends_the_upload(proxied: Proxied) -> None:
    """413 while the client still sends: it arrives, although the rest of the body is on its way."""
    with asked(proxied, f"Content-Length: {64 * MIB}", method="POST") as (near, origin):
        # Not more than the proxy takes before it resets: this thread perhaps comes late to the reply
        sending = threading.Thread(target=send_until_refused, args=(near, LINGER_BYTES // 2))
        sending.start()
        read_exactly(origin, 1000)
        origin.sendall(b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno")
        head = read_head(near)
        assert (413, ["close"], b"no") == (
            status_of(head),
            fields_of(head)["connection"],
            read_exactly(near, 2),
        )
        near.shutdown(socket.SHUT_RDWR)
        sending.join()


@pytest.mark.parametrize("is_chunked", [False, True])
def test_a_large_upload_waits_for_its_origin(proxied: Proxied, is_chunked: bool) -> None:
    """An origin that does not read holds the client back; nothing is lost, no timeout counts meanwhile."""
    size = 24 * MIB
    body = os.urandom(MIB) * 24
    wire = (
        b"".join(b"%x\r\n%b\r\n" % (MIB, body[:MIB]) for _ in range(24)) + b"0\r\n\r\n"
        if is_chunked
        else body
    )
    framing = "Transfer-Encoding: chunked" if is_chunked else f"Content-Length: {size}"
    # From the last byte on; this machine may be busy then
    patient = replace(proxied.proxy.limits, answer_timeout_seconds=SOON_SECONDS)
    proxied.run(proxied.proxy.change(proxied.proxy.access, patient, None))
    with asked(proxied, framing, method="POST") as (near, origin):
        sending = threading.Thread(target=near.sendall, args=(wire,))
        sending.start()
        got = read_chunks(origin) if is_chunked else read_exactly(origin, size)
        sending.join()
        assert body == got
        origin.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        assert 200 == status_of(read_head(near))
    assert size == proxied.entry()["bytes_up"]


def read_chunks(sock: socket.socket) -> bytes:
    data = bytearray()
    with sock.makefile("rb") as lines:
        while size := int(lines.readline(), 16):
            data += lines.read(size)
            assert b"\r\n" == lines.readline()
    return bytes(data)


def test_a_large_reply_waits_for_its_client(proxied: Proxied) -> None:
    """The same the other way round."""
    body = os.urandom(MIB) * 24
    with asked(proxied) as (near, origin):
        reply = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body
        sending = threading.Thread(target=origin.sendall, args=(reply,))
        sending.start()
        read_head(near)
        assert body == read_exactly(near, len(body))
        sending.join()


def test_a_slow_client_gets_all_before_the_end(proxied: Proxied) -> None:
    """A reply that ends with the connection ends behind its last byte, however late that is read."""
    body = os.urandom(12 * MIB)

    def answer(origin: socket.socket) -> None:
        with origin:
            origin.sendall(OK + b"\r\n" + body)

    with asked(proxied, version="1.0") as (near, origin):
        sending = threading.Thread(target=answer, args=(origin,))
        sending.start()
        read_head(near)
        # Time for a proxy that takes everything at once to take it, and to close too early
        sending.join(0.3)
        assert (body, "FIN") == read_all(near)
        sending.join()


def test_reply_and_request_flow_at_once(proxied: Proxied) -> None:
    """An origin may answer while it is still being asked."""
    with asked(proxied, "Transfer-Encoding: chunked", method="POST") as (near, origin):
        origin.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        read_head(near)
        for _ in range(5):
            near.sendall(b"2\r\nup\r\n")
            assert b"2\r\nup\r\n" == read_exactly(origin, 7)
            origin.sendall(b"4\r\ndown\r\n")
            assert b"4\r\ndown\r\n" == read_exactly(near, 9)
        near.sendall(b"0\r\n\r\n")
        assert b"0\r\n\r\n" == read_exactly(origin, 5)
        origin.sendall(b"0\r\n\r\n")
        assert b"0\r\n\r\n" == read_exactly(near, 5)


def test_pipelined_requests_are_answered_in_order(proxied: Proxied) -> None:
    """One after the other, each on a connection of its own; bodies in between are told apart."""
    with Target() as target:
        authority = target.authority
        chunked = (
            get_head(authority, "Transfer-Encoding: chunked", method="PUT") + b"3\r\nabc\r\n0\r\nX: 1\r\n\r\n"
        )
        requests = [
            get_head(authority),
            get_head(authority, "Content-Length: 3", method="POST") + b"abc",
            chunked,
            b"\r\n" + get_head(authority, method="DELETE"),
        ]
        with proxied.client(b"".join(requests)) as near:
            for number, method in enumerate([b"GET", b"POST", b"PUT", b"DELETE"]):
                with target.accept() as origin:
                    assert method == read_head(origin).split()[0]
                    assert not target.was_called()
                    origin.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n%d" % number)
                read_head(near)
                assert b"%d" % number == near.recv(1)


@pytest.mark.parametrize("loop", LOOPS)
def test_many_pipelined_requests_wait_in_bounded_memory(loop: str) -> None:
    """A client that sends on without an end while its first request is answered is held back."""
    with Proxied(loop) as proxied, asked(proxied) as (near, origin):
        near.settimeout(0.3)
        request, sent = get_head("127.0.0.1:1") * 1000, 0
        with contextlib.suppress(TimeoutError):
            while sent < 200 * MIB:
                sent += near.send(request)
        assert sent < 200 * MIB
        origin.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n")


def test_thousands_of_pipelined_requests_are_all_answered(proxied: Proxied) -> None:
    """More than may wait here at once: reading goes on when there is room again."""
    with proxied.client() as near:
        requests = b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n" * 2500
        sending = threading.Thread(target=near.sendall, args=(requests,))
        sending.start()
        with near.makefile("rb") as replies:
            assert 2500 == sum(
                replies.readline() == b"HTTP/1.1 200 OK\r\n" for _ in range(2500 * LINES_OF_OPTIONS)
            )
        sending.join()


def test_our_name_in_via_is_a_loop(proxied: Proxied) -> None:
    """Names are compared as a whole, and not with comments."""
    name = proxied.proxy.via
    with Target() as target:
        for via in (f"Via: 1.1 {name}", f"Via: 1.0 a, HTTP/1.1 {name.upper()} (x)"):
            with proxied.client(get_head(target.authority, via)) as near:
                assert 502 == status_of(read_all(near)[0])
        assert not target.was_called()
    with asked(proxied, f"Via: 1.1 {name}2, 1.1 a ({name})") as (near, origin):
        origin.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        assert 200 == status_of(read_head(near))


def test_two_clients_do_not_wait_for_each_other(proxied: Proxied) -> None:
    """One origin that thinks keeps nobody else from theirs."""
    with asked(proxied), asked(proxied) as (near, origin):
        origin.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        assert 200 == status_of(read_head(near))
        assert not select.select([near], [], [], 0)[0]
