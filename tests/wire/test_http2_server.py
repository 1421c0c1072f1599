"""HTTP/2 of the proxy's side, as bytes: what h2 as a client says and hears."""

import h2.config
import h2.connection
import h2.events
import h2.settings
import pytest

from protocol.errors import HeadMalformed
from protocol.http2_connection import MAX_STREAMS, WINDOW_BYTES
from protocol.http2_server import MAX_RESETS, Http2Server, StreamLost


class Pair:
    """A client and the proxy's side, without a network."""

    def __init__(self) -> None:
        # Headers are sent as they are, right or wrong
        settings = h2.config.H2Configuration(
            header_encoding="latin-1", validate_outbound_headers=False, normalize_outbound_headers=False
        )
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


POST = [(":method", "POST"), (":scheme", "http"), (":authority", "a"), (":path", "/")]


@pytest.mark.parametrize(
    "fields",
    [
        [(":method", "CONNECT"), (":authority", "a:1"), (":path", "/"), (":scheme", "https")],
        [(":method", "CONNECT"), (":authority", "a b:1")],
        [(":method", "CONNECT")],
        [(":method", "GET"), (":scheme", "https"), (":authority", "a"), (":path", "http://b/")],
        [(":method", "GET"), (":scheme", "http"), (":authority", "a"), (":path", "*")],
        [(":method", "GET"), (":scheme", "https"), (":authority", "a"), (":path", "a")],
        [*POST, ("X-Upper", "1")],
        [*POST, ("connection", "close")],
        [*POST, ("transfer-encoding", "chunked")],
        [*POST, ("te", "gzip")],
        [*POST, ("x", " 1")],
        [*POST, ("x", "1\t")],
        [*POST, ("x", "1\r\ny: 2")],
        [*POST, ("x y", "1")],
        [*POST, ("", "1")],
        [*POST, ("host", "b")],
        [*POST, ("host", "a:81")],
        [*POST, ("host", "b"), ("host", "a")],
        [*POST, ("x", "1"), (":path", "/")],
        [*POST, (":path", "/")],
        [*POST, (":other", "/")],
        [("x", "1"), *POST],
    ],
)
def test_a_malformed_request_is_an_error_of_its_stream(fields: list[tuple[str, str]]) -> None:
    """RFC 9113 sections 8.1.1 to 8.3: nobody is asked, and another tunnel in the connection goes on.

    CONNECT has :method and :authority, and nothing else (section 8.5). A :path that is none (section 8.3.1)
    would be, as a whole URI, a request to forward.
    """
    pair = Pair()
    other = open_tunnel(pair)
    number = pair.ask(*fields)
    events = pair.exchange()
    assert [other] == [stream for stream, _ in pair.asked]
    assert [(number, 1)] == [(event.stream_id, event.error_code) for event in resets(events)]
    still_works(pair, other)


@pytest.mark.parametrize("host", ["a", "A", "a:80", ""])
def test_host_may_say_the_same_in_other_letters(host: str) -> None:
    """Compared as names are, and with the port that goes without saying (RFC 9113 section 8.3.1)."""
    pair = Pair()
    pair.ask(*POST, ("host", host))
    pair.exchange()
    assert 1 == len(pair.asked)


def test_a_reply_keeps_its_bytes() -> None:
    """Whatever the encoding of a value is (RFC 9110 section 5.5)."""
    pair = Pair()
    number = pair.ask(*POST)
    pair.exchange()
    pair.server.write(number, b"HTTP/1.1 200 OK\r\nX: \xc3\xa9 \xe9\r\n\r\n")
    [reply] = [event for event in pair.exchange() if isinstance(event, h2.events.ResponseReceived)]
    assert "\xc3\xa9 \xe9" == dict(reply.headers)["x"]


def test_going_away_between_two_replies() -> None:
    """What was said before it comes before it: HPACK's table is of one order (RFC 9113 section 4.3)."""
    pair = Pair()
    first, second = pair.ask(*POST), pair.ask(*POST)
    pair.exchange()
    pair.server.write(first, b"HTTP/1.1 200 OK\r\nX: one\r\n\r\nbefore")
    pair.server.go_away()
    pair.server.write(second, b"HTTP/1.1 200 OK\r\nX: one\r\n\r\n")
    pair.server.write(first, b" and behind")
    sent = pair.server.data_to_send()
    assert sent.index(b"before") < sent.index(b"\0\0\x08\x07\0\0\0\0\0") < sent.index(b" and behind")


@pytest.mark.parametrize("is_ended", [True, False])
def test_what_came_before_the_loss_is_read_first(is_ended: bool) -> None:
    """As of a TCP connection that is reset: then the loss, or the end if that had come as well."""
    pair = Pair()
    number = open_tunnel(pair)
    pair.client.send_data(number, b"last words", end_stream=is_ended)
    if is_ended:
        pair.exchange()
        pair.server.receive_data(b"")
    else:
        pair.client.reset_stream(number, 8)
        pair.exchange()
    assert b"last" == pair.server.read(number, 4)
    assert b" words" == pair.server.read(number, 100)
    if is_ended:
        assert b"" == pair.server.read(number, 100)
    else:
        with pytest.raises(StreamLost):
            pair.server.read(number, 100)
    with pytest.raises(StreamLost):
        pair.server.write(number, b"answer")


def test_te_may_name_trailers() -> None:
    """The one thing that it may (RFC 9113 section 8.2.2)."""
    pair = Pair()
    pair.ask(*POST, ("te", "trailers"))
    pair.exchange()
    assert 1 == len(pair.asked)


def open_tunnel(pair: Pair) -> int:
    number = pair.connect()
    pair.exchange()
    pair.server.write(number, b"HTTP/1.1 200 OK\r\n\r\n")
    pair.exchange()
    return number


def still_works(pair: Pair, number: int) -> None:
    pair.client.send_data(number, b"up")
    pair.exchange()
    assert b"up" == pair.server.read(number, 10)
    pair.server.write(number, b"down")
    assert b"down" in [event.data for event in pair.exchange() if isinstance(event, h2.events.DataReceived)]
    assert not pair.server.is_over


def resets(events: list[h2.events.Event]) -> list[h2.events.StreamReset]:
    return [event for event in events if isinstance(event, h2.events.StreamReset)]


@pytest.mark.parametrize(
    ("length", "pieces", "is_whole"),
    [
        ("5", [], False),
        ("5", [b"hell"], False),
        ("5", [b"hello", b"!"], False),
        ("5", [b"hel", b"lo"], True),
        ("0", [], True),
        ("0", [b"x"], False),
    ],
)
def test_a_body_is_as_long_as_it_says(length: str, pieces: list[bytes], is_whole: bool) -> None:
    """RFC 9113 section 8.1.1: else the stream is in error, and nobody takes what came for the whole."""
    pair = Pair()
    other = open_tunnel(pair)
    pair.asked.clear()
    number = pair.client.get_next_available_stream_id()
    pair.client.send_headers(number, [*POST, ("content-length", length)], end_stream=not pieces)
    # h2 as a client would not say more, or less, either
    pair.client.streams[number]._expected_content_length = None
    for at, piece in enumerate(pieces, 1):
        pair.client.send_data(number, piece, end_stream=at == len(pieces))
    errors = [(event.stream_id, event.error_code) for event in resets(pair.exchange())]
    assert ([] if is_whole else [(number, 1)]) == errors
    if is_whole:
        assert b"".join(pieces) == b"".join(iter(lambda: pair.server.read(number, 100), b""))
    else:
        assert pair.server.is_lost(number)
        assert bool(pieces) == bool(pair.asked)
    still_works(pair, other)


def test_a_window_of_nothing_is_an_error_of_its_stream() -> None:
    """RFC 9113 section 6.9."""
    pair = Pair()
    other, number = open_tunnel(pair), open_tunnel(pair)
    pair.server.receive_data(b"\0\0\4\x08\0" + number.to_bytes(4) + bytes(4))
    assert [(number, 1)] == [(event.stream_id, event.error_code) for event in resets(pair.exchange())]
    assert pair.server.is_lost(number)
    still_works(pair, other)


def test_an_idle_stream_cannot_be_reset() -> None:
    """RFC 9113 section 6.4: an error of the connection."""
    pair = Pair()
    with pytest.raises(HeadMalformed, match="idle"):
        pair.server.receive_data(b"\0\0\4\x03\0" + (99).to_bytes(4) + bytes(4))
    assert pair.server.is_over


def test_a_stream_too_many_is_refused_alone() -> None:
    """RFC 9113 section 5.1.2: REFUSED_STREAM, so that it can be asked again; the others go on."""
    pair = Pair()
    numbers = [open_tunnel(pair) for _ in range(MAX_STREAMS)]
    pair.asked.clear()
    # The client's h2 keeps to the limit that it was told
    pair.client.remote_settings = h2.settings.Settings(client=False, initial_values={3: 1000})
    late = pair.connect()
    assert [(late, 7)] == [(event.stream_id, event.error_code) for event in resets(pair.exchange())]
    assert [] == pair.asked
    for number in (numbers[0], numbers[-1]):
        still_works(pair, number)
    pair.client.end_stream(numbers[0])
    pair.exchange()
    pair.server.end(numbers[0])
    pair.server.forget(numbers[0])
    pair.exchange()
    pair.connect()
    pair.exchange()
    assert 1 == len(pair.asked)


def test_a_client_that_goes_away_has_its_answers() -> None:
    """GOAWAY without an error is about new streams (RFC 9113 section 6.8); we say it as well."""
    pair = Pair()
    number = open_tunnel(pair)
    pair.server.receive_data(b"\0\0\x08\x07\0" + bytes(4) + bytes(8))
    assert pair.server.is_going_away
    pair.server.write(number, b"late")
    sent = pair.server.data_to_send()
    assert b"late" in sent
    assert b"\0\0\x08\x07\0\0\0\0\0" + number.to_bytes(4) + bytes(4) in sent
    pair.client.send_data(number, b"up")
    pair.server.receive_data(pair.client.data_to_send())
    assert b"up" == pair.server.read(number, 10)


def test_a_client_that_goes_away_with_an_error_is_gone() -> None:
    """It will not hear anything any more."""
    pair = Pair()
    number = open_tunnel(pair)
    pair.server.receive_data(b"\0\0\x08\x07\0" + bytes(4) + bytes(7) + b"\1")
    assert pair.server.is_over
    assert pair.server.is_lost(number)


def test_what_we_are_made_to_reset_is_counted() -> None:
    """As what the client takes back itself (CVE-2025-8671)."""
    pair = Pair()
    for _ in range(MAX_RESETS + 1):
        number = pair.connect()
        pair.exchange()
        pair.server.receive_data(b"\0\0\4\x08\0" + number.to_bytes(4) + bytes(4))
        pair.server.forget(number)
        events = pair.exchange()
    assert [11] == [event.error_code for event in events if isinstance(event, h2.events.ConnectionTerminated)]
    assert pair.server.is_over


def test_what_is_refused_is_counted() -> None:
    """Heads that are malformed, again and again, are no client's mistake."""
    pair = Pair()
    for _ in range(MAX_RESETS + 1):
        pair.ask((":method", "CONNECT"))
        events = pair.exchange()
    assert [11] == [event.error_code for event in events if isinstance(event, h2.events.ConnectionTerminated)]
    assert pair.server.is_over


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
