"""Digest, the proxy's side: a proof for one request, made with a nonce of ours (RFC 7616)."""

import os
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Annotated, Final, Literal

from protocol.errors import AuthMalformed
from protocol.schemes.digest_server import DigestVerifier, Verified
from protocol.schemes.digest_server import Verdict as Proof
from relay.accounts import Accounts
from relay.failure import SettingsError
from relay.login import Accepted, Conversation, Credentials, Failed, Verdict
from relay.login_hashes import DIGESTS, digest_kind, hash_in
from relay.toml_table import Between
from relay.users import normal

# Ten parameters of a few hundred characters are generous.
MAX_CHARACTERS = 8192
# The same in all processes that are forked to serve one address: the next request may come to another.
_SECRET: Final = os.urandom(32)


class Digest:
    """Args: nonce_seconds: how long a nonce is good. algorithms: offered, in this order; each is RFC 7616's.

    Raises: SettingsError when no user could log in.
    """

    name: Final = "Digest"
    connection_bound: Final = False

    def __init__(
        self,
        accounts: Accounts,
        realm: str,
        *,
        nonce_seconds: Annotated[float, Between(1, 86_400)] = 300.0,
        algorithms: Annotated[tuple[Literal["SHA-256", "MD5"], ...], Between(1, 2)] = ("SHA-256", "MD5"),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._users = accounts.users
        self._realm = realm
        self._clock = clock
        self._verifier = DigestVerifier(
            realm, self._ha1_of, secret=_SECRET, life_seconds=nonce_seconds, algorithms=algorithms,
            began_seconds=clock(),
        )  # fmt: skip
        kinds = {digest_kind(name, realm) for name in algorithms}
        users = self._users.verifiers
        if users and not any(kinds & given.keys() for given in users.values()):
            raise SettingsError(
                f"no user has a hash for Digest in the realm {realm!r}; "
                "`relay proxy passwd --scheme digest --realm ...` writes it"
            )

    def challenges(self) -> Sequence[str]:
        """One for each algorithm, with a fresh nonce."""
        return self._challenges(is_stale=False)

    def _challenges(self, *, is_stale: bool) -> Sequence[str]:
        return self._verifier.challenges(self._clock(), os.urandom(8), is_stale=is_stale)

    async def check(self, credentials: Credentials, conversation: Conversation) -> Verdict:
        """Compare the proof with what the users file has; the request's method and target are part of it."""
        if len(credentials.text) > MAX_CHARACTERS:
            return Failed(f"the credentials have more than {MAX_CHARACTERS} characters")
        verify = partial(self._verifier.verify, f"Digest {credentials.text}", credentials.method)
        try:
            found: Verified = verify(uris_of(credentials.target), self._clock())
        except AuthMalformed:
            return Failed("the credentials are not of the form that Digest has")
        if found.verdict is Proof.STALE:
            words = "the nonce is too old, or was used so often already"
            return Failed(words, self._challenges(is_stale=True), counts=False)
        if found.user is None:
            return Failed()
        fields = (("Proxy-Authentication-Info", found.info),) if found.info else ()
        return Accepted(normal(found.user), fields)

    def _ha1_of(self, algorithm: str, user: str) -> str | None:
        if algorithm not in DIGESTS:
            return None
        verifier = self._users.verifier(normal(user), digest_kind(algorithm, self._realm))
        return None if verifier is None else hash_in(verifier)


def uris_of(target: str) -> Sequence[str]:
    """What a client may mean by the request's uri: the target; curl leaves scheme and host out of it."""
    scheme, found, rest = target.partition("://")
    if not found or "/" in scheme:
        return (target,)
    end = min((rest.find(mark) for mark in "/?" if mark in rest), default=len(rest))
    path = rest[end:]
    return (target, path if path.startswith("/") else f"/{path}")
