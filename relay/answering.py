"""Answering: what a proxy does with each connection and each request, from the first byte to the log."""

import asyncio
import contextlib
import socket
import time
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from typing import Any, TypeVar

from relay.absolute_form import forward
from relay.client_request import ClientRequest
from relay.connect_tunnel import Tunnel
from relay.data_plane import DataPlane
from relay.dialler import Dialler
from relay.doorman import Doorman
from relay.exchange import Forwarded
from relay.failure import RelayError
from relay.fault_plan import Binder, bound
from relay.fault_rule import TunnelFacts
from relay.fields import names_us
from relay.gatekeeper import Gatekeeper, RefusesAt
from relay.limits import client_of
from relay.login_gate import StepRefused
from relay.login_steps import can_go_on, with_fields
from relay.outbound import Asker, Outbound, Reached, Ways, via_of
from relay.outcomes import Asking, Outcomes
from relay.pac_page import page_for
from relay.passage import AnyTunnel, Passage
from relay.persona import Persona
from relay.persona_way import keep_after, reply_to, step_reply, take_over, with_habits
from relay.pump_end import TunnelEnd
from relay.refusal import Refusal, unreachable, went_in_a_circle
from relay.refused import Refused, linger_close
from relay.route import Endpoint
from relay.stream import SocketStream, Stream

Way = TypeVar("Way", Stream, Reached)


class Answering:
    """Answers for one proxy.

    Args: keeper: lets requests in. outcomes: told how each ended. via: our name in Via fields.
          faults: of tunnels that open. persona: whose words and habits it has. ways: to targets.
    """

    def __init__(
        self, keeper: Gatekeeper, outcomes: Outcomes, via: str, faults: Binder | None = None,
        persona: Persona | None = None, ways: Ways | None = None, serves_pac: bool = False,
    ) -> None:  # fmt: skip
        # None: nobody asked for more than the tunnel says itself
        self.tunnels: dict[AnyTunnel, Asking | None] = {}
        self.tasks: set[asyncio.Task[None]] = set()
        self.is_stopping = False
        self.is_draining = False
        self.faults = with_habits(faults, persona)
        self.persona = persona
        self._keeper = keeper
        self._outcomes = outcomes
        self._via = via
        self.ways = ways or Ways()
        self._serves_pac = serves_pac
        self.plane = DataPlane()
        self.doorman = Doorman(keeper, outcomes, persona)

    @property
    def is_plain(self) -> bool:
        """Whether a tunnel may open without our seeing its request: faults and personas want to see each."""
        is_own = self.faults is None and self.persona is None
        return is_own and self.ways.is_direct and self._keeper.is_plain

    def begin(self, dialler: Dialler) -> None:
        """Answer from now on. The dialler knows the listeners, which are bound late."""
        self.is_stopping = self.is_draining = False
        self.dialler = dialler
        self.outbound = Outbound(dialler, self.ways)

    def lead(self, ways: Ways) -> None:
        """Take these ways to targets from now on."""
        self.outbound.ways = self.ways = ways

    async def aclose(self) -> None:
        """Reset every tunnel, and every connection that is being closed."""
        self.is_stopping = True
        self.doorman.abort()
        tasks = list(self.tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self.plane.aclose()

    async def answer(self, request: ClientRequest) -> bool:
        """Answer one request; return whether its connection goes on."""
        asking = self._outcomes.asking(request)
        try:
            if request.verdict is not None:
                raise Refused(request.verdict)
            refuses_at = await self._keeper.admit(request, asking)
            if asking.method == "CONNECT":
                await self._open_tunnel(request, asking, refuses_at)
                return False
            return await self._forward(request, asking, refuses_at)
        except StepRefused as error:
            return await self._go_on_with_login(request, asking, error.refusal)
        except Refused as error:
            return await self._say_no(request, asking, error.refusal)
        except ConnectionError:  # it has gone before its tunnel was open
            self._outcomes.ended(asking, 0, str(TunnelEnd.CLIENT_RESET))
            return False

    async def _say_no(self, request: ClientRequest, asking: Asking, refusal: Refusal) -> bool:
        """Refuse; return whether the connection goes on, as it does behind some refusals of some personas."""
        persona = None if self.is_draining else self.persona
        if persona is not None and await keep_after(request, refusal, persona):
            self._outcomes.ended(asking, int(refusal.status), "kept", refusal=refusal)
            return True
        await self.refuse(request, refusal, asking)
        return False

    async def _open_tunnel(
        self, request: ClientRequest, asking: Asking, refuses_at: RefusesAt | None
    ) -> None:
        target = request.head.to
        assert isinstance(target, Endpoint)
        if names_us(request.head, self._via):
            raise Refused(went_in_a_circle())
        door = self._keeper.door
        if refusal := door.refuses_tunnel(request.peer):
            raise Refused(refusal)
        tunnel = self.opening(asking, target)
        if self.persona is not None:
            tunnel.established = self.persona.established_for(request.head.line.version)
            tunnel.reply = partial(reply_to, persona=self.persona)
        tunnel.established = with_fields(tunnel.established, request.conversation.fields)
        facts = TunnelFacts(str(target), asking.user or "", request.peer)
        faults = bound(self.faults, facts)
        # The connection may go on behind a refusal, also of the target's: its socket is taken after the dial
        is_dialled_first = self.persona is not None and not (faults is not None and faults.changes_answer)
        try:
            dial_for = self._dial_for(request, asking, refuses_at, self.outbound.open)
            client, dial, at_the_end = await take_over(request, target, dial_for, is_dialled_first)
        except BaseException:
            # Refused, gone or cancelled: it never began, so nothing else takes it off the list
            del self.tunnels[tunnel]
            self._keeper.door.give_back_tunnel(client_of(tunnel.client))
            raise

        def if_never_run() -> None:
            client.reset()
            if tunnel in self.tunnels:
                self._tunnel_ended(tunnel)

        # A task of its own, so that nothing of aiohttp stays alive as long as the tunnel
        self._begin(tunnel.run(client, dial, self.plane, faults), if_never_run, at_the_end)

    def opening(self, asking: Asking, target: Endpoint) -> Tunnel:
        """Count a tunnel that is being dialled; its own `on_end` ends it."""
        tunnel = Tunnel(asking.client, target, asking.began_seconds, self._tunnel_ended)
        self.tunnels[tunnel] = asking
        self._keeper.door.take_tunnel(client_of(asking.client))
        return tunnel

    def could_not_open(self, passage: Passage, sock: socket.socket, error: RelayError) -> None:
        """Tell the client of a tunnel, whose socket is ours to close, that its target was not reached."""
        client = SocketStream(sock)

        def if_never_run() -> None:
            client.reset()
            if passage in self.tunnels:
                passage.lane.ended(passage)

        self._begin(passage.refuse(client, unreachable(error)), if_never_run)

    def _dial_for(
        self, request: ClientRequest, asking: Asking, refuses_at: RefusesAt | None,
        open_way: Callable[[Endpoint, Asker], Awaitable[Way]],
    ) -> Callable[[Endpoint], Coroutine[Any, Any, Way]]:  # fmt: skip
        outcomes = self._outcomes
        asker = Asker(request.peer, via_of(request.head, self._via), refuses_at)

        async def dial(target: Endpoint) -> Way:
            began_seconds = time.monotonic()
            if (parent := self.outbound.parent_of(target)) is not None:
                asking.upstream = parent.name
            way = await open_way(target, asker)
            if outcomes.metrics is not None:
                outcomes.metrics.dials.see(time.monotonic() - began_seconds)
            if outcomes.has_details:
                with contextlib.suppress(OSError):
                    asking.reached = str(way.fileno_socket().getpeername()[0])
            return way

        return dial

    def _tunnel_ended(self, tunnel: Tunnel) -> None:
        asking = self.tunnels.pop(tunnel)
        self._keeper.door.give_back_tunnel(client_of(tunnel.client))
        if not self._outcomes.is_off:
            self._outcomes.tunnel_ended(tunnel, asking)

    async def _forward(self, request: ClientRequest, asking: Asking, refuses_at: RefusesAt | None) -> bool:
        done = Forwarded()

        def tell() -> None:
            self._outcomes.ended(asking, done.status, done.ended, done.bytes_up, done.bytes_down)

        try:
            await forward(
                request, done,
                dial=self._dial_for(request, asking, refuses_at, self.outbound.open_for_request),
                via=self._via, answer_seconds=self._keeper.door.limits.answer_timeout_seconds,
                persona=self.persona,
            )  # fmt: skip
        except ConnectionError:
            done.ended, done.keep_alive = "client-reset", False
        except asyncio.CancelledError:
            tell()
            raise
        tell()
        keeps_alive = done.keep_alive and not self.is_draining
        if not keeps_alive:
            await self._close(request, b"")
        return keeps_alive

    async def _go_on_with_login(self, request: ClientRequest, asking: Asking, refusal: Refusal) -> bool:
        """Answer a step of a login; the next one must come over the same connection."""
        if not await can_go_on(request) or self.is_draining:
            await self.refuse(request, refusal, asking)
            return False
        try:
            with_body = asking.method != "HEAD"
            await request.write(step_reply(refusal, self.persona, with_body=with_body))
        except ConnectionError:
            self._outcomes.ended(asking, 0, "client-reset", refusal=refusal)
            return False
        self._outcomes.ended(asking, int(refusal.status), "refused", refusal=refusal)
        return True

    async def refuse(
        self, request: ClientRequest, refusal: Refusal, asking: Asking | None = None
    ) -> None:
        asking = asking or self._outcomes.asking(request)
        page = page_for(request, refusal, self._keeper.access) if self._serves_pac else None
        if page is not None:
            is_whole = await self._close(request, page)
            self._outcomes.ended(asking, 200 * is_whole, "complete" if is_whole else "client-reset")
            return
        status, ended = 0, "client-reset"
        is_connect = not request.has_head or asking.method == "CONNECT"
        with_body = asking.method != "HEAD"
        reply = reply_to(refusal, self.persona, with_body=with_body, is_connect=is_connect)
        if request.has_answered:
            # A second reply would look like part of the first: the client must see that it is broken
            request.abort()
            ended = "broken"
        elif await self._close(request, reply):
            status, ended = int(refusal.status), "refused"
        self._outcomes.ended(asking, status, ended, refusal=refusal)

    async def _close(self, request: ClientRequest, reply: bytes) -> bool:
        """Send the last bytes and close in the background; False when the client has gone."""
        door = self._keeper.door
        with contextlib.suppress(ConnectionError):
            client = await request.take_over()
            door.take(request.peer)

            def if_never_run() -> None:
                client.reset()

            self._begin(linger_close(client, reply), if_never_run, lambda: door.give_back(request.peer))
            return True
        return False

    def _begin(
        self, work: Coroutine[Any, Any, None], if_never_run: Callable[[], None],
        at_the_end: Callable[[], None] | None = None,
    ) -> None:  # fmt: skip
        """Run what owns a client's socket; a task that is cancelled early never comes to its own clean-up."""

        def ended(task: asyncio.Task[None]) -> None:
            self.tasks.discard(task)
            if task.cancelled():
                if_never_run()
            if at_the_end is not None:
                at_the_end()

        if self.is_stopping:
            work.close()
            if_never_run()
            if at_the_end is not None:
                at_the_end()
            return
        task = asyncio.create_task(work)
        self.tasks.add(task)
        task.add_done_callback(ended)
