"""What of an origin's reply head a client must not get as it came (RFC 9110 sections 5.5, 7.6.1 and 8.6)."""

from collections.abc import Iterator

import pytest

from tests.path.proxied import LOOPS, Proxied, asked, fields_of, read_exactly, read_head, settled, status_of

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n"
DATE = b"Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n"
# All but tab, which is none here, and those whose reply is refused as a whole
CONTROLS = bytes(byte for byte in (*range(0x20), 0x7F) if byte not in b"\0\t\n\v\f\r")


@pytest.fixture(params=LOOPS)
def proxied(request: pytest.FixtureRequest) -> Iterator[Proxied]:
    with settled(request.param) as running:
        yield running


@pytest.mark.parametrize("field", [b"Content-Length: 0", b"Content-Length: 5", b"Transfer-Encoding: chunked"])
def test_an_interim_reply_has_no_length(proxied: Proxied, field: bytes) -> None:
    """A client that believed it would take the final reply for a body; the other fields are passed on."""
    with asked(proxied) as (near, origin):
        origin.sendall(b"HTTP/1.1 103 Early Hints\r\n" + field + b"\r\nLink: <a>\r\n\r\n")
        fields = fields_of(head := read_head(near))
        assert (103, ["<a>"]) == (status_of(head), fields["link"])
        assert {"content-length", "transfer-encoding"}.isdisjoint(fields)
        origin.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        assert 200 == status_of(read_head(near))
        assert b"ok" == read_exactly(near, 2)


def test_control_characters_become_spaces(proxied: Proxied) -> None:
    """In values and in the reason: a terminal or a laxer parser behind us never sees them."""
    spaces = b" " * len(CONTROLS)
    with asked(proxied) as (near, origin):
        origin.sendall(
            b"HTTP/1.1 200 O"
            + CONTROLS
            + b"K\r\nX: a"
            + CONTROLS
            + b"b\tc\r\n"
            + DATE
            + b"Content-Length: 0\r\n\r\n"
        )
        assert (
            b"HTTP/1.1 200 O"
            + spaces
            + b"K\r\nX: a"
            + spaces
            + b"b\tc\r\n"
            + DATE
            + b"Content-Length: 0\r\nVia: 1.1 "
            + proxied.proxy.via.encode()
            + b"\r\n\r\n"
        ) == read_head(near)


def test_a_nominated_date_is_replaced(proxied: Proxied) -> None:
    """All that Connection names goes; a reply still has one date, the time it came."""
    with asked(proxied) as (near, origin):
        origin.sendall(
            OK + b"Connection: Date, Cache-Control\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n"
            b"Cache-Control: private\r\n\r\n"
        )
        fields = fields_of(read_head(near))
        assert 1 == len(fields["date"])
        assert "1994" not in fields["date"][0]
        assert "cache-control" not in fields


def test_what_a_reply_cannot_do_without_stays(proxied: Proxied) -> None:
    """A nominated length still frames the body, and nobody is taken out of Via."""
    with asked(proxied) as (near, origin):
        origin.sendall(
            b"HTTP/1.1 200 OK\r\nConnection: Content-Length, Via\r\nVia: 1.0 a\r\nContent-Length: 2\r\n\r\nok"
        )
        fields = fields_of(read_head(near))
        assert (["2"], ["1.0 a", f"1.1 {proxied.proxy.via}"]) == (fields["content-length"], fields["via"])
        assert b"ok" == read_exactly(near, 2)
