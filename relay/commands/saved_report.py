"""Files of `relay check` and `relay report`: a saved record, a server's journal, a report to write."""

import json
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from relay.failure import SettingsError
from relay.far_record import Record, read_journal
from relay.finding import Findings, RecordMalformed, read_findings

MAX_RECORD_BYTES = 8 * 2**20
"""Of a saved record; one takes some 50 kB."""

MAX_JOURNAL_BYTES = 64 * 2**20
FETCH_SECONDS = 10.0


def read_record(file: str, what: str) -> Findings:
    """The record in a JSON report. Raises: SettingsError with the file, the key and what was expected."""
    content = _read(file, what, MAX_RECORD_BYTES, "a report of relay check")
    try:
        document: Any = json.loads(content)
        return read_findings(document.get("record", document) if isinstance(document, dict) else document)
    except RecordMalformed as error:
        raise SettingsError(f"{what}: {file!r}: {error}") from None
    except (ValueError, RecursionError) as error:
        raise SettingsError(
            f"{what}: {file!r} is no JSON: {str(error)[:100]}; expected a report of relay check"
        ) from None


def read_far_journal(where: str) -> list[Record]:
    """The journal of `relay server --journal`, a file or an http(s):// URL. Raises: SettingsError."""
    what = "--journal"
    expected = "a journal of relay server"
    is_url = where.startswith(("http://", "https://"))
    content = _fetch(where, what) if is_url else _read(where, what, MAX_JOURNAL_BYTES, expected)
    try:
        return read_journal(content.decode("utf-8").splitlines())
    except RecordMalformed as error:
        raise SettingsError(f"{what}: {where!r}: {error}") from None
    except UnicodeDecodeError:
        raise SettingsError(f"{what}: {where!r} is no text; expected {expected}") from None


def write_text(text: str, file: str | None, what: str) -> None:
    """Write to a file, to stdout without one or for "-". Raises: SettingsError."""
    if file is None or file == "-":
        sys.stdout.write(text)
        return
    try:
        Path(file).write_text(text, "utf-8")
    except (OSError, ValueError) as error:
        raise SettingsError(f"{what}: cannot write {file!r}: {_why(error)}") from None


def _read(file: str, what: str, limit_bytes: int, expected: str) -> bytes:
    try:
        with Path(file).open("rb") as stream:
            content = stream.read(limit_bytes + 1)
    except (OSError, ValueError) as error:
        raise SettingsError(f"{what}: cannot read {file!r}: {_why(error)}") from None
    return _bounded(content, file, what, limit_bytes, expected)


def _bounded(content: bytes, where: str, what: str, limit_bytes: int, expected: str) -> bytes:
    if len(content) > limit_bytes:
        raise SettingsError(f"{what}: {where!r} is over {limit_bytes} bytes; expected {expected}")
    return content


def _fetch(url: str, what: str) -> bytes:
    """Without any proxy: it is there to be reached by another way than the one that is checked."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=FETCH_SECONDS) as reply:
            content: bytes = reply.read(MAX_JOURNAL_BYTES + 1)
    except (OSError, ValueError) as error:
        raise SettingsError(f"{what}: cannot fetch {url!r}: {_why(error)}") from None
    return _bounded(content, url, what, MAX_JOURNAL_BYTES, "a journal of relay server")


def _why(error: OSError | ValueError) -> str:
    if isinstance(error, urllib.error.URLError):
        return str(error.reason)
    return (error.strerror or str(error)) if isinstance(error, OSError) else str(error)
