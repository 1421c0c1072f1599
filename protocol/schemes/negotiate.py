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

    def __repr__(self) -> str:
        return "Negotiate(<hidden>)"

    @property
    def has_said_secret(self) -> bool:
        """Whether NTLM inside has answered for a password."""
        return self._exchange.has_said_secret

    @property
    def mechanism(self) -> str | None:
        """What it came to: "kerberos" or "ntlm"."""
        return self._exchange.mechanism

    def step(self, challenges: Sequence[Challenge]) -> str | None:
        """Give the first token, then answers to the proxy's; None when it refuses ours by giving none."""
        return self._exchange.step(challenges)

    def again(self) -> str | None:
        """Give a first token: a ticket's proof is good for one use, and NTLM for one connection."""
        return self._exchange.begin()

    def conclude(self, challenges: Sequence[Challenge], info: str | None) -> None:
        """Let the context check the proxy's proof of itself. Raises: AuthMalformed when it does not hold."""
        self._exchange.conclude(challenges)
