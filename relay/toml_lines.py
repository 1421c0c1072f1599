"""Where in a TOML file a key stands, for errors: Python's own reader of TOML keeps no lines."""

import re
import tomllib
from collections.abc import Sequence
from typing import Any, Final

Place = Sequence[str | int]
"""The way to a value: ("path", 2, "expect") is the key `expect` of the third [[path]]."""


def line_of(text: str, place: Place) -> int:
    """The line, from 1, on which `place` begins, or else the longest part of it that is there.

    The first lines of a TOML file are a TOML file as well, unless they end inside a value. So what needs the
    fewest lines to be there ends on the last of these; the reader itself finds it, asked some ten times.

    Raises: tomllib.TOMLDecodeError for a text that is no TOML.
    """
    tomllib.loads(text)
    lines = _LINE.findall(text)
    for length in range(len(place), 0, -1):
        if _holds(_beginning(lines, len(lines))[0], place[:length]):
            last = _fewest(lines, place[:length])
            return _beginning(lines, last - 1)[1] + 1
    return 1


MAX_SEARCHED_CHARACTERS: Final = 2**16
"""The reader is asked once for each line back to where the broken value begins."""

# str.splitlines ends lines at characters that are none for TOML, such as U+2028 in a comment
_LINE: Final = re.compile(r"[^\n]*\n|[^\n]+")
_AT_LINE: Final = re.compile(r"\(at line ([0-9]+), column [0-9]+\)")


def broken_at(text: str, words: str) -> tuple[int, int]:
    """The line in which a text is no TOML, and the one in which what is broken begins, a long list perhaps.

    Args: words: what the reader has said of it.
    """
    lines = _LINE.findall(text)
    at_line = _AT_LINE.search(words)
    line = int(at_line[1]) if at_line else max(1, len(lines))
    if len(text) > MAX_SEARCHED_CHARACTERS:
        return line, line
    began = min(line, _beginning(lines, line - 1)[1] + 1)
    # Of a value that cannot be made, such as too long a number, the reader names no place
    return (line if at_line or "end of document" in words else began), began


def lines_of_tables(text: str, name: str, count: int) -> list[int]:
    """The line of each of `count` tables [[name]]."""
    header = re.compile(rf"[ \t]*\[\[[ \t]*{re.escape(name)}[ \t]*\]\]")
    found = [number for number, line in enumerate(_LINE.findall(text), 1) if header.match(line)]
    if len(found) == count:
        return found
    # Some are written in another way, or one stands in a text: slow, and surely right
    return [line_of(text, (name, index)) for index in range(count)]


def _fewest(lines: Sequence[str], place: Place) -> int:
    """How many lines it takes until `place` is there."""
    low, high = 1, len(lines)
    while low < high:
        middle = (low + high) // 2
        if _holds(_beginning(lines, middle)[0], place):
            high = middle
        else:
            low = middle + 1
    return low


def _beginning(lines: Sequence[str], count: int) -> tuple[dict[str, Any], int]:
    """What the first lines say, without a value that they break off in; and how many lines that is."""
    for length in range(count, 0, -1):
        try:
            return tomllib.loads("".join(lines[:length])), length
        except ValueError:
            continue
    return {}, 0


def _holds(document: Any, place: Place) -> bool:
    for key in place:
        is_there = key in document if isinstance(document, dict) else _has_place(document, key)
        if not is_there:
            return False
        document = document[key]
    return True


def _has_place(document: Any, key: str | int) -> bool:
    return isinstance(document, list) and isinstance(key, int) and key < len(document)
