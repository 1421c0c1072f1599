"""LoginGate: asks who a client is, in all the ways that the profile offers."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from relay.accounts import Accounts
from relay.backoff import Backoff
from relay.client_request import ClientRequest
from relay.limits import client_of
from relay.login import Accepted, Continue, Conversation, Credentials, LoginScheme
from relay.login_hashes import DEFAULT_REALM
from relay.logins import LOGINS
from relay.refusal import Refusal, login_required, malformed, too_many
from relay.refused import Refused
from relay.users import Users

FIELD = b"proxy-authorization"


@dataclass(frozen=True)
class Login:
    """How users log in.

    users: who they are. schemes: offered, in this order. options: of each scheme, by its name.
    before_access: ask first, then apply the rules of the policy; else only a rule with `user` makes us ask.
    """

    users: Users
    realm: str = DEFAULT_REALM
    schemes: Sequence[str] = ("Basic",)
    options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    before_access: bool = True


class StepRefused(Refused):
    """A login that goes on: the reply leaves the connection open."""


class LoginGate:
    """Args: login: from the profile. backoff: outlives the reading of a new profile."""

    def __init__(self, login: Login, backoff: Backoff, outcomes: Counter[str] | None = None) -> None:
        self.before_access = login.before_access
        self.outcomes = Counter() if outcomes is None else outcomes
        self.backoff = backoff
        self._accounts = Accounts(login.users)
        self._schemes: dict[str, LoginScheme] = {
            name.lower(): LOGINS[name](self._accounts, login.realm, **login.options.get(name, {}))
            for name in login.schemes
        }

    async def aclose(self) -> None:
        """Answer nobody any more."""
        await self._accounts.aclose()

    async def user_of(self, request: ClientRequest) -> str:
        """Who asks. Raises: Refused: 407 without a login that is right, 429 while failures are too recent."""
        conversation = request.conversation
        conversation.fields = ()
        values = request.head.values(FIELD)
        if not values:
            if conversation.user is not None:
                return conversation.user
            raise self._refused("missing", login_required("a login is required", self._challenges()))
        if len(values) > 1:
            raise Refused(malformed("more than one Proxy-Authorization field"))
        client = client_of(request.peer)
        if wait_seconds := self.backoff.wait_seconds(client):
            words = "too many logins from this address have failed"
            raise self._refused("held-back", too_many(words, wait_seconds))
        return await self._check(request, values[0].decode("latin-1"), client, conversation)

    async def _check(
        self, request: ClientRequest, value: str, client: str, conversation: Conversation
    ) -> str:
        name, _, text = value.partition(" ")
        scheme = self._schemes.get(name.lower())
        if scheme is None:
            words = "this way to log in is not offered here"
            raise self._refused("missing", login_required(words, self._challenges()))
        if conversation.scheme is not scheme:
            # Also after the profile was read again: a step that answers another scheme's proves nothing
            conversation.scheme, conversation.state = scheme, None
        line = request.head.line
        credentials = Credentials(text.strip(" \t"), line.method, line.target, client)
        verdict = await scheme.check(credentials, conversation)
        if isinstance(verdict, Continue):
            self.outcomes["continued"] += 1
            conversation.user = None
            raise StepRefused(login_required("the login goes on", [verdict.challenge]))
        conversation.state = None
        if isinstance(verdict, Accepted):
            self.outcomes["accepted"] += 1
            self.backoff.succeeded(client)
            if scheme.connection_bound:
                conversation.user = verdict.user
            conversation.fields = verdict.fields
            return verdict.user
        conversation.user = None
        if verdict.counts:
            self.backoff.failed(client)
        challenges = self._challenges({scheme.name.lower(): verdict.challenges})
        outcome = "failed" if verdict.counts else "stale"
        raise self._refused(outcome, login_required(verdict.words, challenges, was_wrong=verdict.counts))

    def _challenges(self, instead: Mapping[str, Sequence[str]] | None = None) -> list[str]:
        instead = instead or {}
        return [
            value
            for name, scheme in self._schemes.items()
            for value in instead.get(name) or scheme.challenges()
        ]

    def _refused(self, outcome: str, refusal: Refusal) -> Refused:
        self.outcomes[outcome] += 1
        return Refused(refusal)
