"""RequestGate: what aiohttp gets to see, at every cut, and where bodies end."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.message_body import MAX_TRAILER_BYTES
from relay.refused import Refused
from relay.request_gate import MAX_FIELDS, MAX_HEAD_BYTES, MAX_WAITING_BYTES, RequestGate

GET = b"GET http://a/ HTTP/1.1\r\nHost: a\r\n\r\n"
GET_SEEN = b"GET / HTTP/1.1\r\nHost: relay\r\nContent-Length: 0\r\n\r\n"
SIZED = b"PUT http://a/ HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello"
CHUNKED = (
    b"PUT http://a/ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"5;x=y\r\nhello\r\n0a\r\n0123456789\r\n000\r\nX: 1\r\n\r\n"
)
CONNECT = b"CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n"
CONNECT_SEEN = b"GET / HTTP/1.1\r\nHost: relay\r\n\r\n"


def body_of(seen: bytes) -> bytes:
    """The body of one canonical request."""
    head, _, rest = seen.partition(b"\r\n\r\n")
    if b"chunked" not in head:
        return rest
    data = b""
    while True:
        size, _, rest = rest.partition(b"\r\n")
        if size == b"0":
            assert b"\r\n" == rest
            return data
        data += rest[: int(size, 16)]
        rest = rest[int(size, 16) + 2 :]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"\x16\x03\x01\x02\x00\x01\n\x00", "this is TLS"),
        (b"\x05\x01\x00", "this is SOCKS 5"),
        (b"\x04\x01\x00\x50\x7f\x00\x00\x01\x00", "this is SOCKS 4"),
    ],
)
def test_other_protocols_are_named(data: bytes, words: str) -> None:
    """Who was told another kind of proxy is found in the log, also when a line end comes by chance."""
    with pytest.raises(Refused) as caught:
        RequestGate().receive(data)
    assert words in caught.value.refusal.words
    assert 400 == caught.value.refusal.status


@pytest.mark.parametrize("request_bytes", [GET, SIZED, CHUNKED], ids=["none", "sized", "chunked"])
def test_any_cut_gives_the_same(request_bytes: bytes) -> None:
    """One request, cut in two anywhere, or into single bytes, is let through whole; what follows waits."""
    expected = {GET: b"", SIZED: b"hello", CHUNKED: b"hello0123456789"}[request_bytes]
    cuts = [[request_bytes[:at], request_bytes[at:]] for at in range(len(request_bytes) + 1)]
    for pieces in [*cuts, [bytes([byte]) for byte in request_bytes]]:
        gate = RequestGate()
        seen = b"".join(gate.receive(piece) for piece in pieces)
        assert expected == body_of(seen)
        assert not gate.is_in_body
        assert b"" == gate.receive(GET + b"more")


@given(
    st.lists(st.sampled_from([GET, SIZED, CHUNKED, b"\r\n" + GET]), min_size=1, max_size=6),
    st.lists(st.integers(1, 60), max_size=20),
)
def test_requests_come_one_at_a_time(requests: list[bytes], sizes: list[int]) -> None:
    """However many come in however many pieces: each is let through when the one before is answered."""
    wire, gate, methods = b"".join(requests), RequestGate(), []

    def note() -> None:
        while gate.head is not None and not gate.is_in_body:
            methods.append(gate.head.line.method)
            gate.next_request()
            gate.receive(b"")

    for size in [*sizes, len(wire)]:
        gate.receive(wire[:size])
        wire = wire[size:]
        note()
    assert [request.split()[0].decode() for request in requests] == methods
    assert gate.is_idle


@pytest.mark.parametrize(
    "early", [b"", b"\x16\x03\x01", b"GET / HTTP/1.1\r\n\r\n", b"\r\n\r\n", b"x" * 300_000]
)
def test_what_follows_a_connect_is_kept(early: bytes) -> None:
    """Not a byte of it is looked at; reading stops at once."""
    gate = RequestGate()
    assert CONNECT_SEEN == gate.receive(CONNECT + early[:7])
    assert gate.is_full
    assert b"" == gate.receive(early[7:])
    assert early == gate.take_early()
    assert b"" == gate.take_early()


def test_what_is_sent_ahead_waits_up_to_a_limit() -> None:
    """Behind that the connection is not read from, until there is room."""
    gate = RequestGate()
    gate.receive(GET)
    assert not gate.is_full
    gate.receive(b"x" * (MAX_WAITING_BYTES - 1))
    assert not gate.is_full
    gate.receive(b"x")
    assert gate.is_full


def test_idle_or_not() -> None:
    """Empty lines are nothing; the first letter of a method is a beginning."""
    gate = RequestGate()
    gate.receive(b"\r\n\r\n")
    assert gate.is_idle
    gate.receive(b"G")
    assert not gate.is_idle


@pytest.mark.parametrize(
    "first", [b"\x16", b"\0", b"\x80", b"{", b" ", b"\n", b"\rG", b"G\0", b"GET\x01", b"G\rX"]
)
def test_what_can_become_no_request_is_refused_at_once(first: bytes) -> None:
    """Without waiting for a line end that TLS or SOCKS never send."""
    with pytest.raises(Refused):
        RequestGate().receive(first)


def test_a_cr_may_wait_for_its_lf() -> None:
    """A segment may end between the two."""
    gate = RequestGate()
    assert b"" == gate.receive(b"\r")
    assert GET_SEEN == gate.receive(b"\n" + GET)


def test_nothing_is_let_through_when_the_rest_is_bad() -> None:
    """A head and a broken chunk in one piece: not even the head gets out."""
    with pytest.raises(Refused):
        RequestGate().receive(CHUNKED.replace(b"0a\r\n", b"0b\r\n"))


def status_of(*pieces: bytes) -> int:
    gate = RequestGate()
    try:
        for piece in pieces:
            gate.receive(piece)
    except Refused as error:
        return int(error.refusal.status)
    return 0


def test_limits_are_felt_while_it_comes() -> None:
    """No limit waits for the end of what is too long."""
    line = b"GET http://a/ HTTP/1.1\r\n"
    assert 414 == status_of(b"GET http://a/", *[b"a" * 1000] * 100)
    assert 431 == status_of(line + b"X: ", *[b"a" * 1000] * (MAX_HEAD_BYTES // 1000 + 1))
    assert 431 == status_of(line, *[b"X: %b\r\n" % (b"a" * 1000)] * (MAX_HEAD_BYTES // 1000 + 1))
    assert 431 == status_of(line, *[b"X:\r\n"] * (MAX_FIELDS + 1))
    chunked = b"PUT http://a/ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert 400 == status_of(chunked, *[b"0" * 100] * 100)
    assert 400 == status_of(chunked + b"1;", *[b"a" * 100] * 100)
    assert 400 == status_of(chunked + b"1\r\nab", b"c")
    assert 431 == status_of(chunked + b"0\r\n", *[b"X: 1\r\n"] * (MAX_TRAILER_BYTES // 6 + 1))


@given(st.binary(max_size=200), st.lists(st.integers(1, 30), max_size=10))
def test_any_bytes_are_refused_or_wait(data: bytes, sizes: list[int]) -> None:
    """No bytes raise anything else, however they are cut, with and without a good beginning."""
    for start in (b"", b"GET http://a/ HTTP/1.1\r\n", CHUNKED[:70]):
        pieces, rest = [], start + data
        for size in [*sizes, len(rest)]:
            pieces.append(rest[:size])
            rest = rest[size:]
        assert status_of(*pieces) in (0, 400, 405, 414, 431, 501, 505)
