"""TokenKeys: what pyspnego and libkrb5 find on this machine when they check a client's token.

Both look in files that the environment names. pyspnego gets a file in memory, which nothing else can open by
name, and which for the time of one step holds the NT hash of the one account that the client claims to be: a
random one for an account that is not known, which so costs the same.
"""

import contextlib
import os
import secrets
import threading
from collections.abc import Iterator, Mapping

from protocol.errors import AuthMalformed
from protocol.ntlm_message import ClaimedAccount, claimed_account
from relay.login_hashes import NT, hash_in
from relay.users import MAX_USER_CHARACTERS, Users, normal

# The environment, and what stands in the file, are the whole process's: one step at a time.
_LOCK = threading.Lock()
# What a domain has in front of its user in a users file.
_BETWEEN = "\\"
_NO_LM_HASH = "0" * 32


class TokenKeys:
    """Args: users: those with NT hashes may log in with NTLM.

    Attributes: keytab: a path; None: no Kerberos.
    """

    def __init__(self, users: Users) -> None:
        self.keytab: str | None = None
        self._users = users
        self._by_folded = _folded(users.verifiers)
        self._descriptor: int | None = None
        self._before: dict[str, str | None] = {}

    def user_of(self, account: ClaimedAccount) -> str | None:
        """The name in the users file of who NTLM calls so: DOMAIN\\\\user, else user for any domain.

        Names of NTLM have no case; where two of the file differ in it only, the spelling decides.
        """
        plain = normal(account.user)
        names = [f"{normal(account.domain)}{_BETWEEN}{plain}"] if account.domain else []
        for name in (*names, plain):
            found = name if self._users.verifier(name, NT) else self._by_folded.get(name.upper())
            if found is not None:
                return found
        return None

    @contextlib.contextmanager
    def lent_for(self, token: bytes) -> Iterator[None]:
        """Hold all in place for one step with this token. Raises: AuthMalformed."""
        account = claimed_account(token)
        line = "" if account is None else self._line(account)
        with _LOCK:
            self._place(line)
            try:
                yield
            finally:
                self._write("")

    def close(self) -> None:
        """Forget all, and leave the environment as it was; not while a step goes on."""
        if self._descriptor is None:
            return
        with _LOCK:
            if os.environ.get("NTLM_USER_FILE") == self._path:
                for name, value in self._before.items():
                    os.environ.pop(name, None)
                    os.environ.update({} if value is None else {name: value})
            os.close(self._descriptor)
            self._descriptor = None

    @property
    def _path(self) -> str:
        return f"/proc/self/fd/{self._descriptor}"

    def _line(self, account: ClaimedAccount) -> str:
        """The account with its hash, as smbpasswd(5) has it."""
        texts = (account.domain, account.user)
        if not account.user or any(not _is_plain(text) for text in texts):
            raise AuthMalformed("the NTLM message names no account that there could be")
        name = self.user_of(account)
        known = self._users.verifier(name, NT) if name is not None else None
        nt_hash = hash_in(known) if known is not None else secrets.token_hex(16)
        who = _BETWEEN.join(filter(None, texts))
        return f"{who}:0:{_NO_LM_HASH}:{nt_hash}:[U]:LCT-0\n"

    def _place(self, line: str) -> None:
        if self._descriptor is None:
            self._descriptor = os.memfd_create("ntlm")
        self._write(line)
        wanted = {
            "NTLM_USER_FILE": self._path,
            # NTLMv2 only ([MS-NLMP] section 3.1.1.1). Below that pyspnego takes LM responses, for which no
            # password is needed when a client makes them up
            "LM_COMPAT_LEVEL": "5",
            # Without a keytab of its own the proxy must not take the machine's
            "KRB5_KTNAME": f"FILE:{self.keytab}" if self.keytab is not None else "MEMORY:none",
        }
        for name, value in wanted.items():
            # Changed seldom: C's getenv in another thread must not meet a table that moves
            if (before := os.environ.get(name)) != value:
                self._before.setdefault(name, before)
                os.environ[name] = value

    def _write(self, line: str) -> None:
        assert self._descriptor is not None
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, line.encode("utf-8", "surrogatepass"), 0)


def _is_plain(text: str) -> bool:
    """Whether it can be one field of one line."""
    has_mark = any(mark in text for mark in (":", _BETWEEN))
    return len(text) <= MAX_USER_CHARACTERS and not has_mark and text == "".join(text.splitlines())


def _folded(verifiers: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    found: dict[str, str] = {}
    doubtful = set()
    for name, kinds in verifiers.items():
        if NT in kinds:
            doubtful.update({name.upper()} & found.keys())
            found[name.upper()] = name
    return {folded: name for folded, name in found.items() if folded not in doubtful}
