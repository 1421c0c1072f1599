"""Which fields go on, and what the proxy answers itself; whole exchanges are in tests/path."""

import pytest

from relay.fields import MAX_FORWARDS, end_to_end, forwarded_fields, local_reply, names_us
from relay.refused import Refused
from relay.request_head import RequestHead, complete_head, read_field, read_request_line

Fields = list[tuple[bytes, bytes]]


def head_of(line: str, *fields: str) -> RequestHead:
    return complete_head(
        read_request_line(line.encode()),
        tuple(read_field(field.encode("latin-1")) for field in ("Host: a", *fields)),
    )


def get(*fields: str, line: str = "GET http://a/ HTTP/1.1") -> RequestHead:
    return head_of(line, *fields)


@pytest.mark.parametrize(
    ("fields", "kept"),
    [
        ([(b"X", b"1")], [b"X"]),
        ([(b"Connection", b"x"), (b"X", b"1"), (b"Y", b"2")], [b"Y"]),
        ([(b"CONNECTION", b"X-a ,\tx-B"), (b"x-A", b"1"), (b"X-b", b"2")], []),
        ([(b"Proxy-Connection", b"x"), (b"X", b"1")], []),
        ([(b"Connection", b""), (b"X", b"1")], [b"X"]),
        ([(b"Connection", b"content-length, host, via, date"), (b"Content-Length", b"1"), (b"Via", b"1.1 a")],
         [b"Content-Length", b"Via"]),
        ([(b"Connection", b"EXPECT"), (b"Expect", b"100-continue")], [b"Expect"]),
        ([(b"Keep-Alive", b"1"), (b"TE", b"x"), (b"Trailer", b"x"), (b"Upgrade", b"x"), (b"X", b"")], [b"X"]),
        ([(b"Transfer-Encoding", b"chunked"), (b"Proxy-Authorization", b"x"), (b"Authorization", b"x")],
         [b"Authorization"]),
    ],
)  # fmt: skip
def test_hop_by_hop_fields_stay_here(fields: Fields, kept: list[bytes]) -> None:
    """RFC 9110 section 7.6.1."""
    assert kept == [name for name, _ in end_to_end(tuple(fields))]


def test_host_is_the_authority_and_first() -> None:
    """Whatever Host the client sent, wherever."""
    assert [
        (b"Host", b"b:81"), (b"X", b"1"), (b"Via", b"1.1 us"), (b"Connection", b"close"),
    ] == forwarded_fields(get("X: 1"), "b:81", "us")  # fmt: skip


@pytest.mark.parametrize(
    ("version", "received"), [("1.0", b"1.0 us"), ("1.1", b"1.1 us"), ("1.7", b"1.7 us")]
)
def test_via_tells_the_version_received(version: str, received: bytes) -> None:
    """RFC 9110 section 7.6.3."""
    assert (b"Via", received) in forwarded_fields(get(line=f"GET http://a/ HTTP/{version}"), "a", "us")


@pytest.mark.parametrize(
    ("via", "is_ours"),
    [
        ("1.1 us", True),
        ("1.0 a, HTTP/1.1 US (comment)", True),
        ("1.1 a,1.1\tus", True),
        ("1.1 us2", False),
        ("1.1 a (us)", False),
        ("1.1 foo (bar, 1.1 us)", False),
        ("1.1 foo (bar (1.1 us, 1.1 us), 1.1 us)", False),
        ("1.1 foo (\\), 1.1 us", False),
        ("1.1 foo (bar, (1.1 x)), 1.1 us", True),
        ("us", False),
        ("", False),
        (",,", False),
    ],
)
def test_our_name(via: str, is_ours: bool) -> None:
    """The second word of an entry counts, and nothing else."""
    assert is_ours == names_us(get(f"Via: {via}"), "us")


@pytest.mark.parametrize(
    ("value", "sent"),
    [
        ("1", b"0"),
        ("10", b"9"),
        ("007", b"6"),
        (str(MAX_FORWARDS + 1), b"%d" % (MAX_FORWARDS - 1)),
        ("9" * 9000, b"999999998"),
    ],
)
def test_max_forwards_is_counted_down(value: str, sent: bytes) -> None:
    """For TRACE and OPTIONS; a number beyond ours becomes ours (RFC 9110 section 7.6.2)."""
    head = get(f"Max-Forwards: {value}", line="TRACE http://a/ HTTP/1.1")
    assert local_reply(head) is None
    assert (b"Max-Forwards", sent) in forwarded_fields(head, "a", "us")
    other = get(f"Max-Forwards: {value}")
    assert (b"Max-Forwards", value.encode()) in forwarded_fields(other, "a", "us")


@pytest.mark.parametrize("value", ["", "x", "-1", "1.5", "0x1", "1, 1", "\xb2"])
def test_max_forwards_that_is_no_number(value: str) -> None:
    """Refused, not guessed."""
    with pytest.raises(Refused):
        local_reply(get(f"Max-Forwards: {value}", line="OPTIONS http://a/ HTTP/1.1"))


def test_what_goes_no_further() -> None:
    """Max-Forwards 0 of TRACE and OPTIONS, and OPTIONS *; no other request."""
    zero = "Max-Forwards: 000"
    for line in ("TRACE http://a/ HTTP/1.1", "OPTIONS http://a/ HTTP/1.1", "OPTIONS * HTTP/1.1"):
        assert (local_reply(get(zero, line=line)) or b"").startswith(b"HTTP/1.1 200 OK\r\nDate: ")
    assert local_reply(get(zero)) is None
    assert local_reply(get(line="TRACE http://a/ HTTP/1.1")) is None


def test_a_reply_of_ours_closes_where_it_must() -> None:
    """To HTTP/1.0, to who asks for it, and when a body is still to come."""
    line = "OPTIONS * HTTP/1.1"
    replies = [
        local_reply(head)
        for head in (
            get(line=line), get("Connection: close", line=line), get("Content-Length: 5", line=line),
            get(line="OPTIONS * HTTP/1.0"),
        )
    ]  # fmt: skip
    assert [False, True, True, True] == [b"Connection: close\r\n" in (reply or b"") for reply in replies]
