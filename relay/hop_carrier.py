"""What carries a CONNECT exchange to an HTTP proxy: the connection itself, or a stream of HTTP/2 in it."""

from collections.abc import Generator
from typing import Any, Protocol

from relay.failure import Failure, PeerMisbehaved, Reason, Stage
from relay.moves import Command, Receive, Send, StartHttp2, Walk

Received = Generator[Command, Any, bytes | None]


class Carrier(Protocol):
    """Takes and gives heads as HTTP/1.1 has them."""

    def send(self, request: bytes) -> Walk:
        """Send one request head."""

    def receive(self, grace_seconds: float | None = None) -> Received:
        """What came next of a reply, b"" at the end; None when the grace time ran out first."""

    def start_tunnel(self) -> Walk:
        """Go on inside the tunnel that was opened."""


class PlainCarrier:
    """The connection itself."""

    def send(self, request: bytes) -> Walk:
        yield Send(request)

    def receive(self, grace_seconds: float | None = None) -> Received:
        data: bytes | None = yield Receive(grace_seconds)
        return data

    def start_tunnel(self) -> Walk:
        yield from ()


class Http2Carrier:
    """One HTTP/2 connection; each request is a stream of its own (RFC 9113 section 8.5)."""

    def __init__(self, peer: str, index: int) -> None:
        from protocol.http2 import Http2Tunnel

        self._tunnel = Http2Tunnel()
        self._peer = peer
        self._index = index

    def send(self, request: bytes) -> Walk:
        self._tunnel.request(request)
        yield Send(self._tunnel.data_to_send())

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
