"""Security contexts of NTLM and Kerberos, made by pyspnego: what gives the tokens of a login.

They read the environment, the clock and files, and ask a Kerberos server (KDC) over the network, so they are
no part of `protocol`. A step may wait as long as the KDC does: run it where it holds up nobody.
"""

import importlib.util
import logging
import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from protocol.errors import AuthMalformed, LoginUnusable
from relay.channel_binding import ChannelBinding
from relay.kerberos_words import kerberos_code, kerberos_words
from relay.login_hashes import hash_in, nt_verifier

if TYPE_CHECKING:
    from collections.abc import Callable

    from spnego import ContextProxy

# What pyspnego's readers raise for tokens that are none, besides its own error: found by feeding it noise.
UNREADABLE = (
    struct.error, ValueError, LookupError, TypeError, ArithmeticError, AttributeError, StopIteration,
)  # fmt: skip

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
        binding: to the TLS connection, of which the proxy may demand it.
    """

    user: str | None
    password: str | None
    host: str
    service: str = "HTTP"
    is_address: bool = False
    binding: ChannelBinding = field(default_factory=ChannelBinding)

    def __repr__(self) -> str:
        return f"Account({self.user!r}, password=<hidden>, {self.spn!r})"

    @property
    def spn(self) -> str:
        """The service principal name asked for, without its realm."""
        return f"{self.service}/{self.host}"


Begun = tuple["ContextProxy", bytes | None]
"""A context of pyspnego's, and its first token."""


class SecurityContext:
    """One exchange of tokens, for NTLM or Negotiate (a `TokenContext`).

    Args:
        begin: one of this file's functions `kerberos`, `ntlm_in_negotiate` and `ntlm`.
    """

    def __init__(self, begin: "Callable[[Account], Begun]", account: Account) -> None:
        self._begin = begin
        self._account = account
        self._context: ContextProxy | None = None

    @property
    def complete(self) -> bool:
        """Whether nothing more is expected from the proxy."""
        return self._context is not None and self._context.complete

    @property
    def mechanism(self) -> str | None:
        """What it is: "ntlm" or "kerberos"; None before the first token."""
        return None if self._context is None else self._context.negotiated_protocol

    def step(self, token: bytes | None) -> bytes | None:
        """Give the first token, or the answer to the proxy's.

        Raises: LoginUnusable when there can be none, with what to do; AuthMalformed for the proxy's token.
        """
        if self._context is None:
            self._context, first = self._begin(self._account)
            return first
        from spnego.exceptions import SpnegoError

        try:
            return self._context.step(token)
        except (SpnegoError, *UNREADABLE) as error:
            # Never the error's own words: they may quote the token
            raise AuthMalformed(f"the proxy's login token does not hold ({type(error).__name__})") from None


def ntlm(account: Account) -> "Begun":
    """NTLM by itself, all in Python. Raises: LoginUnusable."""
    spnego = loaded_spnego()
    options = spnego.NegotiateOptions.use_ntlm
    bindings = _bindings(spnego, account)
    context = spnego.client(
        account.user, account.password, protocol="ntlm", options=options, channel_bindings=bindings
    )
    return context, context.step()


def ntlm_in_negotiate(account: Account) -> "Begun":
    """NTLM as Negotiate wraps it (RFC 4178). Raises: LoginUnusable."""
    spnego = loaded_spnego()
    # A password, whatever it says it serves, pyspnego would also try at the KDC: an attempt nobody counts
    nt_hash = None if account.password is None else hash_in(nt_verifier(account.password))
    return _negotiate(spnego, account, spnego.NTLMHash(account.user, nt_hash=nt_hash))


def kerberos(account: Account) -> "Begun":
    """Kerberos, with the ticket that is there, or with one that the password fetches.

    Raises: LoginUnusable; is_spent when the KDC has refused the password, which counts as an attempt.
    """
    spnego = loaded_spnego()
    missing = [name for name in ("gssapi", "krb5") if importlib.util.find_spec(name) is None]
    if missing:
        raise LoginUnusable(f"Kerberos needs {' and '.join(missing)}, which is not installed: {EXTRA}")
    if account.is_address:
        raise LoginUnusable(
            f"a Kerberos ticket is for a name, and the proxy is given by its address {account.host}: "
            "give its name, or --proxy-spn HTTP/NAME"
        )
    if account.user is None or account.password is None:
        return _with_ticket(spnego, account, _ticket_cache(spnego)(account.user))
    from relay.kerberos_ticket import fetched_ticket

    with fetched_ticket(account.user, account.password, account.spn) as cache:
        return _with_ticket(spnego, account, spnego.KerberosCCache(cache))


def _with_ticket(spnego: Any, account: Account, login: Any) -> "Begun":
    from spnego.exceptions import SpnegoError

    try:
        try:
            return _negotiate(spnego, account, login)
        except SpnegoError as error:
            if kerberos_code(error) is not None:
                raise
            # Behind Negotiate the cause is hidden by NTLM, which was no choice; asked alone Kerberos tells it
            spnego.client(login, hostname=account.host, service=account.service, protocol="kerberos").step()
            raise
    except SpnegoError as error:
        words, _ = kerberos_words(kerberos_code(error), account.spn, has_password=False)
        raise LoginUnusable(words) from None


def _negotiate(spnego: Any, account: Account, login: Any) -> "Begun":
    context = spnego.client(
        login,
        hostname=account.host,
        service=account.service,
        protocol="negotiate",
        options=spnego.NegotiateOptions.use_negotiate,
        channel_bindings=_bindings(spnego, account),
    )
    return context, context.step()


def _bindings(spnego: Any, account: Account) -> Any:
    data = account.binding.application_data
    return None if data is None else spnego.channel_bindings.GssChannelBindings(application_data=data)


def loaded_spnego() -> Any:
    """Return pyspnego, which is imported only when it is needed. Raises: LoginUnusable without it."""
    try:
        import spnego
        import spnego.channel_bindings
    except ImportError:
        raise LoginUnusable("it needs pyspnego, which is not installed (pip install pyspnego)") from None
    # At DEBUG it logs every token, and a token is as good as a login for a while
    logger = logging.getLogger("spnego")
    if logger.level == logging.NOTSET:
        logger.setLevel(logging.INFO)
    return spnego


def _ticket_cache(spnego: Any) -> Any:
    """A kind of credential that serves Kerberos alone: pyspnego's would look for a file of NTLM's as well."""

    class TicketCache(spnego.CredentialCache):  # type: ignore[misc]
        @property
        def supported_protocols(self) -> list[str]:
            return ["kerberos"]

    return TicketCache
