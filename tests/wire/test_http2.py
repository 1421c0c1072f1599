"""CONNECT over HTTP/2 against h2's own server side: logins, early bytes, windows, ends."""

from collections import deque

import h2.config
import h2.connection
import h2.events
import pytest

from protocol.connect import ConnectHandshake
from protocol.errors import HeadMalformed
from protocol.http2 import WINDOW_BYTES, Http2Tunnel, StreamReset
from protocol.schemes.basic import Basic

HEAD = b"CONNECT dest.example:5000 HTTP/1.1\r\nHost: dest.example:5000\r\nUser-Agent: test\r\n\r\n"


class Peer:
    """A proxy's side of one connection."""

    def __init__(self) -> None:
        self.connection = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
        self.connection.initiate_connection()
        self.requests: list[tuple[int, list[tuple[bytes, bytes]]]] = []
        self.data = b""
        self.is_ended = False

    def exchange(self, tunnel: Http2Tunnel) -> None:
        """Carry bytes both ways until nobody has any more."""
        while (up := tunnel.data_to_send()) or (down := self.connection.data_to_send()):
            if up:
                for event in self.connection.receive_data(up):
                    self.take(event)
            else:
                tunnel.receive_data(down)

    def take(self, event: h2.events.Event) -> None:
        if isinstance(event, h2.events.RequestReceived):
            self.requests.append((event.stream_id or 0, list(event.headers or [])))  # type: ignore[arg-type]
        elif isinstance(event, h2.events.DataReceived):
            self.data += event.data or b""
        elif isinstance(event, h2.events.StreamEnded):
            self.is_ended = True


@pytest.fixture
def peer() -> Peer:
    return Peer()


@pytest.fixture
def tunnel(peer: Peer) -> Http2Tunnel:
    """A tunnel whose request has arrived."""
    tunnel = Http2Tunnel()
    tunnel.request(HEAD)
    peer.exchange(tunnel)
    return tunnel


@pytest.fixture
def opened(peer: Peer, tunnel: Http2Tunnel) -> Http2Tunnel:
    """A tunnel that is open."""
    peer.connection.send_headers(1, [(":status", "200")])
    peer.exchange(tunnel)
    assert b"HTTP/1.1 200 \r\n\r\n" == tunnel.reply_bytes()
    return tunnel


def test_the_request(peer: Peer, tunnel: Http2Tunnel) -> None:
    """:method and :authority only, no :scheme and :path (RFC 9113 section 8.5); Host is left out."""
    pseudo = [(b":method", b"CONNECT"), (b":authority", b"dest.example:5000")]
    assert [(1, [*pseudo, (b"user-agent", b"test")])] == peer.requests
    assert (False, b"") == (tunnel.is_open, tunnel.reply_bytes())


@pytest.mark.parametrize("code", [0, 8])
def test_a_login_on_a_second_stream(peer: Peer, code: int) -> None:
    """A 407 with a body, then 200: the handshake sees both as HTTP/1.1, and early bytes are the tunnel's."""
    tunnel = Http2Tunnel()
    shake = ConnectHandshake("dest.example:5000", schemes=(Basic("bob", "secret"),))
    tunnel.request(shake.data_to_send())
    peer.exchange(tunnel)
    peer.connection.send_headers(1, [(":status", "407"), ("proxy-authenticate", 'Basic realm="x"')])
    peer.connection.send_data(1, b"who are you?", end_stream=True)
    peer.connection.reset_stream(1, code)
    peer.exchange(tunnel)
    shake.receive_data(tunnel.reply_bytes())
    assert not shake.must_redial
    tunnel.request(shake.data_to_send())
    peer.exchange(tunnel)
    stream, headers = peer.requests[-1]
    assert (3, b"Basic Ym9iOnNlY3JldA==") == (stream, dict(headers)[b"proxy-authorization"])
    peer.connection.send_headers(3, [(":status", "200")])
    peer.connection.send_data(3, b"early")
    peer.exchange(tunnel)
    shake.receive_data(tunnel.reply_bytes())
    assert shake.reply is not None
    assert (True, b"early", None) == (shake.reply.is_success, tunnel.read(), tunnel.read())


def test_a_refusal_with_its_body(peer: Peer, tunnel: Http2Tunnel) -> None:
    """The body of a refusal is no tunnel's data."""
    shake = ConnectHandshake("dest.example:5000")
    shake.data_to_send()
    peer.connection.send_headers(1, [(":status", "403"), ("content-length", "2"), ("x-squid-error", "E 0")])
    peer.connection.send_data(1, b"no", end_stream=True)
    peer.exchange(tunnel)
    shake.receive_data(tunnel.reply_bytes())
    assert shake.reply is not None
    assert (403, b"no", "E 0") == (shake.reply.status, shake.reply.body, shake.reply.header("X-Squid-Error"))
    assert not tunnel.is_open


def test_the_window_bounds_what_is_sent(peer: Peer, opened: Http2Tunnel) -> None:
    """A proxy that does not read gives no room; when it reads, there is some again."""
    data = b"x" * 100_000
    assert 65_535 == opened.write(data)
    peer.exchange(opened)
    assert (0, False) == (opened.write(b"y"), opened.has_room)
    peer.connection.acknowledge_received_data(65_535, 1)
    peer.exchange(opened)
    assert opened.has_room
    assert len(data) - 65_535 == opened.write(data[65_535:])
    peer.exchange(opened)
    assert data == peer.data


def test_the_window_bounds_what_is_held(peer: Peer, opened: Http2Tunnel) -> None:
    """What is not read is not acknowledged: never more than the window is held here."""
    sent = 0
    while (room := peer.connection.local_flow_control_window(1)) > 0:
        size = min(room, peer.connection.max_outbound_frame_size)
        peer.connection.send_data(1, b"z" * size)
        sent += size
        peer.exchange(opened)
    assert WINDOW_BYTES == sent
    assert sent == len(opened.read() or b"")
    peer.exchange(opened)
    assert peer.connection.local_flow_control_window(1) > 0


def test_ends(peer: Peer, opened: Http2Tunnel) -> None:
    """END_STREAM is a FIN in both directions, and what came before it is read first."""
    opened.end()
    peer.exchange(opened)
    assert peer.is_ended
    peer.connection.send_data(1, b"last word", end_stream=True)
    peer.exchange(opened)
    assert [b"last word", b""] == [opened.read(), opened.read()]


def test_a_reset(peer: Peer, opened: Http2Tunnel) -> None:
    """RST_STREAM is no clean end, and its code is named."""
    peer.connection.send_data(1, b"some")
    peer.connection.reset_stream(1, h2.errors.ErrorCodes.CONNECT_ERROR)
    peer.exchange(opened)
    assert b"some" == opened.read()
    for use in (opened.read, lambda: opened.write(b"x")):
        with pytest.raises(StreamReset, match="RST_STREAM: CONNECT_ERROR"):
            use()


def test_an_end_of_the_connection(peer: Peer, opened: Http2Tunnel) -> None:
    """GOAWAY with an error is named; without one it is an end."""
    peer.connection.close_connection(h2.errors.ErrorCodes.ENHANCE_YOUR_CALM)
    peer.exchange(opened)
    with pytest.raises(StreamReset, match="GOAWAY: ENHANCE_YOUR_CALM"):
        opened.read()


@pytest.mark.parametrize("size", [1, 9, 100])
def test_a_peer_that_speaks_http_1(size: int) -> None:
    """What chose h2 and answers otherwise is named."""
    tunnel = Http2Tunnel()
    tunnel.request(HEAD)
    tunnel.data_to_send()
    data = b"HTTP/1.1 400 Bad Request\r\n\r\n".ljust(100, b".")
    pieces = [data[start : start + size] for start in range(0, len(data), size)]
    with pytest.raises(HeadMalformed, match="rules of HTTP/2"):
        deque(map(tunnel.receive_data, pieces), maxlen=0)
