"""ConnectHandshake: heads, tunnels and refusals. Logins: test_connect_login.py; requests: test_request.py."""

import time
import tracemalloc

import pytest

from protocol.connect import (
    MAX_BODY_BYTES,
    MAX_DRAIN_BYTES,
    MAX_FIELDS,
    MAX_HEAD_BYTES,
    MAX_INTERIM,
    ConnectHandshake,
    Reply,
)
from protocol.errors import HeadMalformed, StreamTruncated
from protocol.resemblance import resembles
from tests.corpus import BANNER, MORE_REPLIES, OK, REPLIES, ReplyCase
from tests.outcome import TARGET, Outcome, outcome_of

CASES = REPLIES + MORE_REPLIES
SMALL_BYTES = 500  # larger cases are cut at their edges and here and there, not at every byte

every_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


def started() -> ConnectHandshake:
    handshake = ConnectHandshake(TARGET)
    handshake.data_to_send()
    return handshake


def played(case: ReplyCase, *pieces: bytes) -> Outcome:
    return outcome_of(pieces, is_ended=case.then == "eof")


def cuts(wire: bytes) -> list[int]:
    if len(wire) <= SMALL_BYTES:
        return list(range(len(wire) + 1))
    return sorted({*range(40), *range(0, len(wire), 9_973), *range(len(wire) - 40, len(wire) + 1)})


def refused(wire: bytes, *, is_ended: bool = False) -> Reply:
    outcome = outcome_of([wire], is_ended=is_ended)
    assert outcome.done
    assert outcome.reply is not None
    return outcome.reply


@every_case
def test_a_reply_comes_to_what_the_corpus_says(case: ReplyCase) -> None:
    """Each known reply opens a tunnel with exactly its early bytes, or fails in the way that fits it."""
    outcome = played(case, *case.pieces)
    errors = {"malformed": HeadMalformed, "truncated": StreamTruncated}
    assert errors.get(case.expect) == outcome.error
    assert (case.expect in ("tunnel", "portal", "refused")) == outcome.done
    assert case.early == outcome.leftover
    assert case.status == (outcome.reply.status if outcome.reply else None)
    assert (case.expect in ("tunnel", "portal")) == (outcome.reply is not None and outcome.reply.is_success)
    assert (case.expect == "portal") == (resembles(outcome.leftover) == "an HTML page")


@every_case
def test_a_reply_means_the_same_at_every_cut(case: ReplyCase) -> None:
    """Where the network splits a reply makes no difference: cut in two anywhere, and byte by byte."""
    wire = case.wire
    whole = played(case, wire)
    for place in cuts(wire):
        assert whole == played(case, wire[:place], wire[place:]), f"cut at {place}"
    assert whole == played(case, *(wire[place : place + 1] for place in range(len(wire))))


@pytest.mark.parametrize("case", [c for c in CASES if c.expect == "tunnel"], ids=lambda case: case.name)
def test_a_head_cut_short_is_no_tunnel(case: ReplyCase) -> None:
    """An end anywhere before the blank line is a failure, whatever the status line said."""
    head = case.wire.removesuffix(case.early)
    for place in cuts(head)[:-1]:
        assert StreamTruncated == outcome_of([head[:place]], is_ended=True).error, f"ended at {place}"


def test_a_truncated_head_says_how_much_came() -> None:
    """The error counts and quotes the bytes of the head that came."""
    handshake = started()
    handshake.receive_data(b"HTTP/1.1 200 OK\r\n")
    with pytest.raises(StreamTruncated, match=r"after 17 bytes of the reply head: 'HTTP/1\.1 200 OK"):
        handshake.receive_data(b"")


def test_all_of_a_reply_can_be_read() -> None:
    """Version, status, reason and headers are there as sent, the head also byte by byte."""
    head = b"HTTP/1.0 299 Caf\xe9 open\r\nVIA:  1.1 a \r\nVia: 1.1 b\r\nX-Empty:\r\n\r\n"
    reply = outcome_of([head]).reply
    assert (
        Reply(
            http_version="1.0",
            status=299,
            reason="Caf\xe9 open",
            headers=(("VIA", "1.1 a"), ("Via", "1.1 b"), ("X-Empty", "")),
            raw_head=head,
            leniencies=("HTTP/1.0 reply",),
        )
        == reply
    )
    assert ["1.1 a", "1.1 b"] == reply.all("via")
    assert ("1.1 a", "", None) == (reply.header("VIA"), reply.header("x-empty"), reply.header("Server"))


@pytest.mark.parametrize(
    ("head", "leniencies"),
    [
        (OK, []),
        (b"HTTP/1.1 200 \r\n\r\n", []),
        (b"HTTP/1.1 200\r\n\r\n", ["no reason phrase"]),
        (b"HTTP/1.0 200 OK\r\n\r\n", ["HTTP/1.0 reply"]),
        (b"HTTP/1.1 \t 200 OK\r\n\r\n", ["white space in the status line"]),
        (b"HTTP/1.1 200 OK\nVia: x\n\r\n", ["bare LF line ends"]),
        (b"HTTP/1.1 200 OK\r\nVia: x\r\n y\r\n\tz\r\n\r\n", ["folded header line"]),
        (b"HTTP/1.1 200 OK\r\nVia\t : x\r\n\r\n", ["white space before a colon"]),
        (b"HTTP/1.1 200 OK\r\nX: \x1b[2J\r\n\r\n", ["control characters in the head"]),
        (b"HTTP/1.1 200 OK\r\ncontent-LENGTH: 0\r\n\r\n", ["Content-Length on a 2xx ignored"]),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding:\r\n gzip\r\n\r\n",
         ["folded header line", "Transfer-Encoding on a 2xx ignored"]),
        (b"HTTP/1.1 403 No\r\nContent-Length: -1\r\n\r\n", ["Content-Length that frames no body ignored"]),
        (b"HTTP/1.1 403 No\r\nContent-Length: 2\r\nContent-Length: 2, 2\r\n\r\n", []),
        (b"HTTP/1.1 403 No\r\nContent-Length: 2\r\nTransfer-Encoding: x\r\n\r\n",
         ["Content-Length that frames no body ignored", "Transfer-Encoding that frames no body ignored"]),
    ],
)  # fmt: skip
def test_what_was_borne_with_is_listed(head: bytes, leniencies: list[str]) -> None:
    """A deviation with one meaning is accepted, and named once."""
    reply = outcome_of([head]).reply
    assert reply is not None
    assert leniencies == list(reply.leniencies)


def test_a_folded_header_is_one_value() -> None:
    """The lines of a folded header are joined by one space."""
    reply = outcome_of([b"HTTP/1.1 200 OK\r\nVia: a,\r\n\t  b\r\n\r\n"]).reply
    assert reply is not None
    assert "a, b" == reply.header("Via")


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"SSH-2.0-OpenSSH_9.2\r\n", r"looks like an SSH banner: it begins with 'SSH-2.0-OpenSSH_9.2\\r\\n'"),
        (b"\x15\x03\x01\x00\x02\x02\x46", "looks like a TLS alert"),
        (b"\x00\x00\x06\x04\x00\x00\x00\x00\x00\x00\x03", "looks like an HTTP/2 SETTINGS frame"),
        (b"<html>" + b"x" * 9_994, "looks like an HTML page: .* and 9936 bytes more"),
        (b"\r\n" + OK, r"the reply is not HTTP: it begins with '\\r\\nHTTP"),
        (b"http/1.1 200 OK\r\n\r\n", "the reply is not HTTP"),
        (b"HTTP/2 200\r\n\r\n", "no HTTP/1 status line: 'HTTP/2 200'"),
        (b"HTTP/2.0 200 OK\r\n\r\n", "no HTTP/1 status line: 'HTTP/2.0 200 OK'"),
        (b"HTTP/1.1 2000 OK\r\n\r\n", "no HTTP/1 status line"),
        (b"HTTP/1.1 101 Switching Protocols\r\n\r\n", "status 101 is no answer to CONNECT"),
        (b"HTTP/1.1 099 Low\r\n\r\n", "status 99 is no answer to CONNECT"),
        (b"HTTP/1.1 200 OK\r\nX: a\rb\r\n\r\n", "byte 0x0d in it"),
        (b"HTTP/1.1 200 OK\r\n folded\r\n\r\n", "folded line before its first header"),
        (b"HTTP/1.1 200 OK\r\nVia 1.1\r\n\r\n", "cannot be read: illegal header line"),
        (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 1_001 + b"\r\n", "1001 header lines, the limit is 1000"),
        (b"HTTP/1.1 200 OK\r\n".ljust(MAX_HEAD_BYTES, b"x"), "within the limit of 131072 bytes"),
        (b"HTTP/1.1 102 Wait\r\n\r\n" * 17, r"more than 16 interim \(1xx\) replies"),
    ],
)  # fmt: skip
def test_a_head_that_cannot_be_used_says_why(data: bytes, words: str) -> None:
    """The error names what came instead, or the limit; it is short, and every later call raises it again."""
    handshake = started()
    with pytest.raises(HeadMalformed, match=words) as first:
        handshake.receive_data(data)
    assert len(str(first.value)) < 500
    with pytest.raises(HeadMalformed) as second:
        handshake.receive_data(OK)
    assert first.value is second.value
    assert (False, False, b"") == (handshake.done, handshake.must_redial, handshake.leftover)


def test_a_proxy_that_speaks_first_is_recognised_before_the_request() -> None:
    """A banner that comes before anything is sent is named too."""
    with pytest.raises(HeadMalformed, match="an SSH banner"):
        ConnectHandshake(TARGET).receive_data(b"SSH-2.0-x\r\n")


@pytest.mark.parametrize("count", [1, len(b"HTTP/") - 1])
def test_other_bytes_are_refused_at_once(count: int) -> None:
    """The first byte that no HTTP reply has in its place is enough: nobody waits for more."""
    handshake = started()
    handshake.receive_data(b"HTTP/"[:count])
    with pytest.raises(HeadMalformed, match="the reply is not HTTP"):
        handshake.receive_data(b"!")


@pytest.mark.parametrize("step", [1, 1_000, MAX_HEAD_BYTES])
def test_the_largest_head_is_accepted_and_the_next_byte_is_not(step: int) -> None:
    """A head of exactly MAX_HEAD_BYTES opens a tunnel; one more is refused, at every split."""
    begin = b"HTTP/1.1 200 OK\r\nX: "
    for size, error in ((MAX_HEAD_BYTES, None), (MAX_HEAD_BYTES + 1, HeadMalformed)):
        wire = begin + b"x" * (size - len(begin) - 4) + b"\r\n\r\n" + BANNER
        outcome = outcome_of([wire[place : place + step] for place in range(0, len(wire), step)])
        assert (error, b"" if error else BANNER) == (outcome.error, outcome.leftover)


def test_the_most_headers_and_interim_replies_are_accepted() -> None:
    """MAX_FIELDS header lines, folds not counted, and MAX_INTERIM replies are within the limits."""
    wire = b"HTTP/1.1 102 W\r\n\r\n" * MAX_INTERIM + b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n z\r\n" * MAX_FIELDS
    outcome = outcome_of([wire + b"\r\n" + BANNER])
    assert (None, MAX_INTERIM, BANNER) == (outcome.error, outcome.interim_replies, outcome.leftover)


@pytest.mark.parametrize(
    ("wire", "step"),
    [
        (b"HTTP/1.1 200 OK\r\nX: " + b"\n x" * 43_000, 1),
        (b"HTTP/1.1 200 OK\r\nX:" + b" " * 131_000 + b"\x00\r\n\r\n", 131_072),
        (b"HTTP/1.1 200 OK\r\nX: a" + b" " * 131_000 + b"b\x0b\r\n\r\n", 131_072),
        (b"HTTP/1.1 403 No\r\nTransfer-Encoding: chunked\r\n\r\n5;" + b" " * 900_000 + b"\nx\r\n", 65_536),
        (b"HTTP/1.1 403 No\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * 30_000, 1),
    ],
    ids=["dribbled head", "spaces before NUL", "spaces inside", "spaces in a chunk line", "tiny chunks"],
)
def test_hostile_replies_take_linear_time(wire: bytes, step: int) -> None:
    """No reply within the limits holds the program: quadratic work on these takes minutes, not a second."""
    begun = time.process_time()
    outcome_of([wire[place : place + step] for place in range(0, len(wire), step)])
    assert time.process_time() - begun < 5


def test_tunnel_bytes_that_come_later_are_kept_too() -> None:
    """A driver that reads on into the handshake loses nothing; the tunnel's end is not the handshake's."""
    handshake = started()
    for data in (OK + b"first ", b"second", b""):
        handshake.receive_data(data)
    assert (True, b"first second") == (handshake.done, handshake.leftover)


def test_the_reply_is_known_before_its_body_ends() -> None:
    """A refusal can be told as soon as its head is there, with as much of its body as came."""
    handshake = started()
    handshake.receive_data(b"HTTP/1.1 403 No\r\nContent-Length: 9\r\n\r\nden")
    assert handshake.reply is not None
    assert (403, b"den", False) == (handshake.reply.status, handshake.reply.body, handshake.done)
    handshake.receive_data(b"ied now, and more")
    assert (b"denied no", b"", True) == (handshake.reply.body, handshake.leftover, handshake.done)


@pytest.mark.parametrize(
    ("wire", "is_ended", "body", "remarks"),
    [
        (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", False, b"", ()),
        (b"HTTP/1.1 500 No\r\nContent-Length: 3\r\n\r\nabc", False, b"abc", ()),
        (b"HTTP/1.1 500 No\r\n\r\nabc", True, b"abc", ()),
        (b"HTTP/1.1 500 No\r\nContent-Length: 4\r\n\r\nabc", True, b"abc",
         ("body cut short by the end of the connection",)),
        (b"HTTP/1.1 500 No\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nxyz\r\n", False, b"abc",
         ("broken chunks in the body",)),
    ],
)  # fmt: skip
def test_a_refusal_ends_with_its_body(wire: bytes, is_ended: bool, body: bytes, remarks: tuple[str]) -> None:
    """The body of a refusal ends by its framing, or with the connection; what is odd about it is said."""
    reply = refused(wire, is_ended=is_ended)
    assert (body, remarks) == (reply.body, reply.leniencies)


@pytest.mark.parametrize("framing", [b"", b"Content-Length: 99999999\r\n", b"Transfer-Encoding: chunked\r\n"])
def test_a_body_is_kept_up_to_its_limit(framing: bytes) -> None:
    """Of a longer body MAX_BODY_BYTES are kept, and nobody waits for the rest."""
    chunk = b"%x\r\n" % 10**9 if b"chunked" in framing else b""
    reply = refused(b"HTTP/1.1 403 No\r\n" + framing + b"\r\n" + chunk + b"b" * (MAX_BODY_BYTES + 1))
    assert b"b" * MAX_BODY_BYTES == reply.body


@pytest.mark.parametrize("size", [MAX_BODY_BYTES - 1, MAX_BODY_BYTES])
def test_what_is_wrong_behind_the_kept_body_is_not_told(size: int) -> None:
    """Whether bytes behind the limit came in the same read makes no difference."""
    wire = b"HTTP/1.1 403 No\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n" % size + b"b" * size + b"broken\r\n"
    remarks = ("broken chunks in the body",) if size < MAX_BODY_BYTES else ()
    assert remarks == refused(wire).leniencies
    assert outcome_of([wire]) == outcome_of([wire[:-8], wire[-8:]])


def test_framing_without_content_ends_at_a_limit() -> None:
    """Chunk extensions carry no content; they are read up to MAX_DRAIN_BYTES, and not stored."""
    line = b"1;" + b"e" * 4_000 + b"\r\nx\r\n"
    handshake = started()
    handshake.receive_data(b"HTTP/1.1 403 No\r\nTransfer-Encoding: chunked\r\n\r\n")
    was_done = []
    tracemalloc.start()
    for _ in range(MAX_DRAIN_BYTES // len(line) + 1):
        was_done.append(handshake.done)
        handshake.receive_data(line)
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (False, True) == (any(was_done), handshake.done)
    assert peak_bytes < 100_000
