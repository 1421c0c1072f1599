"""Files with one entry a line: lists of a policy, users."""

from collections.abc import Iterator
from pathlib import Path

from relay.failure import SettingsError


def read_lines(path: Path, limit_bytes: int, what: str = "") -> Iterator[tuple[int, str]]:
    """Give number and text of each line that is neither empty nor begins with `#`.

    Args:   what: the key that names the file, for the error when it cannot be read.
    Raises: SettingsError that names the file, and the line where that is known.
    """
    named = f"{what}: {path}" if what else str(path)
    try:
        with path.open("rb") as file:
            data = file.read(limit_bytes + 1)
    except OSError as error:
        raise SettingsError(f"{named}: cannot be read: {error.strerror}") from None
    if len(data) > limit_bytes:
        raise SettingsError(f"{named}: expected at most {limit_bytes} bytes")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        place = data.count(b"\n", 0, error.start) + 1
        raise SettingsError(f"{path}: line {place}: this is no UTF-8") from None
    for number, line in enumerate(text.split("\n"), 1):
        entry = line.rstrip(" \t\r")
        if entry and not entry.startswith("#"):
            yield number, entry
