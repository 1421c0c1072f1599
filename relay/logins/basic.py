"""Basic, the proxy's side: user and password with each request (RFC 7617)."""

import base64
import binascii
from collections.abc import Sequence
from typing import Final

from relay.accounts import Accounts
from relay.login import Accepted, Conversation, Credentials, Failed, Verdict
from relay.quoted import quoted
from relay.users import MAX_PASSWORD_CHARACTERS, MAX_USER_CHARACTERS, normal

# Each character is four bytes of UTF-8 at most, and base64 makes four of three.
MAX_CHARACTERS = (MAX_USER_CHARACTERS + 1 + MAX_PASSWORD_CHARACTERS) * 4 * 4 // 3


class Basic:
    """One answer, right or wrong."""

    name: Final = "Basic"
    connection_bound: Final = False

    def __init__(self, accounts: Accounts, realm: str) -> None:
        self._accounts = accounts
        self._challenge = f'Basic realm={quoted(realm)}, charset="UTF-8"'

    def challenges(self) -> Sequence[str]:
        """Realm and charset; UTF-8 is the only one that there is (RFC 7617 section 2.1)."""
        return (self._challenge,)

    async def check(self, credentials: Credentials, conversation: Conversation) -> Verdict:
        """Ask the accounts."""
        pair = _decoded(credentials.text)
        if pair is None:
            return Failed("the credentials are not of the form that Basic has")
        user, password = pair
        is_right = await self._accounts.proves(user, password)
        return Accepted(user) if is_right else Failed()


def _decoded(text: str) -> tuple[str, str] | None:
    if len(text) > MAX_CHARACTERS:
        return None
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
    try:
        pair = data.decode("utf-8")
    except UnicodeDecodeError:
        # curl and older browsers send what their terminal has
        pair = data.decode("latin-1")
    user, colon, password = pair.partition(":")
    if not colon or len(user) > MAX_USER_CHARACTERS or len(password) > MAX_PASSWORD_CHARACTERS:
        return None
    return normal(user), normal(password)
