"""Negotiate: a Kerberos ticket, or NTLM, whichever both sides have (RFC 4559, RFC 4178)."""

from collections.abc import Callable, Sequence
from typing import Final

from protocol.scheme import Challenge
from protocol.token_exchange import TokenContext, TokenExchange


class Negotiate:
    """Log in with what a GSSAPI context says; one leg with Kerberos, two with NTLM inside.

    Args:
        new_context: makes a client's SPNEGO context, one for each exchange.
    """

    name: Final = "Negotiate"
    connection_bound: Final = True

    def __init__(self, new_context: Callable[[], TokenContext]) -> None:
        self._exchange = TokenExchange(self.name, new_context)
        self._is_begun = False

    def __repr__(self) -> str:
        return "Negotiate(<hidden>)"

    @property
    def has_said_secret(self) -> bool:
        """Whether a password was answered for; a ticket tells nothing of it, and locks no account."""
        return self.mechanism == "ntlm" and self._exchange.steps > 1

    @property
    def mechanism(self) -> str | None:
        """What it came to: "kerberos" or "ntlm"."""
        return None if self._exchange.context is None else self._exchange.context.mechanism

    def step(self, challenges: Sequence[Challenge]) -> str | None:
        """Give the first token, then answers to the proxy's; None when it refuses ours by giving none."""
        if not self._is_begun:
            self._is_begun = True
            return self._exchange.begin()
        return None if self.has_said_secret else self._exchange.go_on(challenges)

    def again(self) -> str | None:
        """Give a first token: a ticket's proof is good for one use, and NTLM for one connection."""
        return self._exchange.begin()

    def conclude(self, challenges: Sequence[Challenge], info: str | None) -> None:
        """Give the context the proxy's last token, which proves who the proxy is; many send none.

        Raises: AuthMalformed when it does not hold.
        """
        context = self._exchange.context
        token = self._exchange.token_in(challenges)
        if context is not None and token is not None and not context.complete:
            context.step(token)
