"""What a proxy login scheme is, and the reading of Proxy-Authenticate (RFC 9110 section 11)."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from protocol.errors import AuthMalformed
from protocol.resemblance import excerpt

_TOKEN: Final = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"  # noqa: S105 - a pattern
_END: Final = r"(?=[ \t]*(?:,|$))"
_SEPARATORS: Final = re.compile(r"[ \t,]*")
_SCHEME: Final = re.compile(rf"({_TOKEN})(?:[ \t]+|{_END})")
_TOKEN68: Final = re.compile(rf"([A-Za-z0-9._~+/-]+=*){_END}")
# Behind "=" a token or a quoted string belongs; proxies also send `realm=Our Proxy`, and mean it.
_BARE: Final = r'[^\s",=][^",]*+'
_PARAM: Final = re.compile(rf'({_TOKEN})[ \t]*=[ \t]*(?:"((?:[^"\\]|\\.)*)"|({_BARE})){_END}', re.DOTALL)
_QUOTED_PAIR: Final = re.compile(r"\\(.)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Challenge:
    """One way to log in that a proxy offers.

    Attributes:
        scheme: as sent; compare it without regard to case.
        token68: what stands behind the scheme in place of parameters (NTLM, Negotiate), None without it.
        params: names in lower case, values without their quotes.
    """

    scheme: str
    token68: str | None = None
    params: dict[str, str] = field(default_factory=dict)


class Scheme(Protocol):
    """One login with one set of credentials, to one proxy.

    Attributes:
        name: as in Proxy-Authenticate; compared without regard to case.
        connection_bound: all its steps must go over one TCP connection (NTLM, Negotiate).
        has_said_secret: something made from a password has gone out; no other scheme may follow with it.
    """

    @property
    def name(self) -> str: ...

    @property
    def connection_bound(self) -> bool: ...

    @property
    def has_said_secret(self) -> bool: ...

    def step(self, challenges: Sequence[Challenge]) -> str | None:
        """Return the next value for Proxy-Authorization, without control characters.

        Args:    challenges: all of one reply that have the scheme's name, in the proxy's order; at least one.
        Returns: None when there is nothing more to say: the credentials were refused, or no challenge
            can be answered. A password is never said twice: proxies lock accounts.
        Raises:  AuthMalformed for a challenge that the scheme cannot read; LoginUnusable.
        """
        ...

    def again(self) -> str | None:
        """Return what opens the way on a new connection, once a login was accepted on another.

        Returns: None where the proxy must ask first.
        Raises:  LoginUnusable.
        """
        ...

    def conclude(self, challenges: Sequence[Challenge], info: str | None) -> None:
        """Check what the proxy says of itself as it accepts the login.

        Args:   challenges: as for `step`, of the 2xx; often none. info: Proxy-Authentication-Info, if there.
        Raises: AuthMalformed when the proxy gives a proof that does not hold.
        """
        ...


def parse_challenges(values: Sequence[str]) -> list[Challenge]:
    """Read all Proxy-Authenticate values of one reply; each may hold several challenges.

    Raises: AuthMalformed, with the place.
    Source: RFC 9110 sections 5.6.1 (empty list elements), 11.2 (no parameter twice), 11.3 and 11.6.1.
    """
    return [challenge for value in values for challenge in _challenges_in(value)]


def _challenges_in(value: str) -> list[Challenge]:
    challenges: list[Challenge] = []
    place = _SEPARATORS.match(value).end()  # type: ignore[union-attr]  # matches the empty string too
    while place < len(value):
        # A comma ends a parameter or a challenge. Only what follows tells which: `name=value` is a parameter.
        param = _PARAM.match(value, place) if challenges and challenges[-1].token68 is None else None
        if param is not None:
            _add_param(challenges[-1], param)
            place = param.end()
        else:
            challenge, place = _challenge_at(value, place)
            challenges.append(challenge)
        place = _SEPARATORS.match(value, place).end()  # type: ignore[union-attr]
    return challenges


def _challenge_at(value: str, place: int) -> tuple[Challenge, int]:
    scheme = _SCHEME.match(value, place)
    if scheme is None:
        raise _malformed("no scheme", value, place)
    place = scheme.end()
    if place == len(value) or value[place] in " \t,":
        return Challenge(scheme[1]), place
    param = _PARAM.match(value, place)
    if param is not None:
        challenge = Challenge(scheme[1])
        _add_param(challenge, param)
        return challenge, param.end()
    token68 = _TOKEN68.match(value, place)
    if token68 is None:
        raise _malformed(f"neither a parameter nor a token behind {scheme[1]}", value, place)
    return Challenge(scheme[1], token68[1]), token68.end()


def _add_param(challenge: Challenge, param: re.Match[str]) -> None:
    name, quoted, plain = param[1].lower(), param[2], param[3]
    if name in challenge.params:
        raise AuthMalformed(f"the login challenge {challenge.scheme} has the parameter {name} twice")
    challenge.params[name] = plain.rstrip() if quoted is None else _QUOTED_PAIR.sub(r"\1", quoted)


def parse_parameters(value: str) -> dict[str, str]:
    """Read a list of parameters as Proxy-Authentication-Info has it; names in lower case, without quotes.

    Raises: AuthMalformed.
    Source: RFC 9110 section 11.6.3.
    """
    found = Challenge("of Proxy-Authentication-Info")
    place = _SEPARATORS.match(value).end()  # type: ignore[union-attr]
    while place < len(value):
        param = _PARAM.match(value, place)
        if param is None:
            raise _malformed("no parameter", value, place)
        _add_param(found, param)
        place = _SEPARATORS.match(value, param.end()).end()  # type: ignore[union-attr]
    return found.params


def _malformed(what: str, value: str, place: int) -> AuthMalformed:
    rest = excerpt(value[place:].encode("latin-1", "backslashreplace"))
    return AuthMalformed(f"the login challenge has {what} at index {place}: {rest}")
