"""Files with one entry a line: lists of a policy, users."""

from collections.abc import Iterator
from pathlib import Path

from relay.failure import SettingsError


def read_lines(path: Path, limit_bytes: int) -> Iterator[tuple[int, str]]:
    """Give number and text of each line that is neither empty nor begins with `#`.

    Raises: SettingsError that names the file, and the line where that is known.
    """
    try:
        with path.open("rb") as file:
            data = file.read(limit_bytes + 1)
    except OSError as error:
        raise SettingsError(f"{path}: cannot be read: {error.strerror}") from None
    if len(data) > limit_bytes:
        raise SettingsError(f"{path}: expected at most {limit_bytes} bytes")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        place = data.count(b"\n", 0, error.start) + 1
        raise SettingsError(f"{path}: line {place}: this is no UTF-8") from None
    for number, line in enumerate(text.split("\n"), 1):
        entry = line.rstrip(" \t\r")
        if entry and not entry.startswith("#"):
            yield number, entry
