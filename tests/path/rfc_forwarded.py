"""Requests that a proxy forwards, and as what (RFC 9110 section 7.6, RFC 9112 sections 3.2.2 and 3.2.4)."""

from tests.path.rfc_case import ForwardedCase

HOST = "Host: {A}\r\n"


def forwarded(name: str, line: str, fields: str = "", body: str = "", *, at_origin: str) -> ForwardedCase:
    return ForwardedCase(name, f"{line}\r\n{fields}\r\n{body}".encode("latin-1"), at_origin.encode("latin-1"))


VIA = "Via: 1.1 {V}\r\n"
CLOSE = "Connection: close\r\n"
END = VIA + CLOSE + "\r\n"
GET = "GET http://{A}/path HTTP/1.1"
POST = "POST http://{A}/path HTTP/1.1"
AT = "GET /path HTTP/1.1\r\nHost: {A}\r\n"
AT_POST = "POST /path HTTP/1.1\r\nHost: {A}\r\n"
CHUNKED = VIA + CLOSE + "Transfer-Encoding: chunked\r\n\r\n"

FORWARDED = [
    forwarded("plain", GET, HOST, at_origin=AT + END),
    forwarded("no path", "GET http://{A} HTTP/1.1", HOST, at_origin="GET / HTTP/1.1\r\nHost: {A}\r\n" + END),
    forwarded(
        "query without path",
        "GET http://{A}?a=b HTTP/1.1",
        HOST,
        at_origin="GET /?a=b HTTP/1.1\r\nHost: {A}\r\n" + END,
    ),
    forwarded("scheme in capitals", "GET HTTP://{A}/path HTTP/1.1", HOST, at_origin=AT + END),
    forwarded(
        "path as it is",
        'GET http://{A}/a/../b//%2F%zz?x=[1]|{}^`"<>\\&y=http://z/ HTTP/1.1',
        HOST,
        at_origin='GET /a/../b//%2F%zz?x=[1]|{}^`"<>\\&y=http://z/ HTTP/1.1\r\nHost: {A}\r\n' + END,
    ),
    forwarded(
        "OPTIONS without path",
        "OPTIONS http://{A} HTTP/1.1",
        HOST,
        at_origin="OPTIONS * HTTP/1.1\r\nHost: {A}\r\n" + END,
    ),
    forwarded(
        "OPTIONS of the root",
        "OPTIONS http://{A}/ HTTP/1.1",
        HOST,
        at_origin="OPTIONS / HTTP/1.1\r\nHost: {A}\r\n" + END,
    ),
    forwarded(
        "OPTIONS of a query",
        "OPTIONS http://{A}?a HTTP/1.1",
        HOST,
        at_origin="OPTIONS /?a HTTP/1.1\r\nHost: {A}\r\n" + END,
    ),
    forwarded(
        "WebDAV",
        "PROPFIND http://{A}/path HTTP/1.1",
        HOST + "Depth: 1\r\n",
        at_origin="PROPFIND /path HTTP/1.1\r\nHost: {A}\r\nDepth: 1\r\n" + END,
    ),
    forwarded(
        "PATCH",
        "PATCH http://{A}/path HTTP/1.1",
        HOST + "Content-Length: 2\r\n",
        "ok",
        at_origin="PATCH /path HTTP/1.1\r\nHost: {A}\r\nContent-Length: 2\r\n" + END + "ok",
    ),
    forwarded("HTTP/1.0", "GET http://{A}/path HTTP/1.0", at_origin=AT + "Via: 1.0 {V}\r\n" + CLOSE + "\r\n"),
    forwarded(
        "HTTP/1.2", "GET http://{A}/path HTTP/1.2", HOST, at_origin=AT + "Via: 1.2 {V}\r\n" + CLOSE + "\r\n"
    ),
    forwarded("empty lines before", "\r\n\r\n" + GET, HOST, at_origin=AT + END),
    forwarded("Host of another", GET, "Host: other.example:81\r\n", at_origin=AT + END),
    forwarded("empty Host", GET, "Host:\r\n", at_origin=AT + END),
    forwarded("Host as last field", GET, "X: 1\r\n" + HOST, at_origin=AT + "X: 1\r\n" + END),
    forwarded("Host of odd but legal form", GET, "Host: a_b~%41:\r\n", at_origin=AT + END),
    forwarded("future address as Host", GET, "Host: [v1F.a:b]:80\r\n", at_origin=AT + END),
    forwarded("IPv6 Host", GET, "Host: [::1]:80\r\n", at_origin=AT + END),
    forwarded(
        "hop-by-hop",
        GET,
        HOST + "Keep-Alive: 5\r\nProxy-Connection: keep-alive\r\nTE: trailers\r\n"
        "Trailer: X\r\nUpgrade: websocket, h2c\r\nHTTP2-Settings: AA\r\nProxy-Authorization: Basic x\r\n"
        "Proxy-Authenticate: Basic\r\nX: 1\r\n",
        at_origin=AT + "X: 1\r\n" + END,
    ),
    forwarded(
        "nominated",
        GET,
        HOST + "Connection: X-One , close,,x-TWO\r\nX-One: 1\r\nX-Two: 2\r\nX-Three: 3\r\n",
        at_origin=AT + "X-Three: 3\r\n" + END,
    ),
    forwarded(
        "nominated in two fields",
        GET,
        HOST + "Connection: a\r\nA: 1\r\nB: 2\r\nConnection: b\r\n",
        at_origin=AT + END,
    ),
    forwarded(
        "nominated although it is for all",
        GET,
        HOST + "Connection: Cache-Control, Authorization, Max-Forwards, Date\r\nCache-Control: no-store\r\n"
        "Authorization: Basic x\r\nMax-Forwards: 1\r\nDate: x\r\n",
        at_origin=AT + END,
    ),
    forwarded(
        "not to be nominated",
        POST,
        HOST + "Connection: Host, Content-Length, Via, Expect\r\nContent-Length: 2\r\nVia: 1.0 a\r\n"
        "Expect: 100-continue\r\n",
        "ok",
        at_origin=AT_POST + "Content-Length: 2\r\nVia: 1.0 a\r\nExpect: 100-continue\r\n" + END + "ok",
    ),
    forwarded(
        "Via is appended",
        GET,
        HOST + "Via: 1.0 a, 1.1 b (c)\r\nVia: HTTP/1.1 d\r\n",
        at_origin=AT + "Via: 1.0 a, 1.1 b (c)\r\nVia: HTTP/1.1 d\r\n" + END,
    ),
    forwarded(
        "order, spelling and repetition",
        GET,
        HOST + "cOOkIE: a=b\r\nCookie: c=d\r\nX: 2\r\nx: 1\r\nX: 2\r\n",
        at_origin=AT + "cOOkIE: a=b\r\nCookie: c=d\r\nX: 2\r\nx: 1\r\nX: 2\r\n" + END,
    ),
    forwarded(
        "repeated fields that should be single",
        GET,
        HOST + "User-Agent: a\r\nUser-Agent: b\r\n",
        at_origin=AT + "User-Agent: a\r\nUser-Agent: b\r\n" + END,
    ),
    forwarded(
        "obs-text",
        GET,
        HOST + "X: \xe9\xff\x80 \xc3\xa9\r\n",
        at_origin=AT + "X: \xe9\xff\x80 \xc3\xa9\r\n" + END,
    ),
    forwarded(
        "white space around values",
        GET,
        HOST + 'A:\r\nB:b\r\nC: \t c d\t \r\nD: "e  \\" f"\r\n',
        at_origin=AT + 'A: \r\nB: b\r\nC: c d\r\nD: "e  \\" f"\r\n' + END,
    ),
    forwarded(
        "value of 64 KiB", GET, HOST + f"X: {'a' * 65_536}\r\n", at_origin=AT + f"X: {'a' * 65_536}\r\n" + END
    ),
    forwarded("999 fields", GET, HOST + "X: a\r\n" * 999, at_origin=AT + "X: a\r\n" * 999 + END),
    forwarded(
        "target of 60,000",
        f"GET http://{{A}}/{'a' * 60_000} HTTP/1.1",
        HOST,
        at_origin=f"GET /{'a' * 60_000} HTTP/1.1\r\nHost: {{A}}\r\n" + END,
    ),
    forwarded(
        "body by length",
        POST,
        HOST + "Content-Length: 5\r\n",
        "hello",
        at_origin=AT_POST + "Content-Length: 5\r\n" + END + "hello",
    ),
    forwarded(
        "empty body", POST, HOST + "Content-Length: 0\r\n", at_origin=AT_POST + "Content-Length: 0\r\n" + END
    ),
    forwarded(
        "length with zeros",
        POST,
        HOST + "Content-Length: 0005\r\n",
        "hello",
        at_origin=AT_POST + "Content-Length: 5\r\n" + END + "hello",
    ),
    forwarded(
        "body of GET",
        GET,
        HOST + "Content-Length: 5\r\n",
        "hello",
        at_origin=AT + "Content-Length: 5\r\n" + END + "hello",
    ),
    forwarded(
        "chunked",
        POST,
        HOST + "Transfer-Encoding: chunked\r\n",
        "5\r\nhello\r\n0\r\n\r\n",
        at_origin=AT_POST + CHUNKED + "5\r\nhello\r\n0\r\n\r\n",
    ),
    forwarded(
        "chunked in capitals",
        POST,
        HOST + "Transfer-Encoding: CHUNKED\r\n",
        "5\r\nhello\r\n0\r\n\r\n",
        at_origin=AT_POST + CHUNKED + "5\r\nhello\r\n0\r\n\r\n",
    ),
    forwarded(
        "chunked and nothing",
        POST,
        HOST + "Transfer-Encoding: chunked\r\n",
        "0\r\n\r\n",
        at_origin=AT_POST + CHUNKED + "0\r\n\r\n",
    ),
    forwarded(
        "extensions and trailers go no further",
        POST,
        HOST + "Transfer-Encoding: chunked\r\n",
        '005;a=b;c="d"\r\nhello\r\n3 ; x\r\nabc\r\n00;y\r\nX: 1\r\nContent-Length: 9\r\n\r\n',
        at_origin=AT_POST + CHUNKED + "8\r\nhelloabc\r\n0\r\n\r\n",
    ),
    forwarded(
        "upper-case size",
        POST,
        HOST + "Transfer-Encoding: chunked\r\n",
        "A\r\n0123456789\r\n0\r\n\r\n",
        at_origin=AT_POST + CHUNKED + "a\r\n0123456789\r\n0\r\n\r\n",
    ),
    forwarded(
        "Expect",
        POST,
        HOST + "Expect: 100-continue\r\nContent-Length: 2\r\n",
        "ok",
        at_origin=AT_POST + "Expect: 100-continue\r\nContent-Length: 2\r\n" + END + "ok",
    ),
    forwarded(
        "Expect of HTTP/1.0",
        "POST http://{A}/path HTTP/1.0",
        HOST + "Expect: 100-continue\r\nContent-Length: 2\r\n",
        "ok",
        at_origin=AT_POST + "Content-Length: 2\r\nVia: 1.0 {V}\r\n" + CLOSE + "\r\nok",
    ),
    forwarded(
        "Max-Forwards of TRACE",
        "TRACE http://{A}/path HTTP/1.1",
        HOST + "Max-Forwards: 10\r\n",
        at_origin="TRACE /path HTTP/1.1\r\nHost: {A}\r\nMax-Forwards: 9\r\n" + END,
    ),
    forwarded(
        "Max-Forwards of OPTIONS",
        "OPTIONS http://{A} HTTP/1.1",
        HOST + "max-forwards: 001\r\n",
        at_origin="OPTIONS * HTTP/1.1\r\nHost: {A}\r\nmax-forwards: 0\r\n" + END,
    ),
    forwarded(
        "Max-Forwards beyond all limits",
        "OPTIONS http://{A}/ HTTP/1.1",
        HOST + f"Max-Forwards: {'9' * 5000}\r\n",
        at_origin="OPTIONS / HTTP/1.1\r\nHost: {A}\r\nMax-Forwards: 999999998\r\n" + END,
    ),
    forwarded(
        "Max-Forwards of GET", GET, HOST + "Max-Forwards: x\r\n", at_origin=AT + "Max-Forwards: x\r\n" + END
    ),
    forwarded(
        "content coding",
        POST,
        HOST + "Content-Encoding: gzip\r\nContent-Length: 4\r\n",
        "\x1f\x8b\x00\xff",
        at_origin=AT_POST + "Content-Encoding: gzip\r\nContent-Length: 4\r\n" + END + "\x1f\x8b\x00\xff",
    ),
    forwarded(
        "credentials of the origin",
        GET,
        HOST + "Authorization: Basic x\r\n",
        at_origin=AT + "Authorization: Basic x\r\n" + END,
    ),
]
