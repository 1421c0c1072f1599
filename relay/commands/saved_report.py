"""Files of `relay check` and `relay report`: a saved record, a server's journal."""

import http.client
import json
import urllib.error
import urllib.request
from typing import Any

from relay.commands.report_options import read_bounded
from relay.failure import SettingsError
from relay.far_record import Record, read_journal
from relay.finding import Findings, RecordMalformed, read_findings

MAX_RECORD_BYTES = 8 * 2**20
"""Of a saved record; one takes some 50 kB."""

MAX_JOURNAL_BYTES = 64 * 2**20
FETCH_SECONDS = 10.0
MAX_WHY_CHARACTERS = 200


def read_record(file: str, what: str) -> Findings:
    """The record in a JSON report. Raises: SettingsError with the file, the key and what was expected."""
    content = read_bounded(what, file, MAX_RECORD_BYTES, "a report of relay check")
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
    content = (
        _fetch(where, what, expected) if is_url else read_bounded(what, where, MAX_JOURNAL_BYTES, expected)
    )
    try:
        return read_journal(content.decode("utf-8").splitlines())
    except RecordMalformed as error:
        raise SettingsError(f"{what}: {where!r}: {error}") from None
    except UnicodeDecodeError:
        raise SettingsError(f"{what}: {where!r} is no text; expected {expected}") from None


def _fetch(url: str, what: str, expected: str) -> bytes:
    """Without any proxy: it is there to be reached by another way than the one that is checked."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=FETCH_SECONDS) as reply:
            content: bytes = reply.read(MAX_JOURNAL_BYTES + 1)
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise SettingsError(f"{what}: cannot fetch {url!r}: {_why(error)}") from None
    if len(content) > MAX_JOURNAL_BYTES:
        raise SettingsError(f"{what}: {url!r} is over {MAX_JOURNAL_BYTES} bytes; expected {expected}")
    return content


def _why(error: Exception) -> str:
    reason = error.reason if isinstance(error, urllib.error.URLError) else error
    words = (getattr(reason, "strerror", None) or str(reason))[:MAX_WHY_CHARACTERS]
    # What is no HTTP is quoted by http.client as it came
    return "".join(letter if letter.isprintable() else "?" for letter in words) or type(reason).__name__
