"""Basic: user name and password, readable by everyone on the way (RFC 7617)."""

import base64
from collections.abc import Sequence
from typing import Final

from protocol.errors import LocalWireError
from protocol.octets import Charset, octets
from protocol.scheme import Challenge


class Basic:
    """Say one user name and password once.

    They go out in one encoding, whatever `charset` the challenge has: RFC 7617 section 2.1 knows UTF-8 only,
    and a guess at another would look like a wrong password. Old proxies that mean Latin-1 have to be named.

    Args:
        user: may be empty, without a colon.
        password: may be empty.
        charset: UTF-8 in Unicode's NFC, or Latin-1.
    Raises: LocalWireError for what Basic cannot carry; it quotes neither of the two.
    """

    name: Final = "Basic"
    connection_bound: Final = False

    __slots__ = ("_is_said", "_user", "_value")

    def __init__(self, user: str, password: str, *, charset: Charset = "utf-8") -> None:
        if ":" in user:
            raise LocalWireError("the user name has a colon in it, which Basic cannot carry")
        pair = octets(user, "user name", charset) + b":" + octets(password, "password", charset)
        self._value = "Basic " + base64.b64encode(pair).decode("ascii")
        self._user = user
        self._is_said = False

    def __repr__(self) -> str:
        return f"Basic(user={self._user!r}, password=<hidden>)"

    @property
    def has_said_secret(self) -> bool:
        """Whether the password has gone out."""
        return self._is_said

    def step(self, challenges: Sequence[Challenge]) -> str | None:
        """Return the credentials the first time, None from then on."""
        if self._is_said:
            return None
        self._is_said = True
        return self._value

    def again(self) -> str | None:
        """Return the same credentials: they were accepted."""
        return self._value

    def conclude(self, challenges: Sequence[Challenge], info: str | None) -> None:
        """Accept: Basic proves nothing of the proxy."""
