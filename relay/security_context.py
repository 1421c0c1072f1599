"""Security contexts of NTLM and Kerberos, made by pyspnego: what gives the tokens of a login.

They read the environment, the clock and files, and ask a Kerberos server (KDC) over the network, so they are
no part of `protocol`. A step may wait as long as the KDC does: run it where it holds up nobody.
"""

import importlib.util
import logging
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from protocol.errors import AuthMalformed, LoginUnusable
from relay.kerberos_words import kerberos_code, kerberos_words

if TYPE_CHECKING:
    from spnego import ContextProxy

# What pyspnego's readers raise for tokens that are none, besides its own error: found by feeding it noise.
_UNREADABLE = (struct.error, ValueError, LookupError, TypeError, ArithmeticError, AttributeError)

EXTRA = "pip install 'framework-relay[kerberos]'"


@dataclass(frozen=True)
class Account:
    """Who logs in where.

    Attributes:
        user: "user", "DOMAIN\\\\user" or "user@REALM"; None: whoever has a ticket here.
        password: None: only a ticket that is there already is used.
        host: the proxy's name, for the ticket.
        service: the first part of the service's name (SPN), mostly HTTP.
        is_address: `host` is an address, for which there are no tickets.
    """

    user: str | None
    password: str | None
    host: str
    service: str = "HTTP"
    is_address: bool = False

    def __repr__(self) -> str:
        return f"Account({self.user!r}, password=<hidden>, {self.spn!r})"

    @property
    def spn(self) -> str:
        """The service principal name asked for, without its realm."""
        return f"{self.service}/{self.host}"


class SecurityContext:
    """One exchange of tokens, for NTLM or Negotiate (a `TokenContext`)."""

    def __init__(self, scheme: str, account: Account) -> None:
        self._scheme = scheme
        self._account = account
        self._context: ContextProxy | None = None

    @property
    def complete(self) -> bool:
        """Whether nothing more is expected from the proxy."""
        return self._context is not None and self._context.complete

    @property
    def mechanism(self) -> str | None:
        """What it came to: "ntlm" or "kerberos"; None before the first token."""
        return None if self._context is None else self._context.negotiated_protocol

    def step(self, token: bytes | None) -> bytes | None:
        """Give the first token, or the answer to the proxy's.

        Raises: LoginUnusable when there can be none, with what to do; AuthMalformed for the proxy's token.
        """
        if self._context is None:
            first = _ntlm if self._scheme == "NTLM" else _negotiate
            self._context, made = first(self._account)
            return made
        from spnego.exceptions import SpnegoError

        try:
            return self._context.step(token)
        except (SpnegoError, *_UNREADABLE) as error:
            # Never the error's own words: they may quote the token
            kind = type(error).__name__
            raise AuthMalformed(f"the proxy's {self._scheme} token does not hold ({kind})") from None


def _spnego() -> Any:
    try:
        import spnego
    except ImportError:
        raise LoginUnusable("it needs pyspnego, which is not installed (pip install pyspnego)") from None
    # At DEBUG it logs every token, and a token is as good as a login for a while
    logger = logging.getLogger("spnego")
    if logger.level == logging.NOTSET:
        logger.setLevel(logging.INFO)
    return spnego


def _ntlm(account: Account) -> "tuple[ContextProxy, bytes | None]":
    spnego = _spnego()
    if account.user is None or account.password is None:
        raise LoginUnusable("it needs a user and a password")
    options = spnego.NegotiateOptions.use_ntlm
    context = spnego.client(account.user, account.password, protocol="ntlm", options=options)
    return context, context.step()


def _negotiate(account: Account) -> "tuple[ContextProxy, bytes | None]":
    """Kerberos where that is possible, else NTLM with the password.

    Raises: LoginUnusable; is_spent when the KDC has refused the password, which counts as an attempt.
    """
    spnego = _spnego()
    try:
        return _kerberos(account, spnego)
    except LoginUnusable as error:
        if error.is_spent or account.user is None or account.password is None:
            raise
    context = spnego.client(
        _only(spnego.Password, "ntlm")(account.user, account.password),
        hostname=account.host,
        service=account.service,
        protocol="negotiate",
        options=spnego.NegotiateOptions.use_negotiate,
    )
    return context, context.step()


def _kerberos(account: Account, spnego: Any) -> "tuple[ContextProxy, bytes | None]":
    missing = [name for name in ("gssapi", "krb5") if importlib.util.find_spec(name) is None]
    if missing:
        raise LoginUnusable(f"Kerberos needs {' and '.join(missing)}, which is not installed: {EXTRA}")
    if account.is_address:
        raise LoginUnusable(
            f"a Kerberos ticket is for a name, and the proxy is given by its address {account.host}: "
            "give its name, or --proxy-spn HTTP/NAME"
        )
    if account.password is None:
        login = _only(spnego.CredentialCache, "kerberos")(account.user)
    else:
        login = _only(spnego.Password, "kerberos")(account.user, account.password)
    from spnego.exceptions import SpnegoError

    try:
        context = spnego.client(
            login,
            hostname=account.host,
            service=account.service,
            protocol="negotiate",
            options=spnego.NegotiateOptions.use_negotiate,
        )
        return context, context.step()
    except SpnegoError as error:
        code = kerberos_code(error)
        words, is_spent = kerberos_words(code, account.spn, has_password=account.password is not None)
        raise LoginUnusable(words, is_spent=is_spent) from None


def _only(credential: Any, mechanism: str) -> Any:
    """A kind of credential that serves one mechanism: pyspnego would try the password with each in turn."""

    class Only(credential):  # type: ignore[misc]
        @property
        def supported_protocols(self) -> list[str]:
            return [mechanism]

    return Only
