"""ConnectProxy: an HTTP proxy on aiohttp that stands in for a corporate one."""

import asyncio
import contextlib
import secrets
import socket
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import replace
from functools import partial
from types import TracebackType
from typing import Any, Self

from relay.absolute_form import ANSWER_SECONDS, forward
from relay.access import Access
from relay.admission import Admission, Admitted
from relay.client_request import ClientRequest
from relay.connect_tunnel import Tunnel
from relay.data_plane import DataPlane
from relay.dial import reset_socket
from relay.dialler import Dialler
from relay.exchange import Forwarded
from relay.express import ExpressLane
from relay.failure import RelayError
from relay.fault_plan import Binder, bound
from relay.fault_rule import TunnelFacts
from relay.fields import names_us
from relay.listening import BACKLOG, accept_no_more, bound_endpoint, is_public, listen_on
from relay.persona import Persona
from relay.persona_gate import PersonaGate
from relay.persona_way import keep_after, reply_to, take_over, with_habits
from relay.refusal import Refusal, denied, unreachable, went_in_a_circle
from relay.refused import Refused, linger_close
from relay.request_log import Log, forwarded_entry, refused_entry, tell, tunnel_entry
from relay.route import Endpoint
from relay.splice import IS_AVAILABLE
from relay.takeover import RawServer, require_c_parser
from relay.vanished import notice_vanished

PROXY_PORT = 3128
CONNECT_TIMEOUT_SECONDS = 10.0
HEAD_TIMEOUT_SECONDS = 30.0


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
        self.persona, self.faults = persona, with_habits(faults, persona)
        self.via = via or f"relay-{secrets.token_hex(4)}"
        self._listen = tuple(listen)
        self._sockets = sockets
        self._connect_timeout_seconds = connect_timeout_seconds
        self._head_timeout_seconds = head_timeout_seconds
        self._answer_timeout_seconds = answer_timeout_seconds
        self._log = log
        self._listeners: list[socket.socket] = []
        self._servers: list[asyncio.Server] = []
        self._express: ExpressLane | None = None
        self._server: RawServer | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._plane = DataPlane()
        self._is_stopping = False

    @property
    def endpoints(self) -> list[Endpoint]:
        """Where it really listens."""
        return [bound_endpoint(sock) for sock in self._listeners]

    @property
    def endpoint(self) -> Endpoint:
        """The first of `endpoints`."""
        return self.endpoints[0]

    @property
    def connections(self) -> int:
        """Connections that have not asked for anything yet, or that aiohttp holds; no tunnels."""
        silent = len(self._express) if self._express is not None else 0
        return silent + (len(self._server.connections) if self._server else 0)

    async def start(self) -> None:
        """Bind and listen. Raises: OSError that names the address; ParserMissing."""
        require_c_parser()
        self._is_stopping = False
        loop = asyncio.get_running_loop()
        self._server = RawServer(self._answer, self._refuse, self._head_timeout_seconds)
        if self.persona is not None:
            self._server.new_gate = partial(PersonaGate, self.persona)
        self._listeners = list(self._sockets or listen_on(self._listen))
        for sock in self._listeners:
            # Accepted sockets have these of their listener
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            notice_vanished(sock)
        self._dialler = Dialler(self.access, self.endpoints, self._connect_timeout_seconds)
        self._admission = Admission(self.access, self._dialler)
        # Faults and personas want every request to come by way of aiohttp
        if IS_AVAILABLE and self.faults is None and self.persona is None:
            self._express = ExpressLane(
                self._plane.splice(), self._listeners, self,
                silence_seconds=self._head_timeout_seconds, connect_seconds=self._connect_timeout_seconds,
            )  # fmt: skip
            return
        for sock in self._listeners:
            self._servers.append(await loop.create_server(self._server, sock=sock, backlog=BACKLOG))

    async def aclose(self) -> None:
        """Stop at once: listeners first, then every tunnel and every connection is reset."""
        self._is_stopping = True
        if self._express is not None:
            self._express.close()
            self._express = None
        for server in self._servers:
            accept_no_more(server)
        if self._server is not None:
            await self._server.stop()
        for server in self._servers:
            server.close()
        for sock in self._listeners:
            sock.close()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._plane.aclose()
        if self._server is not None:
            await self._dialler.aclose()
        self._servers.clear()
        self._listeners.clear()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    def admit(self, authority: bytes) -> Admitted | None:
        """Where the express lane may dial at once."""
        return self._admission.admit(authority)

    def opening(self, client: str, target: Endpoint) -> Tunnel:
        """A tunnel of the express lane is being dialled."""
        tunnel = Tunnel(client, target, time.monotonic(), self._tunnel_ended)
        self.tunnels.add(tunnel)
        return tunnel

    def could_not_open(self, tunnel: Tunnel, sock: socket.socket, error: RelayError) -> None:
        """Tell its client, in the background."""

        def if_never_run() -> None:
            reset_socket(sock)
            self._tunnel_ended(tunnel)

        self._begin(tunnel.refuse(sock, unreachable(error)), if_never_run)

    def hand_over(self, sock: socket.socket, data: bytes) -> None:
        """Have aiohttp answer what the express lane does not."""
        assert self._server is not None
        self._server.take(sock, data)

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
            refusal = error.refusal
            if self.persona is not None and await keep_after(request, refusal, self.persona):
                self._tell(began_seconds, **refused_entry(request, refusal, "kept", refusal.status))
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
        faults = bound(self.faults, TunnelFacts(str(target), client=request.peer))
        is_dialled_first = self.persona is not None and not (faults is not None and faults.changes_answer)
        sock, early, dial = await take_over(request, target, self._dialler.dial, is_dialled_first)
        # A task of its own, so that nothing of aiohttp stays alive as long as the tunnel
        self.tunnels.add(tunnel)

        def if_never_run() -> None:
            reset_socket(sock)
            if tunnel in self.tunnels:
                self._tunnel_ended(tunnel)

        self._begin(tunnel.run(sock, early, dial, self._plane, faults), if_never_run)

    def _tunnel_ended(self, tunnel: Tunnel) -> None:
        self.tunnels.discard(tunnel)
        self._tell(tunnel.began_seconds, **tunnel_entry(tunnel))

    async def _forward(self, request: ClientRequest, began_seconds: float) -> bool:
        done = Forwarded()

        def tell() -> None:
            self._tell(began_seconds, **forwarded_entry(request, done))

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
        reply = reply_to(refusal, self.persona, with_body=method != "HEAD")
        if request.has_answered:
            # A second reply would look like part of the first: the client must see that it is broken
            request.abort()
            ended = "broken"
        elif await self._close(request, reply):
            status, ended = int(refusal.status), "refused"
        self._tell(began_seconds, **refused_entry(request, refusal, ended, status))

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

    def _tell(self, began_seconds: float | None, **entry: Any) -> None:
        if self._log is not None:
            tell(self._log, began_seconds, entry)
