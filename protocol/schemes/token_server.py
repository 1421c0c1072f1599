"""The proxy's side of NTLM and Negotiate: one verifier for each connection (RFC 4559)."""

import base64
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from protocol.errors import AuthMalformed
from protocol.ntlm_message import answers_in_version_1
from protocol.scheme import parse_challenges
from protocol.token_exchange import TokenContext, TokenExchange


class AcceptingContext(TokenContext, Protocol):
    """A context that finds out who the client is.

    Attributes:
        user: who it is, once `complete`; None before.
    """

    @property
    def user(self) -> str | None: ...


@dataclass(frozen=True)
class Accepting:
    """What a Proxy-Authorization came to.

    Attributes:
        user: who it is, None when that is open or refused.
        token: the value for Proxy-Authenticate, of the next 407 or of the 2xx; None: none.
        is_refused: the login is over, and was wrong.
        is_version_1: it was refused for that, whoever it is.
    """

    user: str | None = None
    token: str | None = None
    is_refused: bool = False
    is_version_1: bool = False


class TokenVerifier:
    """The login of one connection; it holds for that connection alone.

    Args:
        name: NTLM or Negotiate.
        new_context: makes an accepting context.
    """

    def __init__(self, name: str, new_context: Callable[[], AcceptingContext]) -> None:
        self._name = name
        self._new_context = new_context
        self._context: AcceptingContext | None = None

    def verify(self, authorization: str) -> Accepting:
        """Take the next Proxy-Authorization (the whole value) of the connection.

        Raises: AuthMalformed when it is not of this scheme, or holds no token.
        """
        given = parse_challenges([authorization])
        token = TokenExchange(self._name, self._new_context).token_in(given)
        if token is None or given[0].scheme.lower() != self._name.lower():
            raise AuthMalformed(f"the credentials hold no {self._name} token")
        if self._context is None or self._context.complete:
            self._context = self._new_context()
        try:
            answer = self._context.step(token)
        except AuthMalformed:
            self._context = None
            return Accepting(is_refused=True, is_version_1=answers_in_version_1(token))
        value = None if answer is None else f"{self._name} {base64.b64encode(answer).decode('ascii')}"
        if self._context.complete:
            return Accepting(self._context.user, value)
        return Accepting(token=value, is_refused=value is None)
