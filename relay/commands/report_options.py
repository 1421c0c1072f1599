"""--report and files of commands that check: how they are named, written and read."""

import errno
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TextIO

from relay.failure import SettingsError

EXIT_UNTESTED = 3

_WHOLE = ("html", "json", "junit")
"""Formats of which a file is one whole; the others are text."""


def report_of(value: str, known: Iterable[str]) -> tuple[str, str | None]:
    """FORMAT or FORMAT=FILE. Raises: SettingsError."""
    name, equals, file = value.partition("=")
    if name not in known or (equals and not file):
        raise SettingsError(
            f"--report: {value[:80]!r}; expected one of {', '.join(sorted(known))}, then =FILE or not"
        )
    return name, file or None


def reports_of(
    values: Iterable[str], known: Iterable[str], *, has_json: bool = False
) -> list[tuple[str, str | None]]:
    """Every --report; `has_json`: --json goes to stdout as well. Raises: SettingsError."""
    reports = [report_of(value, known) for value in values]
    shown = ["json"] * has_json + [name for name, file in reports if file in (None, "-")]
    if len(shown) > 1 and any(name in _WHOLE for name in shown):
        words = f"{' and '.join(shown)} both to stdout, where no program can read them apart"
        raise SettingsError(f"--report: {words}; expected =FILE for all but one")
    return reports


def see_writable(files: Iterable[tuple[str, str | None]]) -> None:
    """What cannot be written is told now, and not after a run of hours; "-" is stdout, None is not asked for.

    Raises: SettingsError.
    """
    for option, file in files:
        if file == "-":
            _stdout(option)
        elif file is not None and (why := _hindrance(Path(file))):
            raise SettingsError(f"{option}: cannot write {file!r}: {why}")


def _stdout(option: str) -> TextIO:
    # None where it was closed by whoever has started us
    if sys.stdout is None:
        raise SettingsError(f"{option}: stdout is closed; expected a file, or stdout open")
    return sys.stdout


def _hindrance(file: Path) -> str:
    """Why `file` can surely not be written; "" when perhaps it can."""
    try:
        if not file.parent.is_dir():
            return f"{os.strerror(errno.ENOENT)}: its folder"
        if file.is_dir():
            return os.strerror(errno.EISDIR)
        is_writable = os.access(file if file.exists() else file.parent, os.W_OK)
    except OSError as error:
        return error.strerror or str(error)
    except ValueError as error:
        return str(error)
    return "" if is_writable else os.strerror(errno.EACCES)


def write_report(text: str, file: str | None, option: str = "--report") -> None:
    """Write to a file, or to stdout when it is None or "-". Raises: SettingsError."""
    if file is None or file == "-":
        _stdout(option).write(text)
        return
    try:
        Path(file).write_text(text, "utf-8")
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise SettingsError(f"{option}: cannot write {file!r}: {why}") from None


def read_bounded(option: str, file: str, limit_bytes: int, what: str) -> bytes:
    """The whole of a file. Raises: SettingsError when it cannot be read, or is too large to be `what`."""
    try:
        with Path(file).open("rb") as stream:
            content = stream.read(limit_bytes + 1)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise SettingsError(f"{option}: cannot read {file!r}: {why}") from None
    if len(content) > limit_bytes:
        raise SettingsError(f"{option}: {file!r} is over {limit_bytes} bytes; expected {what}")
    return content
