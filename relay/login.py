"""What a login scheme of the proxy is. Each has a file of its own in `relay/logins`.

A scheme is made with the accounts and the realm, and the keys of its own table `[login.NAME]`, which are its
keyword parameters:

    class Digest:
        name = "Digest"

        def __init__(self, accounts: Accounts, realm: str, *, nonce_seconds: float = 300.0) -> None: ...

One such object serves all connections, until the profile is read again. What belongs to one connection is
kept in its `Conversation`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True)
class Credentials:
    """One Proxy-Authorization. The text is a secret, and no part of it goes into words of a verdict.

    text: what stands behind the scheme's name. method, target: of the request line, as received.
    client: whom failures are counted for.
    """

    text: str
    method: str
    target: str
    client: str

    def __repr__(self) -> str:
        return f"Credentials(text=<hidden>, method={self.method!r}, target={self.target!r})"


@dataclass(frozen=True)
class Accepted:
    """They are the user's. fields: what the reply says to the client of the proxy's own proof."""

    user: str
    fields: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Continue:
    """One more step over the same connection: `challenge` is sent alone, and the connection kept."""

    challenge: str


@dataclass(frozen=True)
class Failed:
    """They are not accepted.

    words: why, for log and client: nothing that tells a wrong password from an unknown user.
    challenges: sent in place of the scheme's usual ones (Digest: stale=true).
    counts: whether it was an attempt to guess; one with a nonce that is too old was not.
    """

    words: str = "user or password were not accepted"
    challenges: Sequence[str] = ()
    counts: bool = True


Verdict = Accepted | Continue | Failed


@dataclass
class Conversation:
    """What is known of one client connection.

    state: the scheme's own, between its steps. scheme: whose state that is; another one begins anew.
    user: who has logged in for the whole connection. fields: as `Accepted` had them, for the request at hand.
    """

    state: Any = None
    scheme: "LoginScheme | None" = None
    user: str | None = None
    fields: tuple[tuple[str, str], ...] = ()


class LoginScheme(Protocol):
    """One way to log in."""

    @property
    def name(self) -> str:
        """As in Proxy-Authenticate; compared without regard to case."""
        ...

    @property
    def connection_bound(self) -> bool:
        """Whether a login holds for the whole connection (NTLM, Negotiate), not for one request."""
        ...

    def challenges(self) -> Sequence[str]:
        """The values of Proxy-Authenticate with which it is offered, mostly one."""
        ...

    async def check(self, credentials: Credentials, conversation: Conversation) -> Verdict:
        """Judge credentials, whatever bytes they are. Raises: Refused only, for what is no login's fault."""
        ...
