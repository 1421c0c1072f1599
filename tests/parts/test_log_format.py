"""Lines of the access log, in each format."""

import json
import re

import pytest

from relay.log_format import FORMATS, tunnel_as_json

ENTRY = {
    "time": "2024-01-02T03:04:05.678+00:00", "client": "192.0.2.1:4000", "method": "CONNECT",
    "target": "far.example:443", "status": 200, "bytes_up": 10, "bytes_down": 20, "ended": "client-closed",
    "seconds": 1.5, "user": "al ice", "reached": "192.0.2.9", "version": "1.1", "user-agent": 'a"b\\c\xe9',
}  # fmt: skip
REFUSAL = {"error": "http_request_denied", "words": "no", "bytes_down": 0, "reached": ""}
DENIED = {**ENTRY, "status": 403, **REFUSAL}
MALFORMED = {**DENIED, "method": "-", "target": "-", "status": 0, "error": "http_request_error", "user": None}


def test_json() -> None:
    """One object, on one line."""
    assert ENTRY == json.loads(FORMATS["json"](ENTRY))
    assert "\n" not in FORMATS["json"]({**ENTRY, "user": "a\nb"})


def test_most_tunnels_are_written_in_one_go() -> None:
    """Byte for byte what the general way makes of the same entry."""
    line = tunnel_as_json("192.0.2.1:4000", "[::1]:443", 10, 20, "client-closed", "192.0.2.2:5", 1.25)
    entry = json.loads(line)
    assert ("[::1]:443", 200, 10, 20, 1.25) == tuple(
        entry[name] for name in ("target", "status", "bytes_up", "bytes_down", "seconds")
    )
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00", entry["time"])
    assert line.replace("1.250000", "1.25") == FORMATS["json"](entry)


@pytest.mark.parametrize(
    ("entry", "rest"),
    [
        (ENTRY, "TCP_TUNNEL/200 20 CONNECT far.example:443 al%20ice HIER_DIRECT/192.0.2.9 -"),
        (DENIED, "TCP_DENIED/403 0 CONNECT far.example:443 al%20ice HIER_NONE/- -"),
        (
            {**ENTRY, "method": "GET", "target": "http://a/", "user": None},
            "TCP_MISS/200 20 GET http://a/ - HIER_DIRECT/192.0.2.9 -",
        ),
        (MALFORMED, "NONE/000 0 - - - HIER_NONE/- -"),
    ],
)
def test_squid(entry: dict[str, object], rest: str) -> None:
    """Ten fields with single spaces; the time in seconds with milliseconds; nothing in a field ends it."""
    assert f"1704164645.678   1500 192.0.2.1 {rest}" == FORMATS["squid"](entry)


def test_combined() -> None:
    """Quotes, backslashes and bytes beyond ASCII are escaped, as web servers do it."""
    line = FORMATS["combined"](ENTRY)
    assert re.fullmatch(
        r'192\.0\.2\.1 - al%20ice \[\d\d/Jan/2024:\d\d:\d4:05 [+-]\d{4}\] '
        r'"CONNECT far\.example:443 HTTP/1\.1" 200 20 "-" "a\\x22b\\x5cc\\xe9"',
        line,
    )


def test_nothing_ends_a_line() -> None:
    """Line ends in what a client chose stay inside their field."""
    for name in ("squid", "combined"):
        line = FORMATS[name]({**ENTRY, "user": "a\r\nb", "user-agent": "x\r\ny", "referer": "\x85\u2028"})
        assert 1 == len(line.splitlines())
        assert line.isascii()
