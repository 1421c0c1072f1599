"""What a person typed, quoted in an error: one line, bounded, and without what may be secret in it."""

import re
from typing import Final

MAX_SHOWN_CHARACTERS: Final = 80

# A user and a password end at the last `@`, as where a proxy's URL is read: either may hold any other sign
_LOGIN = re.compile(r"\A([A-Za-z][A-Za-z0-9+.-]*://)?.*@", re.DOTALL)
_COLON_IN_A_WORD = re.compile(r":\S")


def without_login(text: str) -> str:
    """A URL or an address with `...@` for a user and a password before its host."""
    return _LOGIN.sub(r"\1...@", text)


def line_without_login(line: str) -> str:
    """The same for a line with a URL anywhere in it: rather too much is left out than too little."""
    before, _, behind = line.rpartition("@")
    colon = _COLON_IN_A_WORD.search(before)
    if colon is None:
        return line
    word = max(before.rfind(sign, 0, colon.start()) for sign in " '") + 1
    return f"{before[:word]}...@{behind}"


def shown(text: str) -> str:
    """Quote what a person typed."""
    # Before it is cut: what is cut off may be the sign that tells a password from a port
    bare = _without_query(without_login(text))
    return ascii(bare if len(bare) <= MAX_SHOWN_CHARACTERS else bare[: MAX_SHOWN_CHARACTERS - 3] + "...")


def _without_query(url: str) -> str:
    """The query of a URL may be the key to a file."""
    place, question, query = url.partition("?")
    return f"{place}?..." if question and query and "://" in place else url
