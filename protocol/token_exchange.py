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
    """One exchange after the other, each with a context of its own: what NTLM and Negotiate share.

    Args:
        name: of the scheme. new_context: makes a client's context, one for each exchange.
    """

    def __init__(self, name: str, new_context: Callable[[], TokenContext]) -> None:
        self._name = name
        self._new_context = new_context
        self._context: TokenContext | None = None
        self._steps = 0

    @property
    def mechanism(self) -> str | None:
        """What the exchange under way came to: "kerberos" or "ntlm"; None before the first."""
        return None if self._context is None else self._context.mechanism

    @property
    def has_said_secret(self) -> bool:
        """Whether a password was answered for: by NTLM's third message, the first has nothing of it.

        A ticket tells nothing of the password either, and locks no account.
        """
        return self._steps > 1 and self.mechanism == "ntlm"

    def step(self, challenges: Sequence[Challenge]) -> str | None:
        """Give the first token, then answers to the proxy's; None when it refuses ours by giving none.

        Raises: AuthMalformed, LoginUnusable.
        """
        if self._context is None:
            return self.begin()
        token = None if self.has_said_secret else self.token_in(challenges)
        return None if token is None else self._given(self._context.step(token))

    def begin(self) -> str | None:
        """Give the first token, of a new context. Raises: LoginUnusable."""
        self._context = self._new_context()
        self._steps = 0
        return self._given(self._context.step(None))

    def conclude(self, challenges: Sequence[Challenge]) -> None:
        """Give the context the proxy's last token, which proves who the proxy is; many send none.

        Raises: AuthMalformed when it does not hold.
        """
        token = self.token_in(challenges)
        if self._context is not None and token is not None and not self._context.complete:
            self._context.step(token)

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
        self._steps += 1
        return f"{self._name} {base64.b64encode(token).decode('ascii')}"
