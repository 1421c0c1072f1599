"""The file that an access log goes to: shared by workers, opened again on SIGHUP."""

import contextlib
import json
import os
import stat
import sys
from pathlib import Path
from typing import Any, TextIO

from relay.commands.running import say
from relay.failure import SettingsError
from relay.line_log import LineLog
from relay.log_format import FORMATS
from relay.profile import AccessLog


def open_log(path: str | None) -> TextIO | None:
    """Open it for appending; "-" is stdout. Raises: SettingsError."""
    if path is None:
        return None
    if path == "-":
        if sys.stdout is None:
            raise SettingsError("--access-log: stdout is closed; expected a file, or stdout open")
        return sys.stdout
    try:
        return Path(path).open("a", encoding="utf-8")
    except OSError as error:
        raise SettingsError(f"--access-log: cannot write {path}: {error.strerror}") from None


class LogWriter:
    """One line per entry. A full disk, a slow reader or one that has gone does not stop the proxy."""

    def __init__(self, file: TextIO, settings: AccessLog, program: str) -> None:
        self._program = program
        self._file = file
        self._settings = settings
        self._line_of = FORMATS[settings.format]
        self._lines = LineLog(file.fileno(), self._has_failed, lambda lost: json.dumps({"lost_lines": lost}))
        self.close = self._lines.close
        self.write_line = self._lines.write

    def write(self, entry: dict[str, Any]) -> None:
        """Write one line."""
        self._lines.write(self._line_of(entry))

    def open_again(self) -> None:
        """Go on in a new file of the same name: the old one was moved away, as logrotate does it."""
        if self._settings.file in (None, "-") or not _is_regular(self._file.fileno()):
            return
        try:
            with Path(str(self._settings.file)).open("a", encoding="utf-8") as fresh:
                if _is_regular(fresh.fileno()):
                    os.dup2(fresh.fileno(), self._file.fileno(), inheritable=False)
        except OSError as error:
            say(self._program, f"--access-log: cannot open {self._settings.file} again: {error.strerror}")

    def _has_failed(self, error: OSError) -> None:
        say(self._program, f"--access-log: cannot write any more: {error.strerror}")


def _is_regular(descriptor: int) -> bool:
    with contextlib.suppress(OSError):
        return stat.S_ISREG(os.fstat(descriptor).st_mode)
    return False
