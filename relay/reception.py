"""Reception: brings connections of TLS listeners, Unix sockets and load balancers to where HTTP begins.

What comes through a plain TCP listener never comes here.
"""

import asyncio
import socket
import ssl
import struct
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Protocol

from protocol.errors import HeadMalformed
from protocol.proxy_protocol import ProxyHeaderReader
from relay.access_networks import unmapped
from relay.addresses import address_of
from relay.connect_tunnel import named
from relay.dial import reset_socket
from relay.doorman import Doorman
from relay.listener import Bound
from relay.listening import accept_each, those_waiting
from relay.refusal import malformed
from relay.refused import Refused
from relay.stream import SocketStream, Stream, TlsStream
from relay.tls_listen import subject_of

if TYPE_CHECKING:
    from relay.takeover import RawServer

# Connections in the middle of their TLS handshake or PROXY header. A handshake holds some 50 KiB. Beyond so
# many the oldest has to go: those who mean it are done in an instant, and the silent must not keep them out.
MAX_ARRIVING = 1024
_READ_BYTES = 4096
# How HTTP/2 begins (RFC 9113 section 3.4), and no request of HTTP/1.
_HTTP2_BEGIN = b"PRI "
_PEER_CREDENTIALS = struct.Struct("3i")


class Http2(Protocol):
    """Who goes on with a connection that has chosen HTTP/2."""

    async def serve(self, stream: Stream, peer: str, certificate: str) -> None: ...

    def end_idle(self) -> None: ...


class Reception:
    """Accepts from `bound`, whose listeners stay the caller's to close.

    Args:
        server: goes on with HTTP/1.1; http2: with HTTP/2, where a listener offers it.
        limit_seconds: for PROXY header and TLS handshake together, and for the first bytes of HTTP/2.
    """

    def __init__(
        self, bound: Sequence[Bound], server: "RawServer", doorman: Doorman, limit_seconds: float,
        http2: Http2 | None = None,
    ) -> None:  # fmt: skip
        self._bound = bound
        self._server = server
        self._doorman = doorman
        self._limit_seconds = limit_seconds
        self._http2 = http2
        self._arriving: dict[asyncio.Task[None], None] = {}
        self._served: set[asyncio.Task[None]] = set()
        self._accepting = [
            asyncio.create_task(accept_each(one.sock, partial(self._greet, one))) for one in bound
        ]

    def __len__(self) -> int:
        """Connections that have not begun with HTTP/1 yet, and those of HTTP/2."""
        return len(self._arriving) + len(self._served)

    async def accept_no_more(self) -> None:
        """Leave the listeners alone."""
        for task in self._accepting:
            task.cancel()
        await asyncio.gather(*self._accepting, return_exceptions=True)
        self._accepting.clear()

    async def accept_the_last(self) -> None:
        """Take those who have come by now."""
        for one in self._bound:
            for sock in those_waiting(one.sock):
                await self._greet(one, sock)

    def end_idle(self) -> None:
        """Close what has not come to a request yet, and have HTTP/2 end when its last stream has."""
        for task in self._arriving:
            task.cancel()
        if self._http2 is not None:
            self._http2.end_idle()

    async def aclose(self) -> None:
        """Accept no more, and reset whatever has not come to its end."""
        await self.accept_no_more()
        tasks = [*self._arriving, *self._served]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _greet(self, bound: Bound, sock: socket.socket) -> None:
        """Never waits: others are to be accepted."""
        sock.setblocking(False)
        if len(self._arriving) >= MAX_ARRIVING:
            oldest = next(iter(self._arriving))
            del self._arriving[oldest]
            self._served.add(oldest)  # until it has ended
            oldest.cancel()
        task = asyncio.create_task(self._welcome(bound, SocketStream(sock), _peer_of(sock)))
        self._arriving[task] = None

        def ended(task: asyncio.Task[None]) -> None:
            self._arriving.pop(task, None)
            self._served.discard(task)
            if task.cancelled():
                # Before its first turn it could not do so itself
                reset_socket(sock)

        task.add_done_callback(ended)

    async def _welcome(self, bound: Bound, below: SocketStream, peer: str) -> None:
        try:
            async with asyncio.timeout(self._limit_seconds):
                peer = await self._true_peer(bound, below, peer)
                stream = await self._in_tls(bound, below)
            # Asked for now: a client that leaves takes it along
            certificate = _shown_by(stream)
            is_http2 = stream is not None and await self._begins_http2(stream)
        except (OSError, Refused) as error:
            refusal = error.refusal if isinstance(error, Refused) else malformed(_words(error, bound))
            self._doorman.turn_away(peer, refusal)
            await below.aclose()
        except BaseException:  # cancelled as well: nobody else has the socket yet
            below.reset()
            raise
        else:
            if stream is None:
                sock, early = below.detach()
                self._server.take(sock, early, peer)
            elif is_http2:
                await self._go_on_in_http2(stream, peer, certificate)
            else:
                self._server.take_stream(stream, peer, certificate)

    async def _true_peer(self, bound: Bound, below: SocketStream, peer: str) -> str:
        """Whose connection it is, by a PROXY header where there must be one. Raises: Refused, OSError."""
        if bound.proxy_from is None:
            return peer
        address = address_of(peer)
        # Whoever may open a Unix socket is trusted: its mode says who that is
        if address is not None and unmapped(address) not in bound.proxy_from:
            raise Refused(malformed("a PROXY header is not taken from this address"))
        reader = ProxyHeaderReader()
        try:
            while reader.header is None:
                reader.receive_data(await below.read(_READ_BYTES))
        except HeadMalformed as error:
            raise Refused(malformed(str(error))) from None
        below.unread(reader.leftover)
        return peer if reader.header.source is None else named(reader.header.source)

    async def _in_tls(self, bound: Bound, below: SocketStream) -> TlsStream | None:
        if bound.context is None:
            return None
        stream = TlsStream(below, bound.context, None)
        await stream.handshake()
        return stream

    async def _begins_http2(self, stream: TlsStream) -> bool:
        """Whether the client speaks HTTP/2. Raises: Refused.

        Go's HTTP client picks it by ALPN and sends CONNECT in HTTP/1.1 all the same (golang/go#26479), which
        works as long as it has not heard our own first words.
        """
        if stream.alpn != "h2" or self._http2 is None:
            return False
        data = b""
        try:
            async with asyncio.timeout(self._limit_seconds):
                while len(data) < len(_HTTP2_BEGIN) and _HTTP2_BEGIN.startswith(data):
                    if not (fresh := await stream.read()):
                        break
                    data += fresh
        except OSError as error:
            raise Refused(malformed("the client said nothing behind its TLS handshake")) from error
        stream.unread(data)
        return data.startswith(_HTTP2_BEGIN) or not data

    async def _go_on_in_http2(self, stream: TlsStream, peer: str, certificate: str) -> None:
        task = asyncio.current_task()
        assert task is not None
        assert self._http2 is not None
        self._arriving.pop(task, None)
        self._served.add(task)
        await self._http2.serve(stream, peer, certificate)


def _shown_by(stream: TlsStream | None) -> str:
    shown = stream.certificate if stream is not None else None
    return "" if shown is None else subject_of(shown)


def _peer_of(sock: socket.socket) -> str:
    """HOST:PORT, or unix:PID."""
    if sock.family == socket.AF_UNIX:
        try:
            found = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER_CREDENTIALS.size)
        except (OSError, AttributeError):
            return "unix:0"
        return f"unix:{_PEER_CREDENTIALS.unpack(found)[0]}"
    try:
        return named(sock.getpeername())
    except OSError:
        return "unknown"


def _words(error: OSError, bound: Bound) -> str:
    if isinstance(error, ssl.SSLError):
        return f"the TLS handshake failed: {error.reason or error}"
    what = "PROXY header" if bound.context is None else "TLS handshake"
    if isinstance(error, TimeoutError):
        return f"the {what} did not come in time"
    return f"the client left before its {what} was complete"
