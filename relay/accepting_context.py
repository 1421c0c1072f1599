"""The proxy's side of NTLM and Kerberos contexts, made by pyspnego (an `AcceptingContext`).

Users of NTLM stand in the file that NTLM_USER_FILE names (DOMAIN:USER:PASSWORD on a line); keys of Kerberos
in the keytab that KRB5_KTNAME names. Both are pyspnego's and libkrb5's own ways; `TokenKeys` puts them there.
"""

import contextlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from protocol.errors import AuthMalformed, LoginUnusable
from protocol.ntlm_message import whole_negotiate
from relay.security_context import UNREADABLE, loaded_spnego

if TYPE_CHECKING:
    from spnego import ContextProxy


class AcceptingSecurityContext:
    """One exchange of tokens with a client.

    Args:
        mechanism: "ntlm", or "negotiate" for both NTLM and Kerberos.
        service: SERVICE/NAME whose key must be in the keytab; None: HTTP of any name in it.
        keys_for: puts in place what checks a token, for the time of a step.
    """

    def __init__(
        self,
        mechanism: str,
        service: str | None = None,
        keys_for: Callable[[bytes], AbstractContextManager[None]] = lambda _: contextlib.nullcontext(),
    ) -> None:
        self._keys_for = keys_for
        self._mechanism = mechanism
        self._service, _, self._host = (service or "HTTP/").partition("/")
        self._context: ContextProxy | None = None

    @property
    def complete(self) -> bool:
        """Whether the client is known."""
        return self._context is not None and self._context.complete

    @property
    def mechanism(self) -> str | None:
        """What it came to: "ntlm" or "kerberos"."""
        return None if self._context is None else self._context.negotiated_protocol

    @property
    def user(self) -> str | None:
        """DOMAIN\\\\user or user@REALM, once complete."""
        return self._context.client_principal if self._context is not None and self.complete else None

    def step(self, token: bytes | None) -> bytes | None:
        """Take the client's token.

        Raises: AuthMalformed for one that cannot be read or is wrong; LoginUnusable when this side lacks a
            library, a file of users or a key.
        """
        loaded_spnego()
        from spnego.exceptions import SpnegoError

        try:
            with self._keys_for(token or b""):
                if self._context is None:
                    self._context = self._made()
                return self._context.step(None if token is None else whole_negotiate(token))
        except (SpnegoError, *UNREADABLE) as error:
            raise AuthMalformed(f"the client's login token does not hold ({type(error).__name__})") from None

    def _made(self) -> "ContextProxy":
        from spnego import server
        from spnego.exceptions import SpnegoError

        try:
            return server(hostname=self._host or None, service=self._service, protocol=self._mechanism)  # type: ignore[arg-type]
        except (SpnegoError, ImportError) as error:
            raise LoginUnusable(f"logins cannot be accepted here ({type(error).__name__})") from None
