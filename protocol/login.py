"""Which login scheme answers which 407 of one proxy, and when to stop (RFC 9110 section 11.7)."""

from collections.abc import Sequence
from typing import Final

from protocol.errors import AuthMalformed, LoginUnusable
from protocol.reply import Reply
from protocol.request import checked_credentials
from protocol.scheme import Challenge, Scheme, parse_challenges

MAX_LOGIN_STEPS: Final = 8
"""Credentials sent until a login is accepted. NTLM needs 2, Digest with a stale nonce 2; more is a loop."""


class Login:
    """The logins for one proxy, strongest first, and how far they have come.

    A scheme that the proxy does not offer, that cannot speak here, or that is turned away before it has said
    anything of the password, leaves it to the next. Once a password was answered for no other follows: the
    proxy would count it as one more attempt, and lock the account.

    Attributes:
        scheme: the one that has spoken last.
        is_continuing: its last answer belongs to an exchange that has begun on this very connection.
        needs_redial: it wants a connection on which no other scheme has begun.
        is_refused: credentials were refused, here or by whom the scheme asked (a KDC).
        obstacles: why schemes that the proxy offers could not be used.
        bound_obstacle: why schemes that are bound to their connection cannot be used on this one; None: they
            can.
    """

    def __init__(self, schemes: Sequence[Scheme]) -> None:
        self._schemes = tuple(schemes)
        self._place = 0
        self._steps = 0
        self.scheme: Scheme | None = None
        self.is_continuing = False
        self.needs_redial = False
        self.is_refused = False
        self.obstacles: list[str] = []
        self.bound_obstacle: str | None = None

    @property
    def evidence(self) -> dict[str, str]:
        """What was used, for a trace: the scheme, and what Negotiate came to; nothing before a login."""
        used = {"login": self.scheme.name} if self.scheme is not None else {}
        return used | ({"mechanism": self.mechanism} if self.mechanism is not None else {})

    @property
    def mechanism(self) -> str | None:
        """What Negotiate came to: "kerberos" or "ntlm"; None with every other scheme."""
        return getattr(self.scheme, "mechanism", None)

    def may_answer(self, reply: Reply) -> bool:
        """Whether the reply names a scheme that `answer` would ask."""
        if reply.status != 407 or self._steps >= MAX_LOGIN_STEPS:
            return False
        offered = " ".join(reply.all("Proxy-Authenticate")).lower()
        return any(scheme.name.lower() in offered for scheme in self._schemes[self._place :])

    def answer(self, reply: Reply) -> str | None:
        """Return what answers a refusal, None when it is final.

        Raises: AuthMalformed for challenges that cannot be read; LocalWireError for credentials that cannot
            be sent.
        """
        credentials = None
        if self.may_answer(reply):
            credentials = self._answer(parse_challenges(reply.all("Proxy-Authenticate")))
        if credentials is not None:
            self._steps += 1
        elif reply.status in (401, 407):
            self.is_refused = self.is_refused or self._steps > 0
        return credentials

    def accepted(self, reply: Reply) -> None:
        """Let the scheme check what the proxy says of itself in its 2xx.

        Raises: AuthMalformed when that does not hold.
        """
        self._steps = 0
        if self.scheme is not None:
            own = _own(self.scheme, parse_challenges(reply.all("Proxy-Authenticate")))
            self.scheme.conclude(own, reply.header("Proxy-Authentication-Info"))

    def again(self) -> str | None:
        """Return what opens a further connection, after `accepted`; None when the proxy must ask first."""
        self.is_continuing = False
        if self.scheme is None:
            return None
        credentials = self.scheme.again()
        return None if credentials is None else checked_credentials(credentials, self.scheme.name)

    def _answer(self, challenges: list[Challenge]) -> str | None:
        while self._place < len(self._schemes):
            scheme = self._schemes[self._place]
            try:
                own = _own(scheme, challenges)
                credentials = self._step(scheme, own) if own else None
            except LoginUnusable as error:
                words = f"{scheme.name}: {error}"
                self.obstacles += [words] if words not in self.obstacles else []
                if error.is_spent:
                    self.is_refused = True
                    return None
                credentials = None
            if credentials is not None:
                self.is_continuing = self.scheme is scheme
                # Squid remembers on a connection that NTLM or Negotiate failed there, and hears no other
                self.needs_redial = (
                    self.scheme is not None and self.scheme is not scheme and self.scheme.connection_bound
                )
                self.scheme = scheme
                return checked_credentials(credentials, scheme.name)
            if scheme.has_said_secret:
                return None
            self._place += 1
        return None

    def _step(self, scheme: Scheme, own: list[Challenge]) -> str | None:
        if scheme.connection_bound and self.bound_obstacle is not None:
            raise LoginUnusable(self.bound_obstacle)
        return scheme.step(own)

    def check_redial(self) -> None:
        """Raises: AuthMalformed when the answer is of no use on another connection."""
        if self.is_continuing and self.scheme is not None and self.scheme.connection_bound:
            raise AuthMalformed(
                f"the proxy gave up the connection in the middle of the {self.scheme.name} login bound to it"
            )


def _own(scheme: Scheme, challenges: list[Challenge]) -> list[Challenge]:
    return [one for one in challenges if one.scheme.lower() == scheme.name.lower()]
