"""What real proxies answer to CONNECT, and what that means; replies as captured."""

import pytest

from relay.reading import MAX_WORDS_CHARACTERS, read_refusal

SQUID = ("Server", "squid/5.7")
TINYPROXY = ("Server", "tinyproxy/1.11.1")
APACHE = ("Server", "Apache/2.4.71 (Debian)")


def squid(error: str) -> list[tuple[str, str]]:
    return [SQUID, ("X-Squid-Error", error)]


CASES = {
    "squid: denied": (403, squid("ERR_ACCESS_DENIED 0"), b"", "denied", "", "squid"),
    "squid: refused": (503, squid("ERR_CONNECT_FAIL 111"), b"", "gateway-refused", "", "squid"),
    "squid: timeout": (503, squid("ERR_CONNECT_FAIL 110"), b"", "gateway-timed-out", "", "squid"),
    "squid: host": (503, squid("ERR_CONNECT_FAIL 113"), b"", "gateway-unreachable", "", "squid"),
    "squid: net": (503, squid("ERR_CONNECT_FAIL 101"), b"", "gateway-unreachable", "", "squid"),
    "squid 6: name": (503, squid("ERR_DNS_FAIL 0"), b"", "gateway-dns", "", "squid"),
    "squid 5: name or parent": (500, squid("ERR_CANNOT_FORWARD 0"), b"", "cannot-forward", "", "squid"),
    "squid: login": (407, squid("ERR_CACHE_ACCESS_DENIED 0"), b"", "login-required", "", "squid"),
    "squid: scanner": (500, squid("ERR_ICAP_FAILURE 0"), b"", "scanner-failed", "", "squid"),
    "tinyproxy: port": (
        403, [TINYPROXY], b"The CONNECT method not allowed with the port you tried to use.",
        "denied", "port", "tinyproxy",
    ),
    "tinyproxy: host": (
        403, [TINYPROXY], b"The request you made has been filtered", "denied", "destination", "tinyproxy",
    ),
    "tinyproxy: client": (403, [TINYPROXY], b"<h1>Access denied</h1>", "denied", "client", "tinyproxy"),
    "tinyproxy: anything": (
        500, [TINYPROXY], b"Tinyproxy was unable to connect", "gateway-failed", "", "tinyproxy",
    ),
    "tinyproxy: parent": (
        502, [TINYPROXY], b"<title>502 Unable to connect to upstream proxy</title>",
        "parent-failed", "", "tinyproxy",
    ),
    "apache: port or host": (403, [APACHE], b"Connect to remote machine blocked", "denied", "", "apache"),
    "apache: name": (502, [APACHE], b"Reason: DNS lookup failure for: x", "gateway-dns", "", "apache"),
    "apache: anything": (503, [APACHE], b"The server is temporarily unable", "gateway-failed", "", "apache"),
    "privoxy: name": (404, [], b"502 - Bad Gateway (Privoxy@localhost)", "gateway-dns", "", "privoxy"),
    "privoxy: limit": (503, [], b"Too many open connections (Privoxy)", "limited", "", "privoxy"),
    "mitmproxy: refused": (
        502, [], b"[Errno 111] consider setting `connection_strategy`",
        "gateway-refused", "", "mitmproxy",
    ),
    "haproxy: no backend": (
        503, [], b"<h1>503 Service Unavailable</h1>\nNo server is available to handle this request.",
        "parent-failed", "", "",
    ),
    "nghttpx: no backend": (502, [("Server", "nghttpx")], b"<h1>502</h1>", "parent-failed", "", ""),
    "privoxy: parent": (
        503, [], b"Privoxy: connection to <b>192.0.2.7</b> (127.0.0.1) could not be established",
        "parent-failed", "", "privoxy",
    ),
    "privoxy: anything": (
        503, [], b"Privoxy: connection to <b>192.0.2.7</b> (192.0.2.7) could not be established",
        "gateway-failed", "", "privoxy",
    ),
    "3proxy: anything": (502, [], b"Host Not Found or connection failed", "gateway-failed", "", ""),
    "traffic server: port": (403, [("Server", "ATS/9.2.9")], b"", "denied", "", "traffic-server"),
    "RFC 9209: refused": (
        502, [("Proxy-Status", "p; error=connection_refused")], b"", "gateway-refused", "", "",
    ),
    "RFC 9209: name": (502, [("Proxy-Status", 'p; error="dns_error"')], b"", "gateway-dns", "", ""),
    "RFC 9209: timeout": (
        504, [("Proxy-Status", "p; error=connection_timeout")], b"", "gateway-timed-out", "", "",
    ),
    "RFC 9209: limit": (503, [("Proxy-Status", "p; error=connection_limit_reached")], b"", "limited", "", ""),
    "ours: port": (
        403,
        [("Proxy-Status", 'framework-relay; error=http_request_denied; details="port 5000 is not allowed"')],
        b"", "denied", "port", "relay",
    ),
    "redirect": (302, [("Location", "http://login.example/")], b"", "redirected", "", ""),
    "a web server": (405, [("Allow", "GET")], b"", "no-connect", "", ""),
    "a portal": (511, [], b"", "portal", "", ""),
    "no route, on a connection that is kept": (
        502, [("Keep-Alive", "timeout=5")], b"<p>No route to host</p>", "gateway-unreachable", "", "",
    ),
    "no route, and how long that took": (
        503, [], b"(113) No route to host, timed out after 3 s", "gateway-unreachable", "", "",
    ),
    "a page with a clock in it": (
        502, [("Set-Cookie", "timeout=1")], b"<script>setTimeout(again, 1)</script>Bad gateway",
        "gateway-failed", "", "",
    ),
    "a timeout": (502, [("X-Error-Reason", "upstream timed out")], b"", "gateway-timed-out", "", ""),
    "too many": (503, [("Retry-After", "5")], b"Too many clients.", "limited", "", ""),
    "later": (503, [("Retry-After", "5")], b"", "gateway-failed", "", ""),
    "nothing said": (599, [], b"", "gateway-failed", "", ""),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_what_a_refusal_means(name: str) -> None:
    """The kind of failure, what is denied where the proxy says so, and whose words they are."""
    status, headers, body, word, said, vendor = CASES[name]
    reading = read_refusal(status, headers, body)
    assert (word, said, vendor) == (reading.word, reading.said, reading.vendor)


@pytest.mark.parametrize("status", [401, 407])
def test_a_login_that_was_refused(status: int) -> None:
    """407 again, or 401 as tinyproxy says it."""
    assert "login-refused" == read_refusal(status, [], b"", sent_login=True).word


def test_a_parent_has_spoken() -> None:
    """Two names in Via: the refusal comes from a proxy behind this one."""
    via = [("Via", "1.1 proxy.test (squid/5.7), 1.1 tinyproxy (tinyproxy/1.11.1)")]
    assert read_refusal(403, via, b"").parent
    assert not read_refusal(403, [("Via", "1.1 proxy.test (squid/5.7)")], b"").parent


def test_what_is_quoted_fits_on_a_line() -> None:
    """The field made for it, else the text of the page: printable, one line, bounded."""
    assert "x-squid-error: ERR_DNS_FAIL 0" == read_refusal(503, squid("ERR_DNS_FAIL 0"), b"<p>long").own_words
    page = b"<html><style>p { color: red }</style><body><h1>Not\r\n today</h1>\x1b[31m<script>x()</script>"
    assert "Not today [31m" == read_refusal(403, [], page).own_words
    long = read_refusal(403, [], b"<p>" + b"a " * 100_000).own_words
    assert MAX_WORDS_CHARACTERS == len(long)


def test_hostile_pages_take_no_time() -> None:
    """Nothing of a page makes reading slow: 64 KiB of what the patterns begin with."""
    for piece in (b"<", b"<script", b"<script>", b"via:", b"access denied due to", b"error=", b"port 1"):
        read_refusal(502, [("Via", "x")], piece * (65_536 // len(piece)))
