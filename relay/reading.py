"""Read a proxy's refusal: which kind of failure it means, and who speaks. Pure.

Which software says what was seen in captures of squid 5 and 6, tinyproxy, Apache, Privoxy, mitmproxy,
proxy.py, 3proxy and Traffic Server; `docs/causes.md` has the consequences.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

MAX_WORDS_CHARACTERS: Final = 400
MAX_QUOTED_BYTES: Final = 8_192
"""Of a page; its message stands at its beginning, and a hostile one must not take our time."""

AT_ONCE_SECONDS: Final = 1.5
"""Faster than any timeout in use; slower than a busy proxy, or a SYN that was repeated (1 s, RFC 6298)."""

_SQUID_ERRNO: Final = {
    "111": "gateway-refused", "110": "gateway-timed-out", "113": "gateway-unreachable",
    "101": "gateway-unreachable", "104": "gateway-refused",
}  # fmt: skip
_PROXY_STATUS: Final = {
    # RFC 9209 section 2.3
    "dns_timeout": "gateway-dns", "dns_error": "gateway-dns", "destination_not_found": "gateway-dns",
    "destination_unavailable": "gateway-failed", "destination_ip_prohibited": "denied",
    "destination_ip_unroutable": "gateway-unreachable", "connection_refused": "gateway-refused",
    "connection_terminated": "gateway-refused", "connection_timeout": "gateway-timed-out",
    "connection_limit_reached": "limited", "http_request_denied": "denied", "proxy_loop_detected": "loop",
    "proxy_configuration_error": "gateway-failed", "proxy_internal_error": "gateway-failed",
    "http_response_timeout": "gateway-timed-out",
}  # fmt: skip
_VENDORS: Final = (
    ("squid", r"x-squid-error:|via:.*\(squid|server: squid"),
    ("tinyproxy", r"tinyproxy"),
    ("privoxy", r"privoxy|last-modified: wed, 08 jun 1955"),
    ("mitmproxy", r"mitmproxy|connection_strategy"),
    ("apache", r"(?:proxy-agent|server): apache|httpd|proxy error"),
    ("traffic-server", r"server: ats/|tunnel forbidden"),
    ("zscaler", r"zscaler"),
    ("fortinet", r"fortin?et|fortigate|fortiguard"),
    ("bluecoat", r"bluecoat|proxysg"),
    ("haproxy", r"haproxy"),
    ("relay", r"proxy-status: framework-relay"),
)
_SAID: Final = (
    (
        "port",
        r"connect method not allowed with the port|port [0-9]+ is not allowed|ssl_ports|connect_method_denied"
        r"|port other than 443|tunnel forbidden",
    ),
    (
        "client",
        r"access denied due to.*(?:client|source|your ip)|administrator of this proxy has not configured",
    ),
    ("destination", r"filtered|category|blocked by privoxy|web ?filter|url ?block|not allowed as a target"),
)
_DNS_WORDS: Final = (
    r"dns lookup failure|no such domain|name error|no dns records|getaddrinfo"
    r"|host not found(?! or connection)|name or service not known|failure in name resolution"
    r"|no address associated|could not resolve|unable to determine ip address|cannot find server|unknown host"
)
# tinyproxy; haproxy's own page of 503; nghttpx, which as a forward proxy has a proxy behind it; Privoxy
_PARENT_WORDS: Final = (
    r"upstream proxy|no server is available to handle|server: nghttpx|socks[0-9a]* server unreachable"
)
_LIMIT_WORDS: Final = (
    r"too many (?:open )?(?:connections|clients|requests|sessions|users|tunnels)"
    r"|maximum number of (?:open )?(?:connections|clients|sessions)|connection limit"
)
# Not the setTimeout of a page's script
_TIMEOUT_WORDS: Final = r"errno 110|(?<![a-z])time(?:d?[ -])?out"
_TELLING_FIELD: Final = r"error|reason|message|detail|warning|proxy-status|proxy-agent|server|via"
"""Of a field's name. What others hold is no word on the target: Keep-Alive: timeout=5."""

_FORWARDER: Final = r"connection to (?P<asked>[0-9a-f.:]+) \((?P<dialled>[0-9a-f.:]+)\) could not"
"""Privoxy names what it was asked for and, in brackets, the address that it has tried."""


@dataclass(frozen=True)
class Reading:
    """What a refusal means.

    Attributes:
        word: as the "tunnel" check answers.
        said: what it says is denied: "port", "destination", "client", "".
        vendor: the software, "" when it does not show. own_words: the line to quote.
        parent: a proxy behind this one has spoken.
    """

    word: str
    said: str = ""
    vendor: str = ""
    own_words: str = ""
    parent: bool = False


def read_refusal(
    status: int, headers: Sequence[tuple[str, str]], body: bytes, *, sent_login: bool = False
) -> Reading:
    """Classify a reply to CONNECT outside 2xx."""
    fields = {name.lower(): value for name, value in headers}
    text = _text(headers, body)
    vendor = next((name for name, pattern in _VENDORS if re.search(pattern, text)), "")
    telling = [(name, value) for name, value in headers if re.search(_TELLING_FIELD, name.lower())]
    word = _word(status, fields, _text(telling, body), sent_login)
    said = next((what for what, pattern in _SAID if re.search(pattern, text)), "") if word == "denied" else ""
    if word == "denied" and vendor == "tinyproxy" and not said and "access denied" in text:
        said = "client"
    via = fields.get("via", "")
    return Reading(word, said, vendor, own_words(fields, body), parent=via.count(",") > 0)


_SOCKS_5 = {
    1: "gateway-failed", 2: "denied", 3: "gateway-unreachable", 4: "gateway-unreachable",
    5: "gateway-refused", 6: "gateway-timed-out", 7: "no-connect", 8: "no-connect",
}  # fmt: skip


def read_socks(version: str, code: int) -> Reading:
    """Classify a SOCKS reply that grants nothing (RFC 1928 section 6; SOCKS 4 has one for all)."""
    word = _SOCKS_5.get(code, "gateway-failed") if version.startswith("socks5") else "gateway-failed"
    return Reading(word, own_words=f"SOCKS reply {code}")


def _text(headers: Sequence[tuple[str, str]], body: bytes) -> str:
    lines = [f"{name}: {value}" for name, value in headers]
    return "\n".join([*lines, body[:16_384].decode("latin-1")]).lower()


def _word(status: int, fields: Mapping[str, str], text: str, sent_login: bool) -> str:
    told = _told(fields)
    if status == 407 or (status == 401 and sent_login):
        return "login-refused" if sent_login else "login-required"
    if told is not None:
        return told
    if 300 <= status < 400:
        return "redirected"
    if status in (405, 501):
        return "no-connect"
    if status == 511:
        return "portal"
    if status == 404 and "privoxy" in text:
        return "gateway-dns"
    if status in (400, 404, 414, 431):
        return "bad-request"
    if status == 429:
        return "limited"
    if status >= 500:
        return _gateway(status, text)
    return "denied"


def _told(fields: Mapping[str, str]) -> str | None:
    """What the proxy says in a field made for that."""
    error = fields.get("x-squid-error", "")
    if error:
        code, _, number = error.partition(" ")
        match code:
            case "ERR_CONNECT_FAIL" | "ERR_READ_ERROR":
                return _SQUID_ERRNO.get(number.strip(), "gateway-failed")
            case "ERR_DNS_FAIL":
                return "gateway-dns"
            case "ERR_CANNOT_FORWARD":
                return "cannot-forward"
            case "ERR_ACCESS_DENIED":
                return "denied"
            case "ERR_ICAP_FAILURE":
                return "scanner-failed"
    found = re.search(r"error=\"?([a-z_]+)", fields.get("proxy-status", ""))
    return _PROXY_STATUS.get(found[1]) if found else None


def _gateway(status: int, text: str) -> str:
    if re.search(_DNS_WORDS, text):
        return "gateway-dns"
    if re.search(_PARENT_WORDS, text) or _is_forwarder(text):
        return "parent-failed"
    if re.search(_LIMIT_WORDS, text):
        return "limited"
    if re.search(r"errno 111|connection refused", text):
        return "gateway-refused"
    if re.search(r"errno 1(?:01|13)|no route to host|network is unreachable", text):
        return "gateway-unreachable"
    if status == 504 or re.search(_TIMEOUT_WORDS, text):
        return "gateway-timed-out"
    if "host is unreachable" in text:
        return "gateway-unreachable"
    return "gateway-failed"


def _is_forwarder(text: str) -> bool:
    """Whether the address that was tried is not the one that was asked for: it is a parent's."""
    told = re.search(_FORWARDER, " ".join(re.sub(r"<[^>]{0,200}>", " ", text).split()))
    return told is not None and told["asked"] != told["dialled"]


def own_words(fields: Mapping[str, str], body: bytes) -> str:
    """The line of a refusal that is worth quoting: a field made for it, else the first words of its page."""
    for name in ("proxy-status", "x-squid-error", "x-forwarder-error", "x-smokescreen-error"):
        if value := fields.get(name):
            return _clean(f"{name}: {value}")
    if len(body) == 0:
        return ""
    page = re.sub(rb"(?is)<(script|style|head)\b.*?</\1\s*>", b" ", body[:MAX_QUOTED_BYTES])
    page = re.sub(rb"<[^>]{0,2000}>", b" ", page)
    return _clean(page.decode("utf-8", "replace"))


def _clean(text: str) -> str:
    """What a stranger said, fit for a terminal: printable, one line, bounded."""
    kept = " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())
    return kept if len(kept) <= MAX_WORDS_CHARACTERS else kept[: MAX_WORDS_CHARACTERS - 3] + "..."
