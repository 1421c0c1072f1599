"""Digest: proves that the password is known, without saying it (RFC 7616; RFC 2617 and 2069 as found)."""

import os
from collections.abc import Callable, Sequence
from typing import Final
from urllib.parse import quote

from protocol.digest_hash import ALGORITHMS, base_hash, digest_of, hash_of, is_equal
from protocol.errors import AuthMalformed, LocalWireError
from protocol.octets import Charset, octets
from protocol.scheme import Challenge, parse_parameters

METHOD: Final = "CONNECT"

MAX_PARAMETER_CHARACTERS: Final = 8192
"""Of a nonce, realm or opaque that we send back: a request head with more is refused by most proxies."""


def _random_cnonce() -> str:
    octets_drawn = os.urandom(16)
    return octets_drawn.hex()


class Digest:
    """Prove one user's password to one proxy.

    Args:
        user: may be empty.
        password: may be empty.
        uri: the request target exactly as sent: the authority-form of CONNECT (RFC 7616 section 3.4).
        charset: for challenges that do not say charset=UTF-8.
        make_cnonce: gives a fresh client nonce, visible ASCII without quotes.
    Raises: LocalWireError for control characters; it quotes neither user nor password.
    """

    name: Final = "Digest"
    connection_bound: Final = False

    def __init__(
        self,
        user: str,
        password: str,
        *,
        uri: str,
        charset: Charset = "utf-8",
        make_cnonce: Callable[[], str] = _random_cnonce,
    ) -> None:
        octets(user, "user name", charset)
        octets(password, "password", charset)
        self._user, self._password = user, password
        self._uri = uri
        self._charset: Charset = charset
        self._make_cnonce = make_cnonce
        self._session: _Session | None = None

    def __repr__(self) -> str:
        return f"Digest(user={self._user!r}, password=<hidden>)"

    @property
    def has_said_secret(self) -> bool:
        """Whether a proof was given; one is enough to guess passwords against, and counts as an attempt."""
        return self._session is not None

    def step(self, challenges: Sequence[Challenge]) -> str | None:
        """Answer the strongest challenge; a second one only when it says that just the nonce was stale.

        Raises: AuthMalformed for a challenge without realm or nonce, or with ones too long.
        """
        usable = [challenge for challenge in challenges if _strength(challenge) is not None]
        if not usable:
            return None
        challenge = min(usable, key=lambda one: _strength(one) or 0)
        if self._session is not None:
            is_stale = challenge.params.get("stale", "").lower() == "true"
            # The same nonce said to be stale twice is no reason to go on: it would be a loop
            if not is_stale or challenge.params.get("nonce") == self._session.nonce:
                return None
        self._session = _Session(challenge, self._octets(challenge), self._uri, self._make_cnonce)
        return self._session.authorization()

    def again(self) -> str | None:
        """Return a proof for the same nonce with the next count (RFC 7616 section 3.4, nc)."""
        return None if self._session is None else self._session.authorization()

    def conclude(self, challenges: Sequence[Challenge], info: str | None) -> None:
        """Check the proxy's own proof (rspauth) where it gives one, and take its next nonce.

        Raises: AuthMalformed when it does not know the password, or answers another request.
        Source: RFC 7616 section 3.5.
        """
        if info is not None and self._session is not None:
            self._session.conclude(parse_parameters(info))

    def _octets(self, challenge: Challenge) -> tuple[bytes, bytes]:
        says_utf8 = challenge.params.get("charset", "").lower() == "utf-8"
        charset: Charset = "utf-8" if says_utf8 else self._charset
        return octets(self._user, "user name", charset), octets(self._password, "password", charset)


class _Session:
    """All answers to one nonce."""

    def __init__(
        self, challenge: Challenge, login: tuple[bytes, bytes], uri: str, make_cnonce: Callable[[], str]
    ) -> None:
        params = challenge.params
        self._realm = _parameter(params, "realm")
        self.nonce = _parameter(params, "nonce")
        self._opaque = _parameter(params, "opaque") if "opaque" in params else None
        self._algorithm = params.get("algorithm")
        self._qop = "auth" if "qop" in params else None
        self._userhash = params.get("userhash", "").lower() == "true"
        self._has_charset = "charset" in params
        self._user, password = login
        self._uri = uri
        self._make_cnonce = make_cnonce
        # The hash of the password is kept, the password is not
        self._ha1 = base_hash(self._name, self._user, self._realm.encode("latin-1"), password)
        self._cnonce = ""
        self._count = 0

    @property
    def _name(self) -> str:
        return self._algorithm or "MD5"

    def authorization(self) -> str:
        """Give the value of Proxy-Authorization, with the next count."""
        self._count += 1
        is_session = self._name.lower().endswith("-sess")
        # The base of a -sess hash has the first cnonce of the session in it (RFC 7616 section 3.4.2)
        if not (is_session and self._cnonce):
            self._cnonce = self._make_cnonce()
        fields = [
            *self._user_fields(),
            f"realm={_quoted(self._realm)}",
            f"nonce={_quoted(self.nonce)}",
            f"uri={_quoted(self._uri)}",
            f'response="{self._proof(METHOD)}"',
        ]
        if self._algorithm is not None:
            fields.append(f"algorithm={self._algorithm}")
        if self._qop is not None:
            fields += [f"qop={self._qop}", f"nc={self._count:08x}"]
        if self._qop is not None or is_session:
            fields.append(f'cnonce="{self._cnonce}"')
        if self._opaque is not None:
            fields.append(f"opaque={_quoted(self._opaque)}")
        return "Digest " + ", ".join(fields)

    def conclude(self, info: dict[str, str]) -> None:
        given = info.get("rspauth")
        if given is not None and self._qop is not None and not is_equal(self._proof(""), given):
            raise AuthMalformed(
                "the proxy's Proxy-Authentication-Info does not prove that it knows the password (rspauth)"
            )
        if following := info.get("nextnonce"):
            self.nonce, self._count, self._cnonce = following, 0, ""

    def _proof(self, method: str) -> str:
        return digest_of(
            self._name,
            self._ha1,
            nonce=self.nonce,
            count=f"{self._count:08x}",
            cnonce=self._cnonce,
            qop=self._qop,
            method=method,
            uri=self._uri,
        )

    def _user_fields(self) -> list[str]:
        if self._userhash:
            hashed = hash_of(self._name, self._user + b":" + self._realm.encode("latin-1"))
            return [f'username="{hashed}"', "userhash=true"]
        if self._has_charset and not self._user.isascii():
            # RFC 7616 section 3.4: only who has said charset=UTF-8 is sure to know username*
            return [f"username*=UTF-8''{quote(self._user, safe='')}"]
        return [f"username={_quoted(self._user.decode('latin-1'))}"]


def _strength(challenge: Challenge) -> int | None:
    """The place of a challenge among those that can be answered, 0 the strongest; None: it cannot be."""
    name = challenge.params.get("algorithm", "MD5").upper()
    offered = [one.strip().lower() for one in challenge.params.get("qop", "auth").split(",")]
    # qop=auth-int is a hash of the body, which CONNECT has none of; nobody offers it alone
    return ALGORITHMS.index(name) if name in ALGORITHMS and "auth" in offered else None


def _parameter(params: dict[str, str], name: str) -> str:
    value = params.get(name)
    if value is None:
        raise AuthMalformed(f"the login challenge Digest has no {name}")
    if len(value) > MAX_PARAMETER_CHARACTERS:
        size = f"{len(value)} characters, more than the limit of {MAX_PARAMETER_CHARACTERS}"
        raise AuthMalformed(f"the {name} of the login challenge Digest has {size}")
    return value


def _quoted(text: str) -> str:
    """A quoted-string (RFC 9110 section 5.6.4)."""
    if any(ord(character) < 32 or ord(character) == 127 for character in text):
        raise LocalWireError("a Digest parameter has a control character in it")
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
