"""BodyReader: where a body ends, at every cut."""

import pytest

from protocol.reply import Reply
from protocol.reply_body import MAX_LINE_BYTES, BodyReader, connection_options
from tests.outcome import cut


def read(reply: Reply, pieces: list[bytes]) -> tuple[bytes, bool, bool, bytes]:
    reader = BodyReader(reply)
    content = b"".join([reader.receive_data(piece) for piece in pieces])
    return content, reader.is_complete, reader.is_broken, bytes(reader.unread)


def refusal(name: str = "Transfer-Encoding", value: str = "chunked") -> Reply:
    return Reply("1.1", 403, "", ((name, value),))


CHUNKS = [
    (b"0\r\n\r\n", b"", True),
    (b"3\r\nabc\r\n0\r\n\r\n", b"abc", True),
    (b"3\nabc\n0\n\n", b"abc", True),
    (b"00003;a=b;c=\"d\"\r\nabc\r\nA \r\n0123456789\r\n0;x\r\nT: t\r\nU: u\r\n\r\n", b"abc0123456789", True),
    (b"2\r\n\r\n\r\n1\r\n\n\r\n0\r\n\r\n", b"\r\n\n", True),
    (b"g\r\n", b"", False),
    (b"-1\r\n", b"", False),
    (b"0x1\r\n", b"", False),
    (b"\r\n", b"", False),
    (b" 1\r\nx\r\n", b"", False),
    (b"1 x\r\n", b"", False),
    (b"11111111111111111\r\n", b"", False),
    (b"3\r\nabcd\r\n", b"abc", False),
    (b"3\r\nabc3\r\n", b"abc", False),
]  # fmt: skip


@pytest.mark.parametrize(("wire", "content", "is_complete"), CHUNKS)
def test_chunks_end_in_the_same_place_at_every_cut(wire: bytes, content: bytes, is_complete: bool) -> None:
    """Chunks give their content and end at their last byte, or break; bytes behind them are not taken."""
    if is_complete:
        wire += b"behind"
    whole = read(refusal(), [wire])
    assert (content, is_complete, not is_complete) == whole[:3]
    assert (whole[3] == b"behind") == is_complete
    for place in range(len(wire) + 1):
        assert whole[:3] == read(refusal(), cut(wire, [place]))[:3]
    bytewise = read(refusal(), [wire[place : place + 1] for place in range(len(wire))])
    assert whole[:3] == bytewise[:3]
    if is_complete:
        assert whole == bytewise


@pytest.mark.parametrize(
    "form", [b"1;%s\r\nx\r\n0\r\n\r\n", b"0\r\nT:%s\r\n\r\n"], ids=["extension", "trailer"]
)
@pytest.mark.parametrize("step", [1, 5_000])
def test_a_line_has_a_limit_that_no_split_moves(form: bytes, step: int) -> None:
    """A line of MAX_LINE_BYTES is read, a longer one breaks the body, whether its end has come or not."""
    fill = MAX_LINE_BYTES - 3  # "1;" and CR, or "T:" and CR
    for size, is_broken in ((fill, False), (fill + 1, True)):
        wire = form % (b"e" * size)
        outcome = read(refusal(), [wire[place : place + step] for place in range(0, len(wire), step)])
        assert (not is_broken, is_broken) == outcome[1:3]


@pytest.mark.parametrize("place", range(9))
def test_a_length_is_counted_at_every_cut(place: int) -> None:
    """Content-Length bytes are content, what follows is not taken."""
    reply = refusal("Content-Length", "5")
    assert (b"abcde", True, False, b"fgh") == read(reply, cut(b"abcdefgh", [place]))


@pytest.mark.parametrize(
    "reply", [refusal("Content-Length", "0"), Reply("1.1", 304, "", (("Content-Length", "5"),))]
)
def test_no_body_is_complete_at_once(reply: Reply) -> None:
    """A length of 0, and 304, have nothing to wait for (RFC 9112 section 6.3)."""
    assert (b"", True, False, b"") == read(reply, [])


def test_without_framing_the_end_of_the_stream_completes() -> None:
    """Everything is content until the stream ends; with a framing its end completes nothing."""
    for reply, is_complete in (
        (Reply("1.1", 403, ""), True),
        (refusal("Content-Length", "5"), False),
        (refusal(), False),
    ):
        reader = BodyReader(reply)
        reader.receive_data(b"abc")
        assert not reader.is_complete
        reader.receive_eof()
        assert is_complete == reader.is_complete


def test_connection_options_are_a_set_of_lower_case_words() -> None:
    """Both fields count, each may hold a list, and white space and case do not matter."""
    headers = [("CONNECTION", "Keep-Alive , x"), ("proxy-connection", "CLOSE"), ("Via", "y")]
    assert {"keep-alive", "x", "close"} == connection_options(headers)
