"""Write what a command has found to a file that its user names."""

import sys
from pathlib import Path

from relay.failure import SettingsError


def write_result(text: str, file: str | None, option: str) -> None:
    """To `file`; to stdout when there is none, or it is "-". Raises: SettingsError that names the option."""
    if file is None or file == "-":
        sys.stdout.write(text)
        return
    try:
        Path(file).write_text(text, "utf-8")
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise SettingsError(f"{option}: cannot write {file!r}: {why}") from None
