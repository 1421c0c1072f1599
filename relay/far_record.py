"""Compare what we have sent with the far end's journal (`relay server --journal`). Pure."""

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from relay.finding import Finding, Findings, RecordMalformed, printable

QUESTION: Final = "server-record"
WORDS: Final = {
    "never-arrived": "no connection of ours is in the server's journal",
    "nothing-came": "a connection arrived at the server, and not a byte of ours on it",
    "proxy-header-first": "our bytes arrived at the server behind a PROXY header",
    "seal-broken": "our packet arrived, and did not open with the server's key",
    "reset-seen": "the server received a reset that we have not sent",
    "not-closed": "the server has not closed the connection that was closed here",
    "answered": "the server has answered; its answer was lost on the way back",
    "refused": "the server had no place for our connection",
    "received": "our packet arrived at the server, and was not answered",
    "restarted": "the server was stopped while our connection was open",
    "fine": "the server saw what we have sent, and what we saw",
}
MAX_LINES: Final = 200_000
MAX_LINE_CHARACTERS: Final = 20_000
CLOCKS_DIFFER: Final = timedelta(minutes=5)
"""Of two machines that keep time at all."""

Record = Mapping[str, Any]


def read_journal(lines: Iterable[str]) -> list[Record]:
    """The records of a journal, one JSON object a line. Raises: RecordMalformed that names the line."""
    found: list[Record] = []
    for number, line in enumerate(lines, 1):
        if number > MAX_LINES:
            raise RecordMalformed(f"line {number}: expected at most {MAX_LINES} lines")
        if len(line) > MAX_LINE_CHARACTERS:
            raise RecordMalformed(f"line {number}: over {MAX_LINE_CHARACTERS} characters")
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise RecordMalformed(f"line {number} is no JSON: {str(error)[:100]}") from None
        if not isinstance(record, dict) or not isinstance(record.get("peer"), str):
            raise RecordMalformed(f"line {number}: expected an object with peer, began, first_bytes, ended")
        found.append(record)
    return found


def compare(found: Findings, records: Sequence[Record]) -> Finding:
    """What the journal says of the connection on which our packet was sent."""
    sent = _sent(found)
    record = next((one for one in records if sent and _text(one, "first_bytes") == sent), None)
    ping = found.of("ping")
    outcome = ping.outcome if ping is not None else "none"
    if record is None:
        near = [one for one in records if _is_of_then(one, found.began)]
        behind = next((one for one in near if "PROXY" in _first_text(one)), None)
        empty = next((one for one in near if one.get("bytes_received") == 0), None)
        word = "proxy-header-first" if behind else "nothing-came" if empty else "never-arrived"
        record = behind or empty
    else:
        word = _word(record, outcome)
    evidence = {} if record is None else {key: record[key] for key in sorted(record) if key != "nonce"}
    who = "" if record is None else f" ({_text(record, 'peer')}, {_text(record, 'ended') or 'still open'})"
    told = WORDS[word] + who
    return Finding(QUESTION, word, printable(told), printable({"compared": len(records), "record": evidence}))


def _sent(found: Findings) -> str:
    ping = found.of("ping")
    value = ping.evidence.get("sent_first_bytes") if ping is not None else None
    return value if isinstance(value, str) else ""


def _word(record: Record, ping: str) -> str:
    ended, answers = _text(record, "ended"), record.get("packets_sent")
    if ended == "seal-broken":
        return "seal-broken"
    if ended == "too-many-connections":
        return "refused"
    if ended == "server-stopped":
        return "restarted"
    if ping == "answered":
        return "fine"
    if ping == "reset" and ended == "client-reset":
        return "reset-seen"
    if ping == "closed" and ended != "close-requested" and not answers:
        return "not-closed"
    return "answered" if answers else "received"


def _is_of_then(record: Record, began: str) -> bool:
    try:
        theirs, ours = (datetime.fromisoformat(text) for text in (_text(record, "began"), began))
        return abs(theirs - ours) <= CLOCKS_DIFFER
    except (TypeError, ValueError):
        return False


def _first_text(record: Record) -> str:
    try:
        return bytes.fromhex(_text(record, "first_bytes")).decode("latin-1")
    except ValueError:
        return ""


def _text(record: Record, key: str) -> str:
    value = record.get(key)
    return value if isinstance(value, str) else ""
