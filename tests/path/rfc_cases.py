"""Raw requests, and what RFC 9110, 9112, 3986, 9209 and 9931 want of a proxy that gets them.

In each, `{A}` stands for the authority of an origin that answers, `{H}` for its whole Host line.
"""

from dataclasses import dataclass

HOST = "Host: {A}\r\n"


@dataclass(frozen=True)
class RefusedCase:
    """A request of which nothing may reach anybody; the connection closes behind the reply."""

    name: str
    raw: bytes
    status: int


@dataclass(frozen=True)
class ForwardedCase:
    """A request that reaches its origin as `at_origin`, where `{V}` is our name in Via."""

    name: str
    raw: bytes
    at_origin: bytes


def connect_targets() -> list[RefusedCase]:
    """RFC 9112 section 3.2.3, RFC 3986 section 3.2, RFC 1035 section 2.3.4."""
    targets = {
        "no port": b"127.0.0.1",
        "empty port": b"127.0.0.1:",
        "port 0": b"127.0.0.1:0",
        "port 00": b"127.0.0.1:00",
        "port 65536": b"127.0.0.1:65536",
        "port 70536, which is 5000 in 16 bits": b"127.0.0.1:70536",
        "port of 4300 digits": b"127.0.0.1:" + b"9" * 4300,
        "negative port": b"127.0.0.1:-1",
        "port with a plus": b"127.0.0.1:+80",
        "port in hexadecimal": b"127.0.0.1:0x50",
        "port by name": b"127.0.0.1:http",
        "two ports": b"127.0.0.1:80:80",
        "port with an underscore": b"127.0.0.1:8_0",
        "user information": b"user:password@127.0.0.1:80",
        "user": b"user@127.0.0.1:80",
        "empty user": b"@127.0.0.1:80",
        "another host as user": b"allowed.example:443@127.0.0.1:80",
        "empty host": b":80",
        "colon alone": b":",
        "path": b"127.0.0.1:80/",
        "path behind the host": b"127.0.0.1/:80",
        "query": b"127.0.0.1:80?a",
        "fragment": b"127.0.0.1:80#a",
        "http URI": b"http://127.0.0.1:80/",
        "https URI": b"https://127.0.0.1:443",
        "scheme-relative": b"//127.0.0.1:80",
        "origin-form": b"/",
        "asterisk-form": b"*",
        "bare IPv6": b"::1:80",
        "bare long IPv6": b"2001:db8:0:0:0:0:0:1:80",
        "IPv6 without its end": b"[::1:80",
        "IPv6 without its beginning": b"::1]:80",
        "IPv6 without port": b"[::1]",
        "IPv6 with the port inside": b"[::1:]80",
        "IPv6 without a colon": b"[::1]80",
        "empty brackets": b"[]:80",
        "IPv4 in brackets": b"[127.0.0.1]:80",
        "name in brackets": b"[localhost]:80",
        "IPv6 of nine groups": b"[1:2:3:4:5:6:7:8:9]:80",
        "IPv6 with two gaps": b"[1::2::3]:80",
        "IPv6 of five digits": b"[12345::]:80",
        "zone": b"[fe80::1%eth0]:80",
        "encoded zone": b"[fe80::1%25eth0]:80",
        "future address": b"[v1.fe]:80",
        "IPv4 of two parts": b"127.1:80",
        "IPv4 of three parts": b"127.0.1:80",
        "IPv4 in hexadecimal": b"0x7f000001:80",
        "IPv4 parts in hexadecimal": b"0x7f.0.0.1:80",
        "IPv4 as one number": b"2130706433:80",
        "IPv4 in octal": b"0177.0.0.1:80",
        "IPv4 with a leading zero": b"127.0.0.01:80",
        "IPv4 of five parts": b"1.2.3.4.5:80",
        "IPv4 part beyond 255": b"256.1.1.1:80",
        "IPv4 with a dot behind": b"127.0.0.1.:80",
        "IPv4 with an empty part": b"127..0.1:80",
        "percent-encoded dot": b"127%2e0.0.1:80",
        "percent-encoded letter": b"exa%6dple.invalid:80",
        "UTF-8 name": "b\u00fccher.invalid:80".encode(),
        "Latin-1 name": b"b\xfccher.invalid:80",
        "full-width digits": "\uff11.1.1.1:80".encode(),
        "label of 64": b"a" * 64 + b".invalid:80",
        "name of 254": b"a." * 123 + b"invalid0:80",
        "dot": b".:80",
        "two dots": b"a..invalid:80",
        "leading dot": b".invalid:80",
        "two dots behind": b"a.invalid..:80",
        "leading hyphen": b"-a.invalid:80",
        "trailing hyphen": b"a-.invalid:80",
        "comma": b"a,b:80",
        "semicolon": b"a;b:80",
        "backslash": b"a\\b:80",
        "quote": b'"a":80',
        "dollar": b"$HOME:80",
        "wildcard": b"*.invalid:80",
        "pipe": b"a|b:80",
        "angle brackets": b"<a>:80",
        "space before the port": b"127.0.0.1: 80",
        "space inside": b"a b:80",
        "tab inside": b"a\tb:80",
        "NUL inside": b"127.0.0.1\0.invalid:80",
        "CR inside": b"127.0.0.1\r:80",
        "DEL inside": b"127.0.0.1\x7f:80",
        "nothing": b"",
    }
    return [
        RefusedCase(f"CONNECT: {name}", b"CONNECT " + target + b" HTTP/1.1\r\nHost: a\r\n\r\n", 400)
        for name, target in targets.items()
    ]


def request_lines() -> list[RefusedCase]:
    """RFC 9112 sections 2.3 and 3, RFC 9110 sections 9.1, 15.5.15, 15.6.2 and 15.6.6."""
    lines = {
        "no version": (b"GET http://{A}/", 400),
        "no version, origin-form": (b"GET /", 400),
        "method alone": (b"GET", 400),
        "HTTP/0.9": (b"GET http://{A}/ HTTP/0.9", 505),
        "HTTP/2.0": (b"GET http://{A}/ HTTP/2.0", 505),
        "HTTP/3.0": (b"GET http://{A}/ HTTP/3.0", 505),
        "HTTP/9.9": (b"GET http://{A}/ HTTP/9.9", 505),
        "CONNECT HTTP/2.0": (b"CONNECT {A} HTTP/2.0", 505),
        "CONNECT HTTP/0.9": (b"CONNECT {A} HTTP/0.9", 505),
        "CONNECT without version": (b"CONNECT {A}", 400),
        "preface of HTTP/2": (b"PRI * HTTP/2.0", 505),
        "HTTP/2 without minor": (b"GET http://{A}/ HTTP/2", 400),
        "HTTP/1": (b"GET http://{A}/ HTTP/1", 400),
        "HTTP/1.": (b"GET http://{A}/ HTTP/1.", 400),
        "HTTP/1.10": (b"GET http://{A}/ HTTP/1.10", 400),
        "HTTP/01.1": (b"GET http://{A}/ HTTP/01.1", 400),
        "HTTP/1.x": (b"GET http://{A}/ HTTP/1.x", 400),
        "lower-case version": (b"GET http://{A}/ http/1.1", 400),
        "another protocol": (b"GET http://{A}/ FTP/1.1", 400),
        "RTSP": (b"GET http://{A}/ RTSP/1.0", 400),
        "ICE": (b"SOURCE http://{A}/ ICE/1.0", 400),
        "space behind the version": (b"GET http://{A}/ HTTP/1.1 ", 400),
        "a fourth word": (b"GET http://{A}/ HTTP/1.1 x", 400),
        "two spaces before the target": (b"GET  http://{A}/ HTTP/1.1", 400),
        "two spaces behind the target": (b"GET http://{A}/  HTTP/1.1", 400),
        "tab before the target": (b"GET\thttp://{A}/ HTTP/1.1", 400),
        "tab behind the target": (b"GET http://{A}/\tHTTP/1.1", 400),
        "vertical tab": (b"GET http://{A}/\x0bHTTP/1.1", 400),
        "leading space": (b" GET http://{A}/ HTTP/1.1", 400),
        "leading tab": (b"\tGET http://{A}/ HTTP/1.1", 400),
        "leading CR": (b"\rGET http://{A}/ HTTP/1.1", 400),
        "leading LF": (b"\nGET http://{A}/ HTTP/1.1", 400),
        "leading byte order mark": (b"\xef\xbb\xbfGET http://{A}/ HTTP/1.1", 400),
        "unknown method": (b"BREW http://{A}/ HTTP/1.1", 501),
        "known method with a letter behind": (b"GETS http://{A}/ HTTP/1.1", 501),
        "lower-case method": (b"get http://{A}/ HTTP/1.1", 501),
        "mixed-case method": (b"Get http://{A}/ HTTP/1.1", 501),
        "lower-case CONNECT": (b"connect {A} HTTP/1.1", 501),
        "unknown method in origin-form": (b"BREW / HTTP/1.1", 501),
        "method of odd token characters": (b"!#$%&'*+-.^_`|~ http://{A}/ HTTP/1.1", 501),
        "long method": (b"A" * 300 + b" http://{A}/ HTTP/1.1", 501),
        "PRI in HTTP/1.1": (b"PRI * HTTP/1.1", 501),
        "method that is no token": (b"G@T http://{A}/ HTTP/1.1", 400),
        "method in quotes": (b'"GET" http://{A}/ HTTP/1.1', 400),
        "method with a colon": (b"GET: http://{A}/ HTTP/1.1", 400),
        "method with a NUL": (b"G\0T http://{A}/ HTTP/1.1", 400),
        "target of 64 KiB and one": (b"GET http://{A}/" + b"a" * 65_537 + b" HTTP/1.1", 414),
        "target of 1 MiB": (b"GET http://{A}/" + b"a" * 2**20 + b" HTTP/1.1", 414),
        "CONNECT target of 100,000": (b"CONNECT " + b"a" * 100_000 + b":80 HTTP/1.1", 414),
    }
    return [
        RefusedCase(f"line: {name}", line + b"\r\n{H}\r\n", status) for name, (line, status) in lines.items()
    ]


def request_targets() -> list[RefusedCase]:
    """RFC 9112 section 3.2, RFC 9110 section 4.2."""
    targets = {
        "origin-form": (b"/path", 405),
        "origin-form of two slashes": (b"//{A}/path", 405),
        "asterisk-form": (b"*", 400),
        "authority-form": (b"{A}", 400),
        "host alone": (b"localhost", 400),
        "https": (b"https://{A}/", 501),
        "ftp": (b"ftp://{A}/", 501),
        "ws": (b"ws://{A}/", 501),
        "scheme of odd letters": (b"a+b.c-1://{A}/", 501),
        "no scheme": (b"://{A}/", 400),
        "scheme that begins with a digit": (b"1http://{A}/", 400),
        "mailto": (b"mailto:a@b", 400),
        "urn": (b"urn:a:b", 400),
        "http without slashes": (b"http:{A}/", 400),
        "http with one slash": (b"http:/{A}/", 400),
        "http without authority": (b"http:///path", 400),
        "http and nothing": (b"http://", 400),
        "http without host": (b"http://:80/", 400),
        "http with backslashes": (b"http:\\\\{A}/", 400),
        "user information": (b"http://user:password@{A}/", 400),
        "user": (b"http://user@{A}/", 400),
        "empty user": (b"http://@{A}/", 400),
        "fragment": (b"http://{A}/path#fragment", 400),
        "empty fragment": (b"http://{A}/path#", 400),
        "fragment behind the authority": (b"http://{A}#fragment", 400),
        "fragment in the query": (b"http://{A}/?a#b", 400),
        "port 0": (b"http://127.0.0.1:0/", 400),
        "port 65536": (b"http://127.0.0.1:65536/", 400),
        "port by name": (b"http://127.0.0.1:http/", 400),
        "bare IPv6": (b"http://::1/", 400),
        "zone": (b"http://[fe80::1%25eth0]/", 400),
        "IPv4 of two parts": (b"http://127.1/", 400),
        "IPv4 as one number": (b"http://2130706433/", 400),
        "percent-encoded host": (b"http://127%2e0.0.1/", 400),
        "backslash in the authority": (b"http://{A}\\@b/", 400),
        "UTF-8 in the path": ("http://{A}/\u00fc".encode(), 400),
        "Latin-1 in the path": (b"http://{A}/\xfc", 400),
        "UTF-8 host": ("http://b\u00fccher.invalid/".encode(), 400),
        "space in the path": (b"http://{A}/a b", 400),
        "tab in the path": (b"http://{A}/a\tb", 400),
        "NUL in the path": (b"http://{A}/a\0b", 400),
        "CR in the path": (b"http://{A}/a\rb", 400),
        "control character in the path": (b"http://{A}/\x01", 400),
        "DEL in the path": (b"http://{A}/\x7f", 400),
    }
    cases = [
        RefusedCase(f"target: {name}", b"GET " + target + b" HTTP/1.1\r\n{H}\r\n", status)
        for name, (target, status) in targets.items()
    ]
    others = {
        "OPTIONS in origin-form": (b"OPTIONS /path", 405),
        "POST in origin-form": (b"POST /path", 405),
        "OPTIONS and two asterisks": (b"OPTIONS **", 400),
        "TRACE in asterisk-form": (b"TRACE *", 400),
    }
    return cases + [
        RefusedCase(f"target: {name}", line + b" HTTP/1.1\r\n{H}\r\n", status)
        for name, (line, status) in others.items()
    ]


def hosts() -> list[RefusedCase]:
    """RFC 9112 section 3.2, RFC 9110 section 7.2."""
    fields = {
        "none": b"",
        "two that are the same": b"{H}{H}",
        "two that differ": b"{H}Host: b\r\n",
        "two, spelt differently": b"{H}hOST: {A}\r\n",
        "list": b"Host: {A}, b\r\n",
        "list without space": b"Host: {A},b\r\n",
        "space inside": b"Host: a b\r\n",
        "path": b"Host: {A}/path\r\n",
        "scheme": b"Host: http://{A}\r\n",
        "user": b"Host: user@{A}\r\n",
        "query": b"Host: {A}?a\r\n",
        "bare IPv6": b"Host: ::1\r\n",
        "broken IPv6": b"Host: [::1\r\n",
        "no IPv6 in brackets": b"Host: [1:2]\r\n",
        "port by name": b"Host: a:http\r\n",
        "port beyond 65535": b"Host: a:65536\r\n",
        "two ports": b"Host: a:1:2\r\n",
        "UTF-8": "Host: b\u00fccher\r\n".encode(),
        "quotes": b'Host: "a"\r\n',
        "backslash": b"Host: a\\b\r\n",
        "broken percent-encoding": b"Host: a%zz\r\n",
    }
    lines = {"CONNECT": b"CONNECT {A} HTTP/1.1\r\n", "GET": b"GET http://{A}/ HTTP/1.1\r\n"}
    cases = [
        RefusedCase(f"Host of {method}: {name}", line + host + b"\r\n", 400)
        for name, host in fields.items()
        for method, line in lines.items()
    ]
    return [
        *cases,
        RefusedCase("Host of HTTP/1.0: two", b"GET http://{A}/ HTTP/1.0\r\n{H}{H}\r\n", 400),
        RefusedCase("Host of HTTP/1.2: none", b"GET http://{A}/ HTTP/1.2\r\n\r\n", 400),
    ]


def header_lines() -> list[RefusedCase]:
    """RFC 9112 sections 2.2, 5.1 and 5.2, RFC 9110 sections 5.1 and 5.5, RFC 6585 section 5."""
    lines = {
        "folded by a space": (b"X-A: b\r\n c\r\n", 400),
        "folded by a tab": (b"X-A: b\r\n\tc\r\n", 400),
        "folded Transfer-Encoding": (b"Transfer-Encoding:\r\n chunked\r\n", 400),
        "white space before the first field": (b" X-A: b\r\n", 400),
        "white space alone": (b" \r\n", 400),
        "bare LF": (b"X-A: b\nX-B: c\r\n", 400),
        "bare LF at the end": (b"X-A: b\n", 400),
        "bare CR": (b"X-A: b\rX-B: c\r\n", 400),
        "CR CR LF": (b"X-A: b\r\r\n", 400),
        "NUL in a value": (b"X-A: a\0b\r\n", 400),
        "NUL in a name": (b"X\0A: b\r\n", 400),
        "control character": (b"X-A: a\x01b\r\n", 400),
        "bell": (b"X-A: a\x07b\r\n", 400),
        "vertical tab": (b"X-A: a\x0bb\r\n", 400),
        "form feed": (b"X-A: a\x0cb\r\n", 400),
        "escape": (b"X-A: a\x1bb\r\n", 400),
        "DEL": (b"X-A: a\x7fb\r\n", 400),
        "space before the colon": (b"X-A : b\r\n", 400),
        "tab before the colon": (b"X-A\t: b\r\n", 400),
        "space before the colon of Content-Length": (b"Content-Length : 5\r\n", 400),
        "no colon": (b"X-A\r\n", 400),
        "empty name": (b": b\r\n", 400),
        "space in a name": (b"X A: b\r\n", 400),
        "parentheses in a name": (b"X(A): b\r\n", 400),
        "slash in a name": (b"X/A: b\r\n", 400),
        "at in a name": (b"X@A: b\r\n", 400),
        "quotes in a name": (b'"X": b\r\n', 400),
        "UTF-8 in a name": ("X-\u00c4: b\r\n".encode(), 400),
        "value of 64 KiB and one": (b"X: " + b"a" * 65_537 + b"\r\n", 431),
        "value of 1 MiB": (b"X: " + b"a" * 2**20 + b"\r\n", 431),
        "name of 200,000": (b"X" * 200_000 + b": a\r\n", 431),
        "1,001 fields": (b"X: a\r\n" * 1000, 431),
        "fields of 200 KiB together": (b"".join(b"X: %b\r\n" % (b"a" * 1000) for _ in range(200)), 431),
    }
    methods = {"CONNECT": b"CONNECT {A} HTTP/1.1\r\n{H}", "POST": b"POST http://{A}/ HTTP/1.1\r\n{H}"}
    return [
        RefusedCase(f"fields of {method}: {name}", line + field + b"\r\n", status)
        for name, (field, status) in lines.items()
        for method, line in methods.items()
    ]


def framings() -> list[RefusedCase]:
    """RFC 9112 sections 6.1 to 6.3; every one of these has been used to smuggle a request past somebody."""
    fields = {
        "length and chunked": b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "chunked and length": b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        "chunked and length 0": b"Transfer-Encoding: chunked\r\nContent-Length: 0\r\n",
        "two lengths that differ": b"Content-Length: 5\r\nContent-Length: 6\r\n",
        "two lengths that are the same": b"Content-Length: 5\r\nContent-Length: 5\r\n",
        "list of lengths": b"Content-Length: 5, 5\r\n",
        "list of lengths that differ": b"Content-Length: 5, 6\r\n",
        "negative length": b"Content-Length: -5\r\n",
        "length with a plus": b"Content-Length: +5\r\n",
        "length in hexadecimal": b"Content-Length: 0x5\r\n",
        "length in letters": b"Content-Length: five\r\n",
        "length with a fraction": b"Content-Length: 5.0\r\n",
        "length with an exponent": b"Content-Length: 5e0\r\n",
        "length with an underscore": b"Content-Length: 1_0\r\n",
        "length with a space": b"Content-Length: 1 0\r\n",
        "empty length": b"Content-Length:\r\n",
        "length of 2^63": b"Content-Length: 9223372036854775808\r\n",
        "length of 2^64 + 5": b"Content-Length: 18446744073709551621\r\n",
        "length of 5000 digits": b"Content-Length: " + b"9" * 5000 + b"\r\n",
        "length in other digits": "Content-Length: \u0665\r\n".encode(),
        "identity": b"Transfer-Encoding: identity\r\n",
        "chunked twice": b"Transfer-Encoding: chunked, chunked\r\n",
        "chunked in two fields": b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        "chunked, then identity": b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
        "chunked, then gzip": b"Transfer-Encoding: chunked, gzip\r\n",
        "xchunked": b"Transfer-Encoding: xchunked\r\n",
        "chunkedx": b"Transfer-Encoding: chunkedx\r\n",
        "gzip alone": b"Transfer-Encoding: gzip\r\n",
        "chunked in quotes": b'Transfer-Encoding: "chunked"\r\n',
        "chunked with a parameter": b"Transfer-Encoding: chunked;q=1\r\n",
        "chunked behind a comma": b"Transfer-Encoding: ,chunked\r\n",
        "chunked before a comma": b"Transfer-Encoding: chunked,\r\n",
        "chunked behind a vertical tab": b"Transfer-Encoding: \x0bchunked\r\n",
        "chunked behind a form feed": b"Transfer-Encoding: \x0cchunked\r\n",
        "chunked before a NUL": b"Transfer-Encoding: chunked\0\r\n",
        "chunked and a space before the colon": b"Transfer-Encoding : chunked\r\n",
        "empty coding": b"Transfer-Encoding:\r\n",
        "coding cut by a bare CR": b"Transfer-Encoding: chunk\red\r\n",
    }
    smuggled = b"0\r\n\r\nGET http://{A}/smuggled HTTP/1.1\r\n{H}\r\n"
    cases = [
        RefusedCase(f"framing: {name}", b"POST http://{A}/ HTTP/1.1\r\n{H}" + field + b"\r\n" + smuggled, 400)
        for name, field in fields.items()
    ]
    bodies = {
        "length": b"Content-Length: 5\r\n\r\nhello",
        "chunked": b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        "gzip, chunked": b"Transfer-Encoding: gzip, chunked\r\n\r\n",
        "empty coding": b"Transfer-Encoding:\r\n\r\n",
        "malformed length": b"Content-Length: x\r\n\r\n",
        "two lengths": b"Content-Length: 0\r\nContent-Length: 0\r\n\r\n",
    }
    for name, body in bodies.items():
        cases.append(RefusedCase(f"body of CONNECT: {name}", b"CONNECT {A} HTTP/1.1\r\n{H}" + body, 400))
        cases.append(RefusedCase(f"body of TRACE: {name}", b"TRACE http://{A}/ HTTP/1.1\r\n{H}" + body, 400))
    chunked_1_0 = b"POST http://{A}/ HTTP/1.0\r\n{H}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    return [
        *cases,
        RefusedCase("framing: chunked in HTTP/1.0", chunked_1_0, 400),
        RefusedCase(
            "framing: gzip, chunked",
            b"POST http://{A}/ HTTP/1.1\r\n{H}Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
            501,
        ),
    ]


def chunks() -> list[RefusedCase]:
    """RFC 9112 section 7.1."""
    bodies = {
        "size of 17 digits": b"ffffffffffffffff1\r\nhello\r\n",
        "size of 2^64 + 5": b"10000000000000005\r\nhello\r\n",
        "size of 2^63": b"8000000000000000\r\nhello\r\n",
        "negative size": b"-5\r\nhello\r\n",
        "size with a plus": b"+5\r\nhello\r\n",
        "size with 0x": b"0x5\r\nhello\r\n",
        "size with an underscore": b"0_5\r\nhello\r\n",
        "space behind the size": b"5 \r\nhello\r\n",
        "space before the size": b" 5\r\nhello\r\n",
        "empty size": b"\r\nhello\r\n",
        "no size": b"hello\r\n",
        "extension without size": b";a=b\r\nhello\r\n",
        "bare LF behind the size": b"5\nhello\r\n",
        "bare LF behind the data": b"5\r\nhello\n0\r\n\r\n",
        "bare LF in an extension": b"5;a\nb\r\nhello\r\n",
        "bare CR in an extension": b"5;a\rb\r\nhello\r\n",
        "NUL behind the size": b"5\0\r\nhello\r\n",
        "NUL in an extension": b"5;\0\r\nhello\r\n",
        "chunk shorter than its size": b"5\r\nhell\r\n0\r\n\r\n",
        "chunk longer than its size": b"5\r\nhelloo\r\n0\r\n\r\n",
        "no line end behind the data": b"5\r\nhello0\r\n\r\n",
        "another line end behind the data": b"5\r\nhelloXX0\r\n\r\n",
        "extension of 5000": b"5;" + b"a" * 5000 + b"\r\nhello\r\n0\r\n\r\n",
        "folded trailer": b"0\r\nX: 1\r\n y\r\n\r\n",
        "trailer without colon": b"0\r\nX\r\n\r\n",
        "space before the colon of a trailer": b"0\r\nX : 1\r\n\r\n",
        "bare LF behind a trailer": b"0\r\nX: 1\n\r\n",
        "bare LF at the end": b"0\r\n\n",
    }
    head = b"POST http://{A}/ HTTP/1.1\r\n{H}Transfer-Encoding: chunked\r\n\r\n"
    cases = [RefusedCase(f"chunk: {name}", head + body, 400) for name, body in bodies.items()]
    return [*cases, RefusedCase("chunk: trailers of 100,000", head + b"0\r\nX: " + b"a" * 100_000, 431)]


def counted() -> list[RefusedCase]:
    """RFC 9110 section 7.6.2."""
    values = {"letters": b"x", "negative": b"-1", "empty": b"", "list": b"1, 2", "fraction": b"1.0"}
    return [
        RefusedCase(
            f"Max-Forwards of {method.decode()}: {name}",
            method + b" http://{A}/ HTTP/1.1\r\n{H}Max-Forwards: " + value + b"\r\n\r\n",
            400,
        )
        for method in (b"TRACE", b"OPTIONS")
        for name, value in {**values, "two": b"1\r\nMax-Forwards: 1"}.items()
    ]


def other_protocols() -> list[RefusedCase]:
    """What is no HTTP at all is refused at once, without a line end or a timeout."""
    firsts = {
        "TLS": bytes.fromhex("16030100a5010000a10303") + b"\0" * 160,
        "SSL 2": bytes.fromhex("802e0100020015000000100100800700c0"),
        "SOCKS 5": b"\x05\x01\x00",
        "SOCKS 4": b"\x04\x01\x00\x50\x7f\0\0\x01\0",
        "SSH": b"SSH-2.0-OpenSSH_9.6\r\n",
        "SMTP": b"EHLO example\r\n",
        "an HTTP reply": b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        "PROXY protocol 1": b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n",
        "PROXY protocol 2": b"\r\n\r\n\0\r\nQUIT\n!\x11\0\x0c",
        "RDP": bytes.fromhex("0300002b26e00000000000436f6f6b69653a"),
        "a Framework packet": b"\0\0\0\x28" + b"\xa5" * 40,
        "JSON": b'{"jsonrpc": "2.0"}',
        "UTF-8": "\u00fc".encode(),
        "NUL": b"\0",
    }
    return [RefusedCase(f"protocol: {name}", first, 400) for name, first in firsts.items()]


REFUSED = [
    *connect_targets(), *request_lines(), *request_targets(), *hosts(), *header_lines(), *framings(), *chunks(),
    *counted(), *other_protocols(),
]  # fmt: skip


def forwarded(name: str, line: str, fields: str = "", body: str = "", *, at_origin: str) -> ForwardedCase:
    return ForwardedCase(
        name, f"{line}\r\n{fields}\r\n{body}".encode("latin-1"), at_origin.encode("latin-1")
    )


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
    forwarded("query without path", "GET http://{A}?a=b HTTP/1.1", HOST,
              at_origin="GET /?a=b HTTP/1.1\r\nHost: {A}\r\n" + END),
    forwarded("scheme in capitals", "GET HTTP://{A}/path HTTP/1.1", HOST, at_origin=AT + END),
    forwarded("path as it is", "GET http://{A}/a/../b//%2F%zz?x=[1]|{}^`\"<>\\&y=http://z/ HTTP/1.1", HOST,
              at_origin="GET /a/../b//%2F%zz?x=[1]|{}^`\"<>\\&y=http://z/ HTTP/1.1\r\nHost: {A}\r\n" + END),
    forwarded("OPTIONS without path", "OPTIONS http://{A} HTTP/1.1", HOST,
              at_origin="OPTIONS * HTTP/1.1\r\nHost: {A}\r\n" + END),
    forwarded("OPTIONS of the root", "OPTIONS http://{A}/ HTTP/1.1", HOST,
              at_origin="OPTIONS / HTTP/1.1\r\nHost: {A}\r\n" + END),
    forwarded("OPTIONS of a query", "OPTIONS http://{A}?a HTTP/1.1", HOST,
              at_origin="OPTIONS /?a HTTP/1.1\r\nHost: {A}\r\n" + END),
    forwarded("WebDAV", "PROPFIND http://{A}/path HTTP/1.1", HOST + "Depth: 1\r\n",
              at_origin="PROPFIND /path HTTP/1.1\r\nHost: {A}\r\nDepth: 1\r\n" + END),
    forwarded("PATCH", "PATCH http://{A}/path HTTP/1.1", HOST + "Content-Length: 2\r\n", "ok",
              at_origin="PATCH /path HTTP/1.1\r\nHost: {A}\r\nContent-Length: 2\r\n" + END + "ok"),
    forwarded("HTTP/1.0", "GET http://{A}/path HTTP/1.0", at_origin=AT + "Via: 1.0 {V}\r\n" + CLOSE + "\r\n"),
    forwarded("HTTP/1.2", "GET http://{A}/path HTTP/1.2", HOST,
              at_origin=AT + "Via: 1.2 {V}\r\n" + CLOSE + "\r\n"),
    forwarded("empty lines before", "\r\n\r\n" + GET, HOST, at_origin=AT + END),
    forwarded("Host of another", GET, "Host: other.example:81\r\n", at_origin=AT + END),
    forwarded("empty Host", GET, "Host:\r\n", at_origin=AT + END),
    forwarded("Host as last field", GET, "X: 1\r\n" + HOST, at_origin=AT + "X: 1\r\n" + END),
    forwarded("Host of odd but legal form", GET, "Host: a_b~%41:\r\n", at_origin=AT + END),
    forwarded("IPv6 Host", GET, "Host: [::1]:80\r\n", at_origin=AT + END),
    forwarded("hop-by-hop", GET, HOST + "Keep-Alive: 5\r\nProxy-Connection: keep-alive\r\nTE: trailers\r\n"
              "Trailer: X\r\nUpgrade: websocket, h2c\r\nHTTP2-Settings: AA\r\nProxy-Authorization: Basic x\r\n"
              "Proxy-Authenticate: Basic\r\nX: 1\r\n", at_origin=AT + "X: 1\r\n" + END),
    forwarded("nominated", GET, HOST + "Connection: X-One , close,,x-TWO\r\nX-One: 1\r\nX-Two: 2\r\nX-Three: 3\r\n",
              at_origin=AT + "X-Three: 3\r\n" + END),
    forwarded("nominated in two fields", GET, HOST + "Connection: a\r\nA: 1\r\nB: 2\r\nConnection: b\r\n",
              at_origin=AT + END),
    forwarded("not to be nominated", POST, HOST + "Connection: Host, Content-Length, Via\r\nContent-Length: 2\r\n"
              "Via: 1.0 a\r\n", "ok", at_origin=AT_POST + "Content-Length: 2\r\nVia: 1.0 a\r\n" + END + "ok"),
    forwarded("Via is appended", GET, HOST + "Via: 1.0 a, 1.1 b (c)\r\nVia: HTTP/1.1 d\r\n",
              at_origin=AT + "Via: 1.0 a, 1.1 b (c)\r\nVia: HTTP/1.1 d\r\n" + END),
    forwarded("order, spelling and repetition", GET, HOST + "cOOkIE: a=b\r\nCookie: c=d\r\nX: 2\r\nx: 1\r\nX: 2\r\n",
              at_origin=AT + "cOOkIE: a=b\r\nCookie: c=d\r\nX: 2\r\nx: 1\r\nX: 2\r\n" + END),
    forwarded("repeated fields that should be single", GET, HOST + "User-Agent: a\r\nUser-Agent: b\r\n",
              at_origin=AT + "User-Agent: a\r\nUser-Agent: b\r\n" + END),
    forwarded("obs-text", GET, HOST + "X: \xe9\xff\x80 \xc3\xa9\r\n",
              at_origin=AT + "X: \xe9\xff\x80 \xc3\xa9\r\n" + END),
    forwarded("white space around values", GET, HOST + "A:\r\nB:b\r\nC: \t c d\t \r\nD: \"e  \\\" f\"\r\n",
              at_origin=AT + "A: \r\nB: b\r\nC: c d\r\nD: \"e  \\\" f\"\r\n" + END),
    forwarded("value of 64 KiB", GET, HOST + f"X: {'a' * 65_536}\r\n",
              at_origin=AT + f"X: {'a' * 65_536}\r\n" + END),
    forwarded("999 fields", GET, HOST + "X: a\r\n" * 999, at_origin=AT + "X: a\r\n" * 999 + END),
    forwarded("target of 60,000", f"GET http://{{A}}/{'a' * 60_000} HTTP/1.1", HOST,
              at_origin=f"GET /{'a' * 60_000} HTTP/1.1\r\nHost: {{A}}\r\n" + END),
    forwarded("body by length", POST, HOST + "Content-Length: 5\r\n", "hello",
              at_origin=AT_POST + "Content-Length: 5\r\n" + END + "hello"),
    forwarded("empty body", POST, HOST + "Content-Length: 0\r\n", at_origin=AT_POST + "Content-Length: 0\r\n" + END),
    forwarded("length with zeros", POST, HOST + "Content-Length: 0005\r\n", "hello",
              at_origin=AT_POST + "Content-Length: 5\r\n" + END + "hello"),
    forwarded("body of GET", GET, HOST + "Content-Length: 5\r\n", "hello",
              at_origin=AT + "Content-Length: 5\r\n" + END + "hello"),
    forwarded("chunked", POST, HOST + "Transfer-Encoding: chunked\r\n", "5\r\nhello\r\n0\r\n\r\n",
              at_origin=AT_POST + CHUNKED + "5\r\nhello\r\n0\r\n\r\n"),
    forwarded("chunked in capitals", POST, HOST + "Transfer-Encoding: CHUNKED\r\n", "5\r\nhello\r\n0\r\n\r\n",
              at_origin=AT_POST + CHUNKED + "5\r\nhello\r\n0\r\n\r\n"),
    forwarded("chunked and nothing", POST, HOST + "Transfer-Encoding: chunked\r\n", "0\r\n\r\n",
              at_origin=AT_POST + CHUNKED + "0\r\n\r\n"),
    forwarded("extensions and trailers go no further", POST, HOST + "Transfer-Encoding: chunked\r\n",
              "005;a=b;c=\"d\"\r\nhello\r\n3 ; x\r\n abc\r\n00;y\r\nX: 1\r\nContent-Length: 9\r\n\r\n".replace(" abc", "abc"),
              at_origin=AT_POST + CHUNKED + "8\r\nhelloabc\r\n0\r\n\r\n"),
    forwarded("upper-case size", POST, HOST + "Transfer-Encoding: chunked\r\n", "A\r\n0123456789\r\n0\r\n\r\n",
              at_origin=AT_POST + CHUNKED + "a\r\n0123456789\r\n0\r\n\r\n"),
    forwarded("Expect", POST, HOST + "Expect: 100-continue\r\nContent-Length: 2\r\n", "ok",
              at_origin=AT_POST + "Expect: 100-continue\r\nContent-Length: 2\r\n" + END + "ok"),
    forwarded("Expect of HTTP/1.0", "POST http://{A}/path HTTP/1.0",
              HOST + "Expect: 100-continue\r\nContent-Length: 2\r\n", "ok",
              at_origin=AT_POST + "Content-Length: 2\r\nVia: 1.0 {V}\r\n" + CLOSE + "\r\nok"),
    forwarded("Max-Forwards of TRACE", "TRACE http://{A}/path HTTP/1.1", HOST + "Max-Forwards: 10\r\n",
              at_origin="TRACE /path HTTP/1.1\r\nHost: {A}\r\nMax-Forwards: 9\r\n" + END),
    forwarded("Max-Forwards of OPTIONS", "OPTIONS http://{A} HTTP/1.1", HOST + "max-forwards: 001\r\n",
              at_origin="OPTIONS * HTTP/1.1\r\nHost: {A}\r\nmax-forwards: 0\r\n" + END),
    forwarded("Max-Forwards beyond all limits", "OPTIONS http://{A}/ HTTP/1.1",
              HOST + f"Max-Forwards: {'9' * 5000}\r\n",
              at_origin="OPTIONS / HTTP/1.1\r\nHost: {A}\r\nMax-Forwards: 999999998\r\n" + END),
    forwarded("Max-Forwards of GET", GET, HOST + "Max-Forwards: x\r\n", at_origin=AT + "Max-Forwards: x\r\n" + END),
    forwarded("content coding", POST, HOST + "Content-Encoding: gzip\r\nContent-Length: 4\r\n", "\x1f\x8b\x00\xff",
              at_origin=AT_POST + "Content-Encoding: gzip\r\nContent-Length: 4\r\n" + END + "\x1f\x8b\x00\xff"),
    forwarded("credentials of the origin", GET, HOST + "Authorization: Basic x\r\n",
              at_origin=AT + "Authorization: Basic x\r\n" + END),
]  # fmt: skip
