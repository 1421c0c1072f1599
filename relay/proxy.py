"""ConnectProxy: an HTTP proxy on aiohttp that stands in for a corporate one."""

import asyncio
import secrets
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from types import TracebackType
from typing import Self

from relay.access import Access
from relay.answering import Answering
from relay.c_parser import require_c_parser
from relay.desk import ProxyDesk
from relay.dialler import Dialler
from relay.express import ExpressLane
from relay.fault_plan import Binder
from relay.front import Front
from relay.gatekeeper import Gatekeeper
from relay.limits import Limits
from relay.listener import Bound, Listener
from relay.listening import is_public
from relay.login_gate import Login
from relay.metrics import Metrics, Snapshot
from relay.outbound import Asker, Ways
from relay.outcomes import Asking, Log, Outcomes
from relay.passage import AnyTunnel
from relay.persona import Persona
from relay.persona_gate import PersonaGate
from relay.reception import Http2, Reception
from relay.route import Endpoint
from relay.stream import Stream
from relay.takeover import RawServer
from relay.watching import IS_AVAILABLE

PROXY_PORT = 3128
# How often a stop with grace looks whether the last tunnel has ended.
DRAIN_LOOK_SECONDS = 0.05
# The request of who came last is on its way, over the sea and back; later, silent connections are idle ones.
LAST_WORDS_SECONDS = 1.0


class ConnectProxy:
    """CONNECT (RFC 9110 section 9.3.6) and absolute-form forwarding, with logins, limits and an access log.

    Args:
        listen: where to listen; port 0 takes a free one, see `.endpoints`.
        access: what may be reached. limits: how much of it. login: by whom; None asks nobody.
        connect_timeout_seconds, head_timeout_seconds, answer_timeout_seconds: in place of those of `limits`.
        faults: what is done to tunnels that open.
        persona: whose words and habits it has; None is its own, strict ones.
        via: our name in Via fields (RFC 9110 section 7.6.3); must be unique among proxies in a row.
        log: called with one dict per tunnel or request, when it has ended.
        log_details: whether the dicts also have `reached`, `version`, `referer` and `user-agent`.
        json_log: called in place of `log` with entries that are JSON already, as most tunnels' are.
        metrics: counted into, if given.
        own: endpoints of ours beside those, which nobody may reach through the proxy either.
        sockets: listen on these, bound already, instead of binding `listen`; ours to close.
        listeners: more of them: with TLS, on Unix sockets, behind load balancers.
        bound: those of `listeners`, open already; ours to close.
        ways: parent proxies, and PROXY protocol headers, by target.
        pac: serve a PAC file, made from the policy, to who asks for one.
    """

    def __init__(
        self,
        listen: Sequence[Endpoint] = (Endpoint("127.0.0.1", PROXY_PORT),), *,
        access: Access | None = None,
        limits: Limits | None = None,
        login: Login | None = None,
        connect_timeout_seconds: float | None = None,
        head_timeout_seconds: float | None = None,
        answer_timeout_seconds: float | None = None,
        faults: Binder | None = None,
        persona: Persona | None = None,
        via: str | None = None,
        log: Log | None = None,
        log_details: bool = False,
        json_log: Callable[[str], None] | None = None,
        metrics: Metrics | None = None,
        own: Sequence[Endpoint] = (),
        sockets: Sequence[socket.socket] | None = None,
        listeners: Sequence[Listener] = (),
        bound: Sequence[Bound] | None = None,
        ways: Ways | None = None,
        pac: bool = False,
    ) -> None:  # fmt: skip
        self.via = via or f"relay-{secrets.token_hex(4)}"
        self._is_public = any(map(is_public, listen)) or any(one.is_public for one in listeners)
        limits = limits or Limits()
        self.limits = replace(
            limits,
            connect_timeout_seconds=connect_timeout_seconds or limits.connect_timeout_seconds,
            head_timeout_seconds=head_timeout_seconds or limits.head_timeout_seconds,
            answer_timeout_seconds=answer_timeout_seconds or limits.answer_timeout_seconds,
        )
        self._keeper = Gatekeeper(self._completed(access or Access()), self.limits, login)
        self._outcomes = Outcomes(log, metrics, has_details=log_details, json_log=json_log)
        if metrics is not None:
            metrics.logins = self._keeper.login_outcomes
        self._front = Front(tuple(listen), sockets, tuple(listeners), bound)
        self._own = tuple(own)
        self._server: RawServer | None = None
        self._answering = Answering(self._keeper, self._outcomes, self.via, faults, persona, ways, pac)

    def _completed(self, access: Access) -> Access:
        if access.allow_local is not None:
            return access
        return replace(access, allow_local=not self._is_public)

    @property
    def access(self) -> Access:
        """What may be reached."""
        return self._keeper.access

    @property
    def faults(self) -> Binder | None:
        """What is done to tunnels that open; it can be set anew where there was one at the start."""
        return self._answering.faults

    @faults.setter
    def faults(self, faults: Binder) -> None:
        self._answering.faults = faults

    @property
    def persona(self) -> Persona | None:
        """Whose words and habits it has."""
        return self._answering.persona

    @property
    def endpoints(self) -> list[Endpoint]:
        """Where it really listens."""
        return self._front.endpoints

    @property
    def places(self) -> list[str]:
        """Every listener, for people."""
        return self._front.places

    @property
    def endpoint(self) -> Endpoint:
        """The first of `endpoints`."""
        return self.endpoints[0]

    @property
    def tunnels(self) -> Mapping[AnyTunnel, Asking | None]:
        """Those that are open or being opened; and who asked, where more is known than the tunnel says."""
        return self._answering.tunnels

    @property
    def is_draining(self) -> bool:
        """Whether it listens no more, and waits for what is under way."""
        return self._answering.is_draining

    @property
    def connections(self) -> int:
        """Connections that have not asked for anything yet, or that aiohttp holds; no tunnels."""
        return self._front.silent + (len(self._server.connections) if self._server else 0)

    def snapshot(self) -> Snapshot:
        """The metrics, with what is open now."""
        metrics = self._outcomes.metrics or Metrics()
        found = metrics.snapshot()
        for tunnel in self.tunnels:
            found["bytes_up"] += tunnel.counters.up
            found["bytes_down"] += tunnel.counters.down
        return {
            **found, "tunnels_open": len(self.tunnels),
            "connections_open": self._keeper.door.connections + self._front.silent,
            "is_draining": self.is_draining,
        }  # fmt: skip

    async def change(
        self, access: Access, limits: Limits, login: Login | None, ways: Ways | None = None
    ) -> None:
        """Go on with another policy, limits, users and ways; open tunnels stay as they are.

        The listeners stay as well, and the head timeout, which belongs to them. A connection that has sent
        nothing counts for a limit that is new only when it has sent something.
        """
        access = self._completed(access)
        self.limits = limits
        # All of it before others have their turn: what they remember of addresses is kept by policy
        self._dialler.access = access
        self._dialler.connect_timeout_seconds = limits.connect_timeout_seconds
        self._front.change_connect_timeout(limits.connect_timeout_seconds)
        if ways is not None:
            self._answering.lead(ways)
        await self._keeper.change(access, limits, login)

    def renew(self, listeners: Sequence[Listener]) -> None:
        """Show the certificates that the files of these listeners have now, to those who come from now on.

        Raises: SettingsError; then all stays as it was.
        """
        self._front.renew(listeners)

    async def dial(self, target: Endpoint, peer: str) -> Stream:
        """Reach a target, if the policy lets `peer` without a login. Raises: RelayError, Refused."""
        asker = Asker(peer, f"1.1 {self.via}", self._keeper.check_target(target, peer))
        return await self._answering.outbound.open(target, asker)

    async def start(self) -> None:
        """Bind and listen. Raises: OSError that names the address; ParserMissing."""
        require_c_parser()
        seconds = self.limits.head_timeout_seconds
        answering = self._answering
        self._server = server = RawServer(answering.answer, answering.refuse, seconds, answering.doorman)
        if self.persona is not None:
            server.new_gate = partial(PersonaGate, self.persona)
        self._front.open()
        own = [*self.endpoints, *self._own]
        self._dialler = Dialler(self.access, own, self.limits.connect_timeout_seconds)
        answering.begin(self._dialler)

        def lane(sockets: Sequence[socket.socket]) -> ExpressLane:
            return ExpressLane(
                answering.plane.splice(), sockets,
                ProxyDesk(self._keeper, self._outcomes, answering, server),
                silence_seconds=seconds, connect_seconds=self.limits.connect_timeout_seconds,
            )  # fmt: skip

        def reception(bound: Sequence[Bound]) -> Reception:
            http2 = _http2(answering, server, seconds)
            return Reception(bound, server, answering.doorman, seconds, http2)

        await self._front.begin(server, lane if IS_AVAILABLE and answering.is_plain else None, reception)

    async def drain(self, seconds: float, stop_now: asyncio.Event | None = None) -> None:
        """Listen no more, and give what is under way up to `seconds` to end; `aclose` ends the rest.

        Args: stop_now: ends the wait when it is set.
        """
        self._answering.is_draining = True
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        await self._front.accept_no_more()
        heard_until = loop.time() + LAST_WORDS_SECONDS
        while loop.time() < end and not (stop_now is not None and stop_now.is_set()):
            if loop.time() >= heard_until:
                self._front.end_silent()
                if self._server is not None:
                    self._server.end_idle()
            if not self.tunnels and not self._answering.tasks and not self.connections:
                return
            await asyncio.sleep(min(DRAIN_LOOK_SECONDS, max(0.0, end - loop.time())))

    async def aclose(self) -> None:
        """Stop at once: listeners first, then every tunnel and every connection is reset."""
        self._answering.is_stopping = True
        await self._front.stop()
        if self._server is not None:
            await self._server.stop()
        self._front.close()
        await self._answering.aclose()
        await self._keeper.aclose()
        if self._server is not None:
            await self._dialler.aclose()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()


def _http2(answering: Answering, server: RawServer, seconds: float) -> Http2 | None:
    """Who answers HTTP/2, which is an extra."""
    if find_spec("h2") is None:
        return None
    from relay.http2_door import Http2Door

    return Http2Door(answering, server.new_gate, seconds)
