"""NTLM, the proxy's side: three messages over one connection, checked with NT hashes; NTLMv2 only."""

from relay.accounts import Accounts
from relay.failure import SettingsError
from relay.login_hashes import NT
from relay.token_login import TokenLogin

# A message with names and target information of the greatest lengths has some 5,000 bytes; in base64.
MAX_CHARACTERS = 8192 * 4 // 3


class Ntlm(TokenLogin):
    """Raises: SettingsError when no user could log in."""

    def __init__(self, accounts: Accounts, realm: str) -> None:
        super().__init__("NTLM", accounts, MAX_CHARACTERS)
        users = accounts.users.verifiers
        if users and not any(NT in kinds for kinds in users.values()):
            raise SettingsError("no user has an NT hash; `relay proxy passwd --scheme ntlm` writes it")
