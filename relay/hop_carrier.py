"""What carries a CONNECT exchange to an HTTP proxy: the connection itself, or a stream of HTTP/2 in it."""

from collections.abc import Generator
from typing import Any, Final, Protocol

from relay.failure import Failure, PeerMisbehaved, Reason, Stage
from relay.moves import Command, Receive, Send, StartHttp2, Unread, Walk

# What a peer said before it went is here already, or never comes.
LAST_WORDS_SECONDS = 0.5
Received = Generator[Command, Any, bytes | None]


class Carrier(Protocol):
    """Takes and gives heads as HTTP/1.1 has them.

    Attributes: bound_obstacle: why a login bound to its connection cannot go this way; None: it can.
    """

    @property
    def bound_obstacle(self) -> str | None: ...

    def send(self, request: bytes) -> Walk:
        """Send one request head."""

    def receive(self, grace_seconds: float | None = None) -> Received:
        """What came next of a reply, b"" at the end; None when the grace time ran out first."""

    def start_tunnel(self) -> Walk:
        """Go on inside the tunnel that was opened."""


def _send(data: bytes) -> Walk:
    """Send it; to a peer that is gone already, only if it has said something before.

    Raises: OSError, ssl.SSLError for an alert.
    """
    try:
        yield Send(data)
    except ConnectionError:
        # The words that it left behind say why, the reset does not: an alert for want of a certificate
        # reaches us behind the handshake (RFC 8446 section 4.4.2.4), and some refuse without a request
        try:
            said = yield Receive(LAST_WORDS_SECONDS)
        except ConnectionError:
            said = None
        if not said:
            raise
        yield Unread(said)


class PlainCarrier:
    """The connection itself."""

    bound_obstacle: Final = None

    def send(self, request: bytes) -> Walk:
        yield from _send(request)

    def receive(self, grace_seconds: float | None = None) -> Received:
        data: bytes | None = yield Receive(grace_seconds)
        return data

    def start_tunnel(self) -> Walk:
        yield from ()


class Http2Carrier:
    """One HTTP/2 connection; each request is a stream of its own (RFC 9113 section 8.5)."""

    # Requests of many streams share the connection, so it says nothing of who sends one
    bound_obstacle: Final = "it logs in a connection, which HTTP/2 cannot do: leave --proxy-http2 out"

    def __init__(self, peer: str, index: int) -> None:
        from protocol.http2 import Http2Tunnel

        self._tunnel = Http2Tunnel()
        self._peer = peer
        self._index = index

    def send(self, request: bytes) -> Walk:
        self._tunnel.request(request)
        yield from _send(self._tunnel.data_to_send())

    def receive(self, grace_seconds: float | None = None) -> Received:
        while not (reply := self._tunnel.reply_bytes()):
            if self._tunnel.is_ended:
                if (failed := self._tunnel.failed) is not None:
                    detail = f"instead of answering CONNECT: {failed}"
                    raise PeerMisbehaved(
                        Failure(Stage.PROXY, Reason.CLOSED, self._peer, detail, self._index)
                    )
                return b""
            data = yield Receive(grace_seconds)
            if data is None:
                return None
            self._tunnel.receive_data(data)
            if answer := self._tunnel.data_to_send():
                yield Send(answer)
        return reply

    def start_tunnel(self) -> Walk:
        yield StartHttp2(self._tunnel)
