"""TokenLogin: what NTLM and Negotiate have in common: tokens in turn, over one connection (RFC 4559)."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from protocol.errors import AuthMalformed, LoginUnusable
from protocol.ntlm_message import ClaimedAccount
from protocol.schemes.token_server import Accepting, TokenVerifier
from relay.accepting_context import AcceptingSecurityContext
from relay.accounts import Accounts
from relay.login import Accepted, Continue, Conversation, Credentials, Failed, Verdict

# NTLM needs two, Kerberos one, SPNEGO one more to agree; who sends more is not on the way to an end.
MAX_STEPS = 6


@dataclass
class _Exchange:
    """The exchange of one connection. context: the last one made, which knows the client in the end."""

    verifier: TokenVerifier
    context: AcceptingSecurityContext | None = None
    steps: int = 0


class TokenLogin:
    """Args: name: NTLM or Negotiate. limit_characters: of a token in base64; longer ones are not read."""

    connection_bound: Final = True

    def __init__(self, name: str, accounts: Accounts, limit_characters: int) -> None:
        self.name = name
        self._accounts = accounts
        self._limit_characters = limit_characters

    def challenges(self) -> Sequence[str]:
        """The bare name: the client speaks first."""
        return (self.name,)

    async def check(self, credentials: Credentials, conversation: Conversation) -> Verdict:
        """Take one token; all of an exchange are judged on one connection."""
        if len(credentials.text) > self._limit_characters:
            return Failed(f"the {self.name} token has more than {self._limit_characters} characters")
        if conversation.state is None:
            conversation.state = self._new_exchange()
        exchange: _Exchange = conversation.state
        exchange.steps += 1
        if exchange.steps > MAX_STEPS:
            return Failed(f"the {self.name} login came to no end in {MAX_STEPS} steps")
        work = partial(exchange.verifier.verify, f"{self.name} {credentials.text}")
        try:
            found = await self._accounts.step(work)
        except AuthMalformed:
            return Failed(f"the credentials are not of the form that {self.name} has")
        except LoginUnusable as error:
            return Failed(f"{self.name}: {error}", counts=False)
        return self._verdict(found, exchange)

    def _new_exchange(self) -> _Exchange:
        def new_context() -> AcceptingSecurityContext:
            keys = self._accounts.token_keys
            exchange.context = AcceptingSecurityContext(self.name.lower(), None, keys.lent_for)
            return exchange.context

        exchange = _Exchange(TokenVerifier(self.name, new_context))
        return exchange

    def _verdict(self, found: Accepting, exchange: _Exchange) -> Verdict:
        if found.is_version_1:
            return Failed("the client logs in by NTLM version 1, and only version 2 is taken")
        if found.user is None:
            return Continue(found.token) if found.token and not found.is_refused else Failed()
        user: str | None = found.user
        if exchange.context is not None and exchange.context.mechanism == "ntlm":
            domain, _, name = found.user.rpartition("\\")
            user = self._accounts.token_keys.user_of(ClaimedAccount(domain, name))
        if user is None:
            return Failed()
        fields = (("Proxy-Authenticate", found.token),) if found.token else ()
        return Accepted(user, fields)
