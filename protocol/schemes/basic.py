"""Basic: user name and password, readable by everyone on the way (RFC 7617)."""

import base64
import unicodedata
from typing import Final

from protocol.errors import LocalWireError
from protocol.scheme import Challenge


class Basic:
    """Say one user name and password once.

    They go out as UTF-8 in Unicode's NFC, whatever `charset` the challenge has: it is the only one that RFC
    7617 section 2.1 knows, and a guess at another would look like a wrong password.

    Args:
        user: may be empty, without a colon.
        password: may be empty.
    Raises: LocalWireError for what Basic cannot carry; it quotes neither of the two.
    """

    name: Final = "Basic"
    connection_bound: Final = False

    __slots__ = ("_is_said", "_user", "_value")

    def __init__(self, user: str, password: str) -> None:
        if ":" in user:
            raise LocalWireError("the user name has a colon in it, which Basic cannot carry")
        pair = f"{_octets(user, 'user name')}:{_octets(password, 'password')}"
        self._value = "Basic " + base64.b64encode(pair.encode("utf-8")).decode("ascii")
        self._user = user
        self._is_said = False

    def __repr__(self) -> str:
        return f"Basic(user={self._user!r}, password=<hidden>)"

    def step(self, challenge: Challenge | None) -> str | None:
        """Return the credentials the first time, None from then on."""
        if self._is_said:
            return None
        self._is_said = True
        return self._value


def _octets(text: str, what: str) -> str:
    for character in text:
        if unicodedata.category(character) == "Cc":
            raise LocalWireError(f"the {what} has the control character U+{ord(character):04X} in it")
        if unicodedata.category(character) == "Cs":
            raise LocalWireError(f"the {what} has bytes in it that are no text (U+{ord(character):04X})")
    return unicodedata.normalize("NFC", text)
