"""NTLM: three messages on one TCP connection ([MS-NTHT]; the messages are [MS-NLMP])."""

from collections.abc import Callable, Sequence
from typing import Final

from protocol.scheme import Challenge
from protocol.token_exchange import TokenContext, TokenExchange


class Ntlm:
    """Log in with a password, which goes out as the answer to the proxy's challenge.

    Args:
        new_context: makes a client's NTLM context, one for each exchange.
    """

    name: Final = "NTLM"
    connection_bound: Final = True

    def __init__(self, new_context: Callable[[], TokenContext]) -> None:
        self._exchange = TokenExchange(self.name, new_context)

    def __repr__(self) -> str:
        return "Ntlm(<hidden>)"

    @property
    def has_said_secret(self) -> bool:
        """Whether the third message has gone out."""
        return self._exchange.has_said_secret

    def step(self, challenges: Sequence[Challenge]) -> str | None:
        """Give the first message, then the one that answers the proxy's; None after that."""
        return self._exchange.step(challenges)

    def again(self) -> str | None:
        """Give a first message: every connection is logged in by itself."""
        return self._exchange.begin()

    def conclude(self, challenges: Sequence[Challenge], info: str | None) -> None:
        """Accept: the proxy proves nothing in NTLM, and may let in after the first message already."""
