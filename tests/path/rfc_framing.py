"""Fields, bodies and whole protocols that RFC 9110, 9112 and 6585 want refused."""

from tests.path.rfc_case import RefusedCase


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


FRAMING = [*header_lines(), *framings(), *chunks(), *counted(), *other_protocols()]
