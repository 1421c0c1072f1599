"""Which logins a proxy may be given, in which order: the rules of one hop, and the schemes made of them."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final, Literal

from relay.channel_binding import ChannelBinding
from relay.failure import SettingsError

if TYPE_CHECKING:
    from protocol.scheme import Scheme

STRONGEST_FIRST: Final = ("negotiate", "ntlm", "digest", "basic")
"""Kerberos proves without a word about the password; NTLM and Digest let it be guessed; Basic says it."""

MAX_SPN_CHARACTERS: Final = 255
_SPN_PART: Final = re.compile(r"[A-Za-z0-9._-]+\Z")


@dataclass(frozen=True)
class LoginRules:
    """How to log in to one proxy.

    Attributes:
        schemes: those that may be used, the first that the proxy offers is.
        charset: of user and password in Basic, and in Digest where the proxy does not say UTF-8.
        spn: SERVICE/NAME to ask a Kerberos ticket for, in place of HTTP/ and the proxy's name.
    """

    schemes: tuple[str, ...] = STRONGEST_FIRST
    charset: Literal["utf-8", "latin-1"] = "utf-8"
    spn: tuple[str, str] | None = None

    @classmethod
    def parse(
        cls,
        schemes: str | None = None,
        charset: str | None = None,
        spn: str | None = None,
        prefix: str = "--proxy-",
    ) -> "LoginRules":
        """Read the values of --proxy-auth, --proxy-charset and --proxy-spn.

        Args: prefix: what errors put before `auth`, `charset` and `spn`. Raises: SettingsError.
        """
        return cls(
            _schemes_of(schemes, f"{prefix}auth"),
            _charset_of(charset, f"{prefix}charset"),
            _spn_of(spn, f"{prefix}spn"),
        )


def schemes_for(
    user: str | None,
    password: str | None,
    rules: LoginRules,
    *,
    target: str,
    host: str,
    is_address: bool,
    binding: ChannelBinding,
) -> "list[Scheme]":
    """Return the schemes that these credentials serve, in the order of `rules`.

    Without a user only a Kerberos ticket that is there already can log in.

    Args:
        target: as it stands in CONNECT.
        host: the proxy's name. is_address: it is an address, not a name.
        binding: what NTLM and Negotiate are bound to; it is looked at when a login begins.
    Raises: LocalWireError for what cannot be sent.
    """
    from protocol.schemes import Basic, Digest, Negotiate, Ntlm
    from relay.security_context import Account, SecurityContext, kerberos, ntlm, ntlm_in_negotiate

    service, name = rules.spn or ("HTTP", host)
    is_nameless = is_address and rules.spn is None
    account = Account(user, password, name, service, is_address=is_nameless, binding=binding)
    ticket = Negotiate(partial(SecurityContext, kerberos, account))
    if user is None or password is None:
        return [ticket] if "negotiate" in rules.schemes else []
    made: dict[str, Callable[[], Sequence[Scheme]]] = {
        "negotiate": lambda: [ticket, Negotiate(partial(SecurityContext, ntlm_in_negotiate, account))],
        "ntlm": lambda: [Ntlm(partial(SecurityContext, ntlm, account))],
        "digest": lambda: [Digest(user, password, uri=target, charset=rules.charset)],
        "basic": lambda: [Basic(user, password, charset=rules.charset)],
    }
    return [scheme for name in rules.schemes for scheme in made[name]()]


def check_login(user: str, password: str, rules: LoginRules, what: str) -> None:
    """See that user and password can be sent, before anything is. Raises: SettingsError, without them."""
    from protocol.errors import LocalWireError
    from protocol.schemes.basic import Basic
    from protocol.schemes.digest import Digest

    try:
        if "basic" in rules.schemes:
            Basic(user, password, charset=rules.charset)
        Digest(user, password, uri="", charset=rules.charset)
    except LocalWireError as error:
        raise SettingsError(f"{what}: {error}") from None


def _schemes_of(text: str | None, what: str) -> tuple[str, ...]:
    if text is None:
        return STRONGEST_FIRST
    names = tuple(name.strip().lower() for name in text.split(","))
    if not names or len(set(names)) != len(names) or set(names) - set(STRONGEST_FIRST):
        known = ",".join(STRONGEST_FIRST)
        raise SettingsError(f"{what}: {_show(text)}; expected some of {known}, each once")
    return names


def _charset_of(text: str | None, what: str) -> Literal["utf-8", "latin-1"]:
    match (text or "utf-8").lower():
        case "utf-8":
            return "utf-8"
        case "latin-1":
            return "latin-1"
    raise SettingsError(f"{what}: {_show(text or '')}; expected utf-8 or latin-1")


def _spn_of(text: str | None, what: str) -> tuple[str, str] | None:
    if text is None:
        return None
    service, slash, host = text.partition("/")
    if not slash:
        service, host = "HTTP", text
    if len(text) > MAX_SPN_CHARACTERS or not _SPN_PART.match(service) or not _SPN_PART.match(host):
        raise SettingsError(f"{what}: {_show(text)}; expected HTTP/NAME, without a realm")
    return service, host


def _show(text: str) -> str:
    return ascii(text if len(text) <= 80 else text[:77] + "...")
