"""What a person typed, quoted in an error: one line, bounded, and without what may be secret in it."""

import re
from typing import Final

MAX_SHOWN_CHARACTERS: Final = 80

# A user and a password end at the last `@`, as where a proxy's URL is read: either may hold any other sign
_LOGIN = re.compile(r"\A([A-Za-z][A-Za-z0-9+.-]*://)?.*@", re.DOTALL)
_QUERY = re.compile(r"(://[^?]*\?).+", re.DOTALL)
_LOGIN_IN_A_LINE = re.compile(r"[^\s']+:\S.*@")


def without_login(text: str) -> str:
    """A URL or an address with `...@` for a user and a password before its host."""
    return _LOGIN.sub(r"\1...@", text)


def line_without_login(line: str) -> str:
    """The same for a line with a URL anywhere in it: rather too much is left out than too little."""
    return _LOGIN_IN_A_LINE.sub("...@", line)


def shown(text: str) -> str:
    """Quote what a person typed."""
    # Before it is cut: what is cut off may be the sign that tells a password from a port
    bare = _QUERY.sub(r"\1...", without_login(text))  # a query may be the key to a file
    return ascii(bare if len(bare) <= MAX_SHOWN_CHARACTERS else bare[: MAX_SHOWN_CHARACTERS - 3] + "...")
