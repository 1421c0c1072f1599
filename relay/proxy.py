"""ConnectProxy: an HTTP proxy on aiohttp that stands in for a corporate one."""

import asyncio
import contextlib
import ipaddress
import secrets
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self

from aiohttp import web

from relay.absolute_form import forward
from relay.access import Access
from relay.authority import TargetMalformed, read_authority
from relay.dial import reset_socket
from relay.failure import RelayError, Stage
from relay.listening import bound_endpoint, listen_on
from relay.pump import Counters, pump
from relay.refusal import Refusal, denied, malformed, unreachable
from relay.refused import Refused, linger_close
from relay.route import Endpoint
from relay.stream import SocketStream
from relay.takeover import RawServer, Taken, require_c_parser, take_over
from relay.trace import Trace
from relay.tunnel import connect, look_up

PROXY_PORT = 3128
CONNECT_TIMEOUT_SECONDS = 10.0
HEAD_TIMEOUT_SECONDS = 30.0
# squid's limit too; a Kerberos token of a user in many groups takes tens of KiB.
MAX_FIELD_BYTES = 65_536
MAX_FIELDS = 256
ESTABLISHED = b"HTTP/1.1 200 Connection established\r\n\r\n"
Log = Callable[[dict[str, Any]], None]


@dataclass(eq=False)
class Tunnel:
    """One open tunnel, or one that is being dialled."""

    client: str
    target: Endpoint
    began_seconds: float
    counters: Counters = field(default_factory=Counters)
    task: asyncio.Task[None] | None = None


class ConnectProxy:
    """CONNECT (RFC 9110 section 9.3.6) and absolute-form forwarding, with an access log.

    Args:
        listen: where to listen; port 0 takes a free one, see `.endpoints`.
        access: what may be reached.
        connect_timeout_seconds: for name lookup and TCP connect to a target together.
        head_timeout_seconds: a client that has not sent a whole head after so long is cut off.
        via: our name in Via fields (RFC 9110 section 7.6.3); must be unique among proxies in a row.
        log: called with one dict per tunnel or request, when it has ended.
    """

    def __init__(
        self,
        listen: Sequence[Endpoint] = (Endpoint("127.0.0.1", PROXY_PORT),),
        *,
        access: Access | None = None,
        connect_timeout_seconds: float = CONNECT_TIMEOUT_SECONDS,
        head_timeout_seconds: float = HEAD_TIMEOUT_SECONDS,
        via: str | None = None,
        log: Log | None = None,
    ) -> None:
        self.tunnels: set[Tunnel] = set()
        self.access = access or Access()
        self.via = via or f"relay-{secrets.token_hex(4)}"
        self._listen = tuple(listen)
        self._connect_timeout_seconds = connect_timeout_seconds
        self._head_timeout_seconds = head_timeout_seconds
        self._log = log
        self._servers: list[asyncio.Server] = []
        self._server: RawServer | None = None

    @property
    def endpoints(self) -> list[Endpoint]:
        """Where it really listens."""
        return [bound_endpoint(sock) for server in self._servers for sock in server.sockets]

    @property
    def endpoint(self) -> Endpoint:
        """The first of `endpoints`."""
        return self.endpoints[0]

    @property
    def connections(self) -> int:
        """Connections that aiohttp still holds; a tunnel is not among them."""
        return len(self._server.connections) if self._server else 0

    async def start(self) -> None:
        """Bind and listen. Raises: OSError that names the address; ParserMissing."""
        require_c_parser()
        loop = asyncio.get_running_loop()
        self._server = RawServer(
            self._handle,
            self._on_error,
            keepalive_timeout=self._head_timeout_seconds,
            max_line_size=MAX_FIELD_BYTES,
            max_field_size=MAX_FIELD_BYTES,
            max_headers=MAX_FIELDS,
            auto_decompress=False,
            access_log=None,
        )
        for sock in listen_on(self._listen):
            self._servers.append(await loop.create_server(self._server, sock=sock))

    async def aclose(self) -> None:
        """Stop at once: listeners first, then every tunnel is reset and every connection cut."""
        for server in self._servers:
            server.close()
        tasks = [tunnel.task for tunnel in self.tunnels if tunnel.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._server is not None:
            for connection in self._server.connections:
                if connection.transport is not None:
                    connection.transport.abort()
            await self._server.shutdown(0)
        self._servers.clear()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def dial(self, target: Endpoint) -> SocketStream:
        """Look up, check and connect: the address that the policy saw is the one that is dialled.

        Raises: RelayError, Refused.
        """
        trace = Trace(self._connect_timeout_seconds)
        with trace.step(Stage.RESOLVE, target.host):
            async with asyncio.timeout(trace.remaining_seconds()):
                addresses = await look_up(target.host, target.port)
        for address in addresses:
            if reason := self.access.refuses_address(str(address[1][0])):
                raise Refused(Refusal(403, "destination_ip_prohibited", reason))
            if self._is_own_listener(str(address[1][0]), target.port):
                raise Refused(Refusal(502, "proxy_loop_detected", f"{target} is this proxy itself"))
        with trace.step(Stage.CONNECT, str(target)):
            for left in range(len(addresses), 0, -1):
                limit_seconds = trace.remaining_seconds() / left
                try:
                    return await connect(addresses[-left], limit_seconds)
                except OSError:
                    if left == 1:
                        raise
            raise OSError("the name has no address")

    def _is_own_listener(self, host: str, port: int) -> bool:
        for own in self.endpoints:
            if own.port == port and (own.host == host or (own.host in ("0.0.0.0", "::") and _is_here(host))):  # noqa: S104
                return True
        return False

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        began_seconds = time.monotonic()
        try:
            if request.version[0] != 1:
                raise Refused(Refusal(505, "http_request_error", "only HTTP/1.0 and HTTP/1.1 are spoken here"))
            _check_host_field(request)
            if request.method == "CONNECT":
                target = self._connect_target(request)
                return Taken(lambda request: self._begin_tunnel(request, target, began_seconds))
            done = await forward(request, self.dial, self.access, self.via)
        except Refused as error:
            return self._refusing(request, error.refusal, began_seconds)
        self._tell(
            began_seconds, client=_client(request), method=request.method, target=request.raw_path,
            status=done.status, bytes_up=done.bytes_up, bytes_down=done.bytes_down, ended=done.ended,
        )  # fmt: skip
        return Taken(keep_alive=done.keep_alive)

    def _connect_target(self, request: web.BaseRequest) -> Endpoint:
        if request.headers.get("Transfer-Encoding") or request.headers.get("Content-Length", "0").strip() != "0":
            raise Refused(malformed("a CONNECT request has no body"))
        try:
            target = read_authority(request.raw_path)
        except TargetMalformed as error:
            raise Refused(malformed(str(error))) from None
        if reason := self.access.refuses(target):
            raise Refused(denied(reason))
        return target

    async def _begin_tunnel(self, request: web.BaseRequest, target: Endpoint, began_seconds: float) -> None:
        tunnel = Tunnel(_client(request), target, began_seconds)
        sock, early = await take_over(request)
        # A task of its own, so that nothing of aiohttp stays alive as long as the tunnel
        tunnel.task = asyncio.create_task(self._tunnel(tunnel, sock, early))
        self.tunnels.add(tunnel)
        tunnel.task.add_done_callback(lambda _: self.tunnels.discard(tunnel))

    async def _tunnel(self, tunnel: Tunnel, sock: socket.socket, early: bytes) -> None:
        status, ended, refusal = 200, "client-reset", None
        try:
            try:
                target = await self.dial(tunnel.target)
            except RelayError as error:
                refusal = unreachable(error)
            except Refused as error:
                refusal = error.refusal
            if refusal is not None:
                status, ended = refusal.status, "refused"
                await linger_close(sock, refusal.reply())
                return
            client = SocketStream(sock, early)
            try:
                await client.write(ESTABLISHED)
            except OSError:
                target.reset()
                return
            ended = str(await pump(client, target, tunnel.counters))
        except asyncio.CancelledError:
            ended = "stopped"
        finally:
            if sock.fileno() >= 0:
                reset_socket(sock)
            self._tell(
                tunnel.began_seconds, client=tunnel.client, method="CONNECT", target=str(tunnel.target),
                status=status, bytes_up=tunnel.counters.up, bytes_down=tunnel.counters.down, ended=ended,
                **({"error": refusal.error, "words": refusal.words} if refusal else {}),
            )  # fmt: skip

    def _on_error(self, request: web.BaseRequest, status: int, kind: str) -> web.StreamResponse:
        """aiohttp could not read a head, or a handler failed."""
        if status >= 500:
            refusal = Refusal(500, "proxy_internal_error", "the proxy failed; its log has the reason")
        elif kind == "LineTooLong":
            refusal = Refusal(431, "http_request_error", "the request head is too large")
        else:
            refusal = malformed("this is no well-formed HTTP/1 request head")
        return self._refusing(request, refusal, time.monotonic())

    def _refusing(self, request: web.BaseRequest, refusal: Refusal, began_seconds: float) -> web.StreamResponse:
        async def answer(request: web.BaseRequest) -> None:
            client = _client(request)
            sock, _ = await take_over(request)
            reply = refusal.reply(with_body=request.method != "HEAD")
            closing = Tunnel(client, Endpoint("", 0), began_seconds)
            closing.task = asyncio.create_task(linger_close(sock, reply))
            self.tunnels.add(closing)
            closing.task.add_done_callback(lambda _: self.tunnels.discard(closing))
            self._tell(
                began_seconds, client=client, method=request.method, target=request.raw_path[:1024],
                status=refusal.status, bytes_up=0, bytes_down=len(reply), ended="refused",
                error=refusal.error, words=refusal.words,
            )  # fmt: skip

        return Taken(answer)

    def _tell(self, began_seconds: float, **entry: Any) -> None:
        if self._log is not None:
            seconds = round(time.monotonic() - began_seconds, 6)
            self._log({"time": datetime.now(UTC).isoformat(timespec="milliseconds"), **entry, "seconds": seconds})


def _client(request: web.BaseRequest) -> str:
    peer = request.transport.get_extra_info("peername") if request.transport else None
    return str(Endpoint(*peer[:2])) if peer else "unknown"


def _check_host_field(request: web.BaseRequest) -> None:
    """RFC 9112 section 3.2: a Host field that is no host[:port] is refused; which one it names is ignored."""
    value = request.headers.get("Host", "").strip()
    if value:
        try:
            read_authority(value, default_port=80)
        except TargetMalformed:
            raise Refused(malformed("the Host field is not of the form host or host:port")) from None


def _is_here(host: str) -> bool:
    """Whether an address is one of this machine's: only then can a socket be bound to it."""
    family = socket.AF_INET6 if ipaddress.ip_address(host.partition("%")[0]).version == 6 else socket.AF_INET
    with contextlib.suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as probe:
        probe.bind((host, 0))
        return True
    return False
