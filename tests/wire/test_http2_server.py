"""HTTP/2 of the proxy's side, as bytes: what h2 as a client says and hears."""

import h2.config
import h2.connection
import h2.events
import pytest

from protocol.errors import HeadMalformed
from protocol.http2_server import MAX_RESETS, MAX_STREAMS, WINDOW_BYTES, Http2Server, StreamLost


class Pair:
    """A client and the proxy's side, without a network."""

    def __init__(self) -> None:
        settings = h2.config.H2Configuration(header_encoding="latin-1", validate_outbound_headers=False)
        self.client = h2.connection.H2Connection(settings)
        self.client.initiate_connection()
        self.server = Http2Server()
        self.asked: list[tuple[int, bytes]] = []
        self.exchange()

    def exchange(self) -> list[h2.events.Event]:
        """Carry bytes both ways until there are no more; what the client hears."""
        events: list[h2.events.Event] = []
        while True:
            up, down = self.client.data_to_send(), self.server.data_to_send()
            if not up and not down:
                return events
            if up:
                self.asked += self.server.receive_data(up)
            if down:
                events += self.client.receive_data(down)

    def ask(self, *fields: tuple[str, str]) -> int:
        number = self.client.get_next_available_stream_id()
        self.client.send_headers(number, list(fields))
        return number

    def connect(self, *fields: tuple[str, str]) -> int:
        return self.ask((":method", "CONNECT"), (":authority", "far.example:1"), *fields)


def test_a_tunnel() -> None:
    """The head is one of HTTP/1.1; a 200 is :status 200 without a length; data and ends pass."""
    pair = Pair()
    number = pair.connect(("user-agent", "x/1"), ("proxy-authorization", "Basic eA=="))
    pair.exchange()
    head = b"CONNECT far.example:1 HTTP/1.1\r\nHost: far.example:1\r\nuser-agent: x/1\r\n"
    assert [(number, head + b"proxy-authorization: Basic eA==\r\n\r\n")] == pair.asked
    pair.server.write(number, b"HTTP/1.1 103 Early\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\nX: y\r\n\r")
    pair.server.write(number, b"\nfirst")
    events = pair.exchange()
    assert h2.events.InformationalResponseReceived in map(type, events)
    fields = next(event.headers for event in events if isinstance(event, h2.events.ResponseReceived))
    assert [(":status", "200"), ("x", "y")] == list(fields)
    assert b"first" == next(event.data for event in events if isinstance(event, h2.events.DataReceived))
    assert pair.server.read(number, 100) is None
    pair.client.send_data(number, b"up", end_stream=True)
    pair.exchange()
    assert [b"u", b"p", b""] == [pair.server.read(number, 1) for _ in range(3)]
    pair.server.end(number)
    assert h2.events.StreamEnded in map(type, pair.exchange())
    pair.server.forget(number)
    assert 0 == pair.server.open_streams


@pytest.mark.parametrize(
    ("method", "scheme", "path", "line"),
    [
        ("GET", "http", "/x?y", b"GET http://a:8/x?y HTTP/1.1"),
        ("OPTIONS", "http", "*", b"OPTIONS http://a:8 HTTP/1.1"),
        ("GET", "https", "/proxy.pac", b"GET /proxy.pac HTTP/1.1"),
        ("GET", "ftp", "/", b"GET ftp://a:8/ HTTP/1.1"),
    ],
)
def test_a_request_is_one_of_http_1_1(method: str, scheme: str, path: str, line: bytes) -> None:
    """The URI is put together again; https is for ourselves. A cookie in pieces becomes one field."""
    pair = Pair()
    uri = ((":method", method), (":scheme", scheme), (":authority", "a:8"), (":path", path))
    number = pair.ask(*uri, ("cookie", "a=1"), ("te", "trailers"), ("cookie", "b=2"))
    pair.exchange()
    head = line + b"\r\nHost: a:8\r\nte: trailers\r\ncookie: a=1; b=2\r\n\r\n"
    assert [(number, head)] == pair.asked


def test_memory_is_bounded() -> None:
    """What is not read fills the window of its stream and no more; what finds no room waits."""
    pair = Pair()
    number = pair.connect()
    pair.exchange()
    sent = 0
    while room := pair.client.local_flow_control_window(number):
        pair.client.send_data(number, b"x" * min(room, 16_384))
        sent += min(room, 16_384)
        pair.exchange()
    assert WINDOW_BYTES == sent
    pair.server.write(number, b"HTTP/1.1 200 OK\r\n\r\n" + b"y" * 100_000)
    pair.exchange()
    assert pair.server.is_unsent(number)
    pair.client.increment_flow_control_window(50_000, number)
    pair.client.increment_flow_control_window(50_000)
    pair.exchange()
    assert not pair.server.is_unsent(number)


@pytest.mark.parametrize(
    "fields",
    [
        [(":method", "CONNECT"), (":authority", "a:1"), (":path", "/"), (":scheme", "https")],
        [(":method", "CONNECT"), (":authority", "a b:1")],
        [(":method", "CONNECT")],
        [(":method", "GET"), (":scheme", "https"), (":authority", "a"), (":path", "http://b/")],
        [(":method", "GET"), (":scheme", "http"), (":authority", "a"), (":path", "*")],
        [(":method", "GET"), (":scheme", "https"), (":authority", "a"), (":path", "a")],
    ],
)
def test_a_malformed_request_is_an_error(fields: list[tuple[str, str]]) -> None:
    """RFC 9113 section 8.5: CONNECT has :method and :authority, and nothing else; nobody is asked.

    Nor by a :path that is none (section 8.3.1): as a whole URI it would be a request to forward.
    """
    pair = Pair()
    pair.ask(*fields)
    try:
        events = pair.exchange()
    except HeadMalformed:
        events = pair.client.receive_data(pair.server.data_to_send())
    assert [] == pair.asked
    errors = [event.error_code for event in events if hasattr(event, "error_code")]
    assert [1] == errors


@pytest.mark.parametrize("reply", [b"SSH-2.0\r\n\r\n", b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n", b"x" * 70_000])
def test_a_reply_that_is_none_resets_the_stream(reply: bytes) -> None:
    """A fault may say anything; the client sees a broken stream, and the connection goes on."""
    pair = Pair()
    number = pair.connect()
    pair.exchange()
    with pytest.raises(StreamLost):
        pair.server.write(number, reply)
    assert h2.events.StreamReset in map(type, pair.exchange())
    assert not pair.server.is_over


def test_a_reply_to_head_has_no_content() -> None:
    """Its fields tell of a body that does not come (RFC 9110 section 9.3.2)."""
    pair = Pair()
    number = pair.ask((":method", "HEAD"), (":scheme", "https"), (":authority", "a"), (":path", "/"))
    pair.exchange()
    pair.server.write(number, b"HTTP/1.1 501 No\r\nContent-Length: 4\r\n\r\nbo")
    pair.server.write(number, b"dy")
    pair.server.end(number)
    events = pair.exchange()
    assert [b""] == [event.data for event in events if isinstance(event, h2.events.DataReceived)]
    assert isinstance(events[-1], h2.events.StreamEnded)


def test_a_persona_may_answer_in_the_version_it_was_asked_in() -> None:
    """The version of a reply's head says nothing in HTTP/2."""
    pair = Pair()
    number = pair.connect()
    pair.exchange()
    pair.server.write(number, b"HTTP/2.0 200 OK\r\n\r\n")
    replies = [event for event in pair.exchange() if isinstance(event, h2.events.ResponseReceived)]
    assert [[(":status", "200")]] == [list(reply.headers) for reply in replies]


def test_trailers_are_no_end_of_a_tunnel() -> None:
    """Only DATA comes in one (RFC 9113 section 8.5): the stream breaks, what was sent may not look whole."""
    pair = Pair()
    number = pair.connect()
    pair.exchange()
    pair.server.write(number, b"HTTP/1.1 200 OK\r\n\r\n")
    pair.exchange()
    pair.client.send_headers(number, [("x", "y")], end_stream=True)
    assert [1] == [event.error_code for event in pair.exchange() if isinstance(event, h2.events.StreamReset)]
    with pytest.raises(StreamLost):
        pair.server.read(number, 1)
    assert not pair.server.is_over


def test_streams_are_limited() -> None:
    """The client is told how many, and one that takes all back again and again is sent away."""
    pair = Pair()
    assert MAX_STREAMS == pair.client.remote_settings.max_concurrent_streams
    codes = []
    for _ in range(MAX_RESETS + 1):
        pair.client.reset_stream(pair.connect(), 8)
        codes += [
            event.error_code for event in pair.exchange() if isinstance(event, h2.events.ConnectionTerminated)
        ]
        for number, _head in pair.asked:
            pair.server.forget(number)
        pair.asked.clear()
    assert [11] == codes
    assert pair.server.is_over


def test_many_tunnels_may_be_ended_by_a_reset() -> None:
    """Chromium and curl end each tunnel so; the connection, and the other tunnels in it, go on."""
    pair = Pair()
    for _ in range(MAX_RESETS + 1):
        number = pair.connect()
        pair.exchange()
        pair.server.write(number, b"HTTP/1.1 200 OK\r\n\r\n")
        pair.exchange()
        pair.client.reset_stream(number, 8)
        pair.exchange()
        pair.server.forget(number)
    assert not pair.server.is_over


def test_what_is_no_http2() -> None:
    """Is told at once."""
    with pytest.raises(HeadMalformed, match="no HTTP/2"):
        Http2Server().receive_data(b"CONNECT far.example:1 HTTP/1.1\r\n\r\n")


def test_going_away() -> None:
    """GOAWAY once; new streams are refused so that they can be asked elsewhere, old ones go on."""
    pair = Pair()
    number = pair.connect()
    pair.exchange()
    late = pair.connect()
    asked = pair.client.data_to_send()
    pair.server.go_away()
    pair.server.go_away()
    assert [] == pair.server.receive_data(asked)
    pair.server.write(number, b"HTTP/1.1 200 OK\r\n\r\nlate")
    sent = pair.server.data_to_send()
    assert 1 == sent.count(b"\x00\x00\x08\x07\x00\x00\x00\x00\x00")
    assert b"late" in sent
    assert b"\x00\x00\x04\x03\x00" + late.to_bytes(4) + (7).to_bytes(4) in sent
