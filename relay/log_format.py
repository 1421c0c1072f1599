"""How a line of the access log is written: JSON, squid's native format, or web servers' combined one."""

import functools
import json
import re
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

Entry = dict[str, Any]
# A quote or a line end in what a client sent must not end a field or a line of the log.
_ESCAPED = re.compile(r'[^\x20\x21\x23-\x5b\x5d-\x7e]')
_NO_WORD = re.compile(r"[^\x21\x23\x24\x26-\x7e]")
MAX_FIELD_CHARACTERS = 4096
_QUOTE = json.encoder.encode_basestring_ascii


def as_json(entry: Entry) -> str:
    """One object; keys as in docs/proxy.md. Put together here: json.dumps takes three times as long."""
    values = [
        f'"{key}": {_value(value)}' for key, value in entry.items()
    ]
    return "{" + ", ".join(values) + "}"


def tunnel_as_json(
    client: str, target: str, up: int, down: int, ended: str, outgoing: str, seconds: float
) -> str:
    """As `as_json`, of a tunnel between addresses that nothing more is known of, as most are."""
    return (
        f'{{"time": "{utc_now()}", "client": "{client}", '
        f'"method": "CONNECT", "target": "{target}", "status": 200, "bytes_up": {up}, "bytes_down": {down}, '
        f'"ended": "{ended}", "outgoing": "{outgoing}", "path": "splice", "seconds": {seconds:.6f}}}'
    )


def utc_now() -> str:
    """The time in milliseconds, as RFC 3339 section 5.6 has it."""
    now = time.time()
    second = int(now)
    return f"{_until_second(second)}.{int((now - second) * 1000):03d}+00:00"


@functools.lru_cache(maxsize=2)
def _until_second(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def _value(value: Any) -> str:
    if type(value) is str:
        return _QUOTE(value)
    return repr(value) if type(value) in (int, float) else json.dumps(value)


def as_squid(entry: Entry) -> str:
    """squid's native format: time, elapsed ms, client, result/status, bytes, method, target, user, way, type.

    Source: squid's documentation of `logformat squid`.
    """
    when = datetime.fromisoformat(entry["time"]).timestamp()
    status, method = entry["status"], entry["method"]
    reached = entry.get("reached") or "-"
    way = "HIER_DIRECT" if reached != "-" else "HIER_NONE"
    return (
        f"{when:.3f} {round(entry['seconds'] * 1000):6d} {_host(entry['client'])} "
        f"{_squid_result(entry)}/{status:03d} {entry['bytes_down']} {method} {_word(entry['target'])} "
        f"{_word(entry.get('user') or '-')} {way}/{reached} -"
    )


def _squid_result(entry: Entry) -> str:
    error = entry.get("error")
    if error in ("http_request_denied", "destination_ip_prohibited", "connection_limit_reached"):
        return "TCP_DENIED"
    if entry["method"] == "-" or error == "http_request_error":
        return "NONE"
    return "TCP_TUNNEL" if entry["method"] == "CONNECT" else "TCP_MISS"


def as_combined(entry: Entry) -> str:
    """The combined format: host, -, user, [local time], "request line", status, bytes, "referer", "agent".

    Source: the documentation of Apache httpd, mod_log_config.
    """
    when = datetime.fromisoformat(entry["time"]).astimezone()
    line = "-"
    if entry["method"] != "-":
        line = f"{entry['method']} {entry['target']} HTTP/{entry.get('version', '1.1')}"
    return (
        f"{_host(entry['client'])} - {_word(entry.get('user') or '-')} [{when:%d/%b/%Y:%H:%M:%S %z}] "
        f'"{_text(line)}" {entry["status"] or "-"} {entry["bytes_down"] or "-"} '
        f'"{_text(entry.get("referer", "-"))}" "{_text(entry.get("user-agent", "-"))}"'
    )


FORMATS: dict[str, Callable[[Entry], str]] = {"json": as_json, "squid": as_squid, "combined": as_combined}
# The formats that want more of the request than JSON has.
WITH_DETAILS = frozenset({"squid", "combined"})


def _host(peer: str) -> str:
    return peer.rpartition(":")[0].strip("[]") or peer


def _word(text: str) -> str:
    """A field that ends at the next space, percent-encoded."""
    octets = text[:MAX_FIELD_CHARACTERS].encode("utf-8", "surrogateescape").decode("latin-1")
    return _NO_WORD.sub(lambda match: f"%{ord(match[0]):02X}", octets)


def _text(text: str) -> str:
    r"""A field in quotes: what is not printable ASCII, a quote or a backslash becomes \xhh."""
    return _ESCAPED.sub(lambda match: f"\\x{ord(match[0]):02x}", text[:MAX_FIELD_CHARACTERS])
