"""Request lines, targets and Host fields that RFC 9110, 9112 and 3986 want refused."""

from tests.path.rfc_case import RefusedCase


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
        "future address without a version": b"Host: [v.a]\r\n",
        "zone": b"Host: [fe80::1%25eth0]\r\n",
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


TARGETS = [*connect_targets(), *request_lines(), *request_targets(), *hosts()]
