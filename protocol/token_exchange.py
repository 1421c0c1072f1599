"""Tokens in turn, as NTLM and Negotiate exchange them: base64 behind the scheme's name (RFC 4559)."""

import base64
import binascii
from collections.abc import Callable, Sequence
from typing import Final, Protocol

from protocol.errors import AuthMalformed
from protocol.scheme import Challenge

MAX_TOKEN_BYTES: Final = 81_920
"""Kerberos tickets of users in many groups take up to 65,535; in base64 this fits into one head."""


class TokenContext(Protocol):
    """What makes and reads tokens: a security context of NTLM or GSSAPI.

    Attributes:
        complete: nothing more is expected from the peer.
        mechanism: what it came to, in lower case: "ntlm", "kerberos"; None as long as that is open.
    """

    @property
    def complete(self) -> bool: ...

    @property
    def mechanism(self) -> str | None: ...

    def step(self, token: bytes | None) -> bytes | None:
        """Take the peer's token (None at first), return ours, or None when there is nothing more to say.

        It may wait for another machine, within limits of its own.

        Raises: AuthMalformed for a token that cannot be read or does not hold; LoginUnusable.
        """
        ...


class TokenExchange:
    """One exchange after the other, each with a context of its own.

    Attributes:
        steps: tokens given in the exchange under way.
    """

    def __init__(self, name: str, new_context: Callable[[], TokenContext]) -> None:
        self._name = name
        self._new_context = new_context
        self.context: TokenContext | None = None
        self.steps = 0

    def begin(self) -> str | None:
        """Give the first token, of a new context."""
        self.context = self._new_context()
        self.steps = 0
        return self._given(self.context.step(None))

    def go_on(self, challenges: Sequence[Challenge]) -> str | None:
        """Answer the proxy's token; None when it gave none, which refuses ours.

        Raises: AuthMalformed.
        """
        token = self.token_in(challenges)
        if self.context is None or token is None:
            return None
        return self._given(self.context.step(token))

    def token_in(self, challenges: Sequence[Challenge]) -> bytes | None:
        """Return the first token among `challenges`. Raises: AuthMalformed."""
        text = next((one.token68 for one in challenges if one.token68 is not None), None)
        if text is None:
            return None
        try:
            token = base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError):
            raise AuthMalformed(f"the proxy's {self._name} token is no base64") from None
        if len(token) > MAX_TOKEN_BYTES:
            raise AuthMalformed(
                f"the proxy's {self._name} token has {len(token)} bytes, the limit is {MAX_TOKEN_BYTES}"
            )
        return token

    def _given(self, token: bytes | None) -> str | None:
        if token is None:
            return None
        self.steps += 1
        return f"{self._name} {base64.b64encode(token).decode('ascii')}"
