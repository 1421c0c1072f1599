"""Negotiate, the proxy's side: Kerberos with the keys of a keytab, and NTLM (RFC 4559, RFC 4178)."""

import importlib.util
from pathlib import Path
from typing import Annotated

from relay.accounts import Accounts
from relay.failure import SettingsError
from relay.login import Accepted, Conversation, Credentials, Verdict
from relay.login_hashes import NT
from relay.security_context import EXTRA
from relay.token_login import TokenLogin
from relay.toml_table import Between

# As much as one field of a head may have.
MAX_CHARACTERS = 65_536
# How every keytab begins (MIT krb5's file format, version 2).
_MAGIC = b"\x05\x02"


class Negotiate(TokenLogin):
    """Args: keytab: a path. own_realm: users of this Kerberos realm are named without it.

    Raises: SettingsError for a keytab that is none, or when nobody could log in.
    """

    def __init__(
        self,
        accounts: Accounts,
        realm: str,
        *,
        keytab: Annotated[str | None, Between(1, 4096)] = None,
        own_realm: Annotated[str | None, Between(1, 255)] = None,
    ) -> None:
        super().__init__("Negotiate", accounts, MAX_CHARACTERS)
        self._own_end = None if own_realm is None else f"@{own_realm}"
        users = accounts.users.verifiers
        if keytab is not None:
            _check_keytab(Path(keytab))
            accounts.token_keys.keytab = keytab
        elif users and not any(NT in kinds for kinds in users.values()):
            raise SettingsError("expected keytab, or users with an NT hash for the NTLM inside")

    async def check(self, credentials: Credentials, conversation: Conversation) -> Verdict:
        """As NTLM; a Kerberos user is user@REALM, or the user alone in our own realm."""
        verdict = await super().check(credentials, conversation)
        if isinstance(verdict, Accepted) and self._own_end is not None:
            return Accepted(verdict.user.removesuffix(self._own_end), verdict.fields)
        return verdict


def _check_keytab(path: Path) -> None:
    missing = [name for name in ("gssapi", "krb5") if importlib.util.find_spec(name) is None]
    if missing:
        what = " and ".join(missing)
        raise SettingsError(f"keytab: Kerberos needs {what}, which is not installed: {EXTRA}")
    try:
        with path.open("rb") as file:
            begin = file.read(len(_MAGIC))
    except OSError as error:
        raise SettingsError(f"keytab: {path}: cannot be read: {error.strerror}") from None
    if begin != _MAGIC:
        raise SettingsError(f"keytab: {path}: this is no keytab; expected what kadmin's ktadd writes")
