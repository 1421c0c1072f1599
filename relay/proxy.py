"""ConnectProxy: an HTTP proxy on aiohttp that stands in for a corporate one."""

import asyncio
import contextlib
import secrets
import socket
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from types import TracebackType
from typing import Any, Self

from relay.absolute_form import ANSWER_SECONDS, forward
from relay.access import Access
from relay.client_request import ClientRequest
from relay.connect_tunnel import Tunnel
from relay.data_plane import DataPlane
from relay.dial import reset_socket
from relay.dialler import Dialler
from relay.exchange import Forwarded
from relay.fault_plan import Binder, FaultPlan, JoinedFaults
from relay.fault_rule import TunnelFacts
from relay.fields import names_us
from relay.listening import BACKLOG, bound_endpoint, is_public, listen_on
from relay.persona import Persona
from relay.persona_gate import PersonaGate
from relay.persona_way import Dial, keep_after, take_over_dialled
from relay.refusal import Refusal, denied, went_in_a_circle
from relay.refused import Refused, linger_close
from relay.request_gate import RequestGate
from relay.route import Endpoint
from relay.takeover import RawServer, accept_no_more, require_c_parser
from relay.vanished import notice_vanished

PROXY_PORT = 3128
CONNECT_TIMEOUT_SECONDS = 10.0
HEAD_TIMEOUT_SECONDS = 30.0
Log = Callable[[dict[str, Any]], None]


class ConnectProxy:
    """CONNECT (RFC 9110 section 9.3.6) and absolute-form forwarding, with an access log.

    Args:
        listen: where to listen; port 0 takes a free one, see `.endpoints`.
        access: what may be reached.
        connect_timeout_seconds: for name lookup and TCP connect to a target together.
        head_timeout_seconds: a client that has not sent a whole head after so long is cut off.
        answer_timeout_seconds: for the origin of a forwarded request to begin its reply.
        faults: what is done to tunnels that open.
        persona: whose words and habits it has; None is its own, strict ones.
        via: our name in Via fields (RFC 9110 section 7.6.3); must be unique among proxies in a row.
        log: called with one dict per tunnel or request, when it has ended.
        sockets: listen on these, bound already, instead of binding `listen`; ours to close.
    """

    def __init__(
        self,
        listen: Sequence[Endpoint] = (Endpoint("127.0.0.1", PROXY_PORT),),
        *,
        access: Access | None = None,
        connect_timeout_seconds: float = CONNECT_TIMEOUT_SECONDS,
        head_timeout_seconds: float = HEAD_TIMEOUT_SECONDS,
        answer_timeout_seconds: float = ANSWER_SECONDS,
        faults: Binder | None = None,
        persona: Persona | None = None,
        via: str | None = None,
        log: Log | None = None,
        sockets: Sequence[socket.socket] | None = None,
    ) -> None:
        self.tunnels: set[Tunnel] = set()
        self.access = access or Access()
        if self.access.allow_local is None:
            self.access = replace(self.access, allow_local=not any(map(is_public, listen)))
        self.persona = persona
        self.faults = faults
        if persona is not None and persona.faults:
            self.faults = JoinedFaults(FaultPlan(persona.faults), faults)
        self.via = via or f"relay-{secrets.token_hex(4)}"
        self._listen = tuple(listen)
        self._sockets = sockets
        self._connect_timeout_seconds = connect_timeout_seconds
        self._head_timeout_seconds = head_timeout_seconds
        self._answer_timeout_seconds = answer_timeout_seconds
        self._log = log
        self._servers: list[asyncio.Server] = []
        self._server: RawServer | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._plane = DataPlane()
        self._is_stopping = False

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
        self._is_stopping = False
        loop = asyncio.get_running_loop()
        gate = RequestGate if self.persona is None else partial(PersonaGate, self.persona)
        self._server = RawServer(self._answer, self._refuse, self._head_timeout_seconds, gate)
        for sock in self._sockets or listen_on(self._listen):
            # Accepted sockets have these of their listener
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            notice_vanished(sock)
            self._servers.append(await loop.create_server(self._server, sock=sock, backlog=BACKLOG))
        self._dialler = Dialler(self.access, self.endpoints, self._connect_timeout_seconds)

    async def aclose(self) -> None:
        """Stop at once: listeners first, then every tunnel and every connection is reset."""
        self._is_stopping = True
        for server in self._servers:
            accept_no_more(server)
        if self._server is not None:
            await self._server.stop()
        for server in self._servers:
            server.close()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._plane.aclose()
        if self._server is not None:
            await self._dialler.aclose()
        self._servers.clear()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def _answer(self, request: ClientRequest) -> bool:
        """Answer one request; return whether its connection goes on."""
        began_seconds = time.monotonic()
        try:
            if request.verdict is not None:
                raise Refused(request.verdict)
            if request.head.line.method == "CONNECT":
                await self._open_tunnel(request, began_seconds)
                return False
            return await self._forward(request, began_seconds)
        except Refused as error:
            if self.persona is not None and await keep_after(request, error.refusal, self.persona):
                self._tell_refused(request, error.refusal, began_seconds, "kept", error.refusal.status)
                return True
            await self._refuse(request, error.refusal, began_seconds)
            return False

    async def _open_tunnel(self, request: ClientRequest, began_seconds: float) -> None:
        target = request.head.to
        assert isinstance(target, Endpoint)
        if names_us(request.head, self.via):
            raise Refused(went_in_a_circle())
        if reason := self.access.refuses(target):
            raise Refused(denied(reason))
        tunnel = Tunnel(request.peer, target, began_seconds, self._tunnel_ended)
        if self.persona is not None:
            tunnel.established = self.persona.established_for(request.head.line.version)
        facts = TunnelFacts(str(target), client=request.peer)
        faults = self.faults.bind(facts) if self.faults is not None else None
        if self.persona is None or (faults is not None and faults.changes_answer):
            dial: Dial = self._dialler.dial
            sock, early = await request.take_over()
        else:
            sock, early, dial = await take_over_dialled(request, target, self._dialler.dial)
        # A task of its own, so that nothing of aiohttp stays alive as long as the tunnel
        self.tunnels.add(tunnel)

        def if_never_run() -> None:
            reset_socket(sock)
            if tunnel in self.tunnels:
                self._tunnel_ended(tunnel)

        self._begin(tunnel.run(sock, early, dial, self._plane, faults), if_never_run)

    def _tunnel_ended(self, tunnel: Tunnel) -> None:
        self.tunnels.discard(tunnel)
        self._tell(
            tunnel.began_seconds, client=tunnel.client, method="CONNECT", target=str(tunnel.target),
            status=tunnel.status, bytes_up=tunnel.counters.up, bytes_down=tunnel.counters.down,
            ended=tunnel.ended, **_way(tunnel), **_why(tunnel.refusal),
        )  # fmt: skip

    async def _forward(self, request: ClientRequest, began_seconds: float) -> bool:
        line, done = request.head.line, Forwarded()

        def tell() -> None:
            self._tell(
                began_seconds, client=request.peer, method=line.method, target=line.target,
                status=done.status, bytes_up=done.bytes_up, bytes_down=done.bytes_down, ended=done.ended,
            )  # fmt: skip

        try:
            await forward(
                request, done, dial=self._dialler.dial, access=self.access, via=self.via,
                answer_seconds=self._answer_timeout_seconds,
            )  # fmt: skip
        except ConnectionError:
            done.ended, done.keep_alive = "client-reset", False
        except asyncio.CancelledError:
            tell()
            raise
        tell()
        if not done.keep_alive:
            await self._close(request, b"")
        return done.keep_alive

    async def _refuse(
        self, request: ClientRequest, refusal: Refusal, began_seconds: float | None = None
    ) -> None:
        status, ended = 0, "client-reset"
        method = request.line.method if request.line is not None else "-"
        if self.persona is not None:
            reply = self.persona.reply(refusal).wire(refusal, with_body=method != "HEAD")
        else:
            reply = refusal.reply(with_body=method != "HEAD")
        if request.has_answered:
            # A second reply would look like part of the first: the client must see that it is broken
            request.abort()
            ended = "broken"
        elif await self._close(request, reply):
            status, ended = int(refusal.status), "refused"
        self._tell_refused(request, refusal, began_seconds, ended, status)

    def _tell_refused(
        self, request: ClientRequest, refusal: Refusal, began_seconds: float | None, ended: str, status: int
    ) -> None:
        line = request.line
        method, target = (line.method, line.target) if line is not None else ("-", "-")
        self._tell(
            time.monotonic() if began_seconds is None else began_seconds, client=request.peer, method=method,
            target=target, status=status, bytes_up=0, bytes_down=0, ended=ended, **_why(refusal),
        )  # fmt: skip

    async def _close(self, request: ClientRequest, reply: bytes) -> bool:
        """Send the last bytes and close in the background; False when the client has gone."""
        with contextlib.suppress(ConnectionError):
            sock, _ = await request.take_over()
            self._begin(linger_close(sock, reply), lambda: reset_socket(sock))
            return True
        return False

    def _begin(self, work: Coroutine[Any, Any, None], if_never_run: Callable[[], None]) -> None:
        """Run what owns a client's socket; a task that is cancelled early never comes to its own clean-up."""

        def ended(task: asyncio.Task[None]) -> None:
            self._tasks.discard(task)
            if task.cancelled():
                if_never_run()

        if self._is_stopping:
            work.close()
            if_never_run()
            return
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(ended)

    def _tell(self, began_seconds: float, **entry: Any) -> None:
        if self._log is not None:
            seconds = round(time.monotonic() - began_seconds, 6)
            now = datetime.now(UTC).isoformat(timespec="milliseconds")
            self._log({"time": now, **entry, "seconds": seconds})


def _way(tunnel: Tunnel) -> dict[str, str]:
    """Our own end towards the target, by which the target knows the tunnel, and how the bytes go."""
    if tunnel.carriage is None:
        return {}
    return {"outgoing": tunnel.outgoing, "path": tunnel.carriage.path}


def _why(refusal: Refusal | None) -> dict[str, str]:
    return {"error": refusal.error, "words": refusal.words} if refusal is not None else {}
