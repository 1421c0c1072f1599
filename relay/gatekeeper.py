"""Gatekeeper: whether a request goes on: how often its client asks, who that is, and what the policy says."""

import functools
from collections import Counter
from collections.abc import Callable

from relay.access import Access, Need
from relay.access_request import Asked
from relay.authority import AbsoluteTarget
from relay.backoff import Backoff
from relay.client_request import ClientRequest
from relay.limits import Door, Limits, host_of
from relay.login_gate import Login, LoginGate
from relay.outcomes import Asking
from relay.refusal import Refusal, denied
from relay.refused import Refused
from relay.route import Endpoint

RefusesAt = Callable[[str], Refusal | None]


class Gatekeeper:
    """Args: access, limits, login: all can be set anew with `change`, for the requests that come after.

    is_plain: whether the target's port and address decide alone: no rule, login or limit asks for more.
    """

    def __init__(self, access: Access, limits: Limits, login: Login | None = None) -> None:
        self.access = access
        self.door = Door(limits)
        self.login_outcomes: Counter[str] = Counter()
        self._backoff = Backoff()
        self._login = self._gate(login)
        self.is_plain = self._decides_alone()

    async def change(self, access: Access, limits: Limits, login: Login | None) -> None:
        """Go on with another policy. Failures to log in and what is open stay counted."""
        old, self._login = self._login, self._gate(login)
        self.access = access
        self.door.limits = limits
        self.is_plain = self._decides_alone()
        if old is not None:
            await old.aclose()

    def _gate(self, login: Login | None) -> LoginGate | None:
        return None if login is None else LoginGate(login, self._backoff, self.login_outcomes)

    def _decides_alone(self) -> bool:
        limits = self.door.limits
        counted = (
            limits.connections, limits.client_connections, limits.tunnels, limits.client_tunnels,
            limits.client_requests_per_second,
        )  # fmt: skip
        has_policy = bool(self.access.rules) or not self.access.allow_others
        return self._login is None and not has_policy and all(limit is None for limit in counted)

    async def aclose(self) -> None:
        """Answer nobody any more."""
        if self._login is not None:
            await self._login.aclose()

    async def admit(self, request: ClientRequest, asking: Asking) -> RefusesAt | None:
        """Let a request go on; set who asks as soon as that is known.

        Returns: what is still to be asked of each address of its target, or None.
        Raises:  Refused: 403, 407, 429, 503.
        """
        if refusal := self.door.refuses_request(request.peer):
            raise Refused(refusal)
        if self._login is not None and self._login.before_access:
            asking.user = await self._login.user_of(request)
        head = request.head
        target = head.to.endpoint if isinstance(head.to, AbsoluteTarget) else head.to
        if target is None:
            return None
        if self.access.rules:
            return await self._by_rules(request, target, asking)
        if reason := self.access.refuses(target):
            raise Refused(self._denied(reason))
        if not self.access.allow_others:
            raise Refused(self._denied("no rule allows it"))
        return None

    async def _by_rules(self, request: ClientRequest, target: Endpoint, asking: Asking) -> RefusesAt | None:
        access, door = self.access, self.door
        asked = Asked(
            request.head.line.method, target, host_of(request.peer),
            user=asking.user,
            user_agent=functools.partial(_user_agent, request),
            certificate=request.certificate,
            open_tunnels=lambda: door.tunnels,
            client_tunnels=lambda: door.tunnels_of(request.peer),
        )  # fmt: skip
        answer = access.decide(asked)
        needs_user = answer is Need.USER or (answer is Need.ADDRESS and access.asks_for_user)
        if needs_user and asked.user is None and self._login is not None:
            asked.user = asking.user = await self._login.user_of(request)
            answer = access.decide(asked)
        return self._act_on(answer, access, asked)

    def check_target(self, target: Endpoint, peer: str) -> RefusesAt | None:
        """As `admit`, for a connection that leads to one target only: nobody on it can be asked to log in."""
        access, door = self.access, self.door
        asked = Asked(
            "CONNECT", target, host_of(peer),
            open_tunnels=lambda: door.tunnels,
            client_tunnels=lambda: door.tunnels_of(peer),
        )  # fmt: skip
        return self._act_on(access.decide(asked), access, asked)

    def _act_on(self, answer: str | Need | None, access: Access, asked: Asked) -> RefusesAt | None:
        if answer is Need.ADDRESS:
            return lambda host: self._refusal_at(access, asked, host)
        if answer is Need.USER:
            answer = "it is for users only, and there are none here"
        if answer is not None:
            raise Refused(self._denied(answer))
        return None

    def _refusal_at(self, access: Access, asked: Asked, host: str) -> Refusal | None:
        reason = access.refuses_at(asked, host)
        return None if reason is None else self._denied(reason)

    def _denied(self, reason: str) -> Refusal:
        return denied(reason, tells=self.access.tell_reason)


def _user_agent(request: ClientRequest) -> str:
    values = request.head.values(b"user-agent")
    return values[0].decode("latin-1") if values else ""
