"""What proxies answer to CONNECT, as data: each reply with what a client has to make of it.

The same cases are fed to `protocol.connect` (tests/wire), and played over real sockets to whatever opens
tunnels.

The scene. The client asks for dest.example:5000. A scripted proxy reads the request head, writes `pieces`,
each as a segment of its own, and does what `then` says. Behind it stands one origin that speaks first: it
says BANNER as soon as there is a tunnel. So wherever a case gives a tunnel, its `pieces` carry the BANNER
too, in the segment of the head or behind it, and reading from the tunnel must give `early` first, whole and
in order. After that, with then="open", the origin echoes: what the client writes comes back, until the client
ends its direction; then the proxy closes.
"""

from dataclasses import dataclass
from typing import Final, Literal

BANNER: Final = b"BANNER\r\n"

OK: Final = b"HTTP/1.1 200 Connection established\r\n\r\n"

PORTAL_PAGE: Final = (
    b"<!DOCTYPE html>\n<html><head><title>Guest login</title></head><body>Please log in.</body></html>\n"
)

DENIED_PAGE: Final = (
    b"<html><body><h1>Access Denied.</h1><p>X-Squid-Error: ERR_ACCESS_DENIED</p></body></html>\n"
)

Then = Literal["open", "eof", "rst"]

Expect = Literal["tunnel", "portal", "refused", "malformed", "truncated", "silent"]


@dataclass(frozen=True)
class ReplyCase:
    """One way to answer a CONNECT.

    Attributes:
        name: says what is special.
        pieces: what the proxy writes; none when it stays silent.
        then: "open": it stays, and echoes if there is a tunnel; "eof": it closes; "rst": it resets.
        expect: what the client must make of it:
            "tunnel": an open tunnel whose first bytes are `early`;
            "portal": HTTP says tunnel, but `early` is a web page, as only a look into it can tell;
            "refused": a final reply outside 2xx, with its status, headers and body;
            "malformed": HeadMalformed, without waiting for more;
            "truncated": StreamTruncated;
            "silent": nothing to go by; whoever has a clock gives up.
        early: the tunnel's bytes among `pieces`.
        status: of the final reply, where there is one.
    """

    name: str
    pieces: tuple[bytes, ...]
    then: Then
    expect: Expect
    early: bytes = b""
    status: int | None = None

    @property
    def wire(self) -> bytes:
        """All that the proxy writes."""
        return b"".join(self.pieces)


def _tunnel(name: str, *pieces: bytes, status: int = 200) -> ReplyCase:
    """A tunnel whose head ends just where the BANNER begins."""
    return ReplyCase(name, pieces, "open", "tunnel", BANNER, status)


def _bytewise(data: bytes) -> tuple[bytes, ...]:
    return tuple(data[place : place + 1] for place in range(len(data)))


REPLIES: Final = (
    # Heads that open a tunnel.
    _tunnel("banner_in_the_same_segment", OK + BANNER),
    _tunnel(
        "head_in_three_segments",
        b"HTTP/1.1 200 Connec",
        b"tion established\r\nVia: 1.1 p",
        b"roxy\r\n\r\n",
        BANNER,
    ),
    _tunnel("head_byte_by_byte", *_bytewise(b"HTTP/1.1 200 OK\r\nVia: 1.1 proxy\r\n\r\n"), BANNER),
    _tunnel(
        "http_1_0", b"HTTP/1.0 200 Connection established\r\nProxy-agent: tinyproxy/1.11.1\r\n\r\n", BANNER
    ),
    _tunnel("100_continue_before_200", b"HTTP/1.1 100 Continue\r\n\r\n", OK, BANNER),
    _tunnel("content_length", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", BANNER),
    _tunnel("chunked", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", BANNER),
    _tunnel(
        "framing_that_contradicts_itself",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 7\r\nTransfer-Encoding: identity\r\n\r\n",
        BANNER,
    ),
    _tunnel("status_201", b"HTTP/1.1 201 Created\r\n\r\n", BANNER, status=201),
    _tunnel("status_204", b"HTTP/1.1 204 No Content\r\n\r\n", BANNER, status=204),
    _tunnel("no_reason_phrase", b"HTTP/1.1 200\r\n\r\n", BANNER),
    _tunnel("lf_line_ends", b"HTTP/1.1 200 OK\nVia: 1.1 proxy\n\n", BANNER),
    _tunnel("folded_header", b"HTTP/1.1 200 OK\r\nVia: 1.1 first,\r\n 1.1 second\r\n\r\n", BANNER),
    _tunnel("one_header_of_20_kb", b"HTTP/1.1 200 OK\r\nX-Policy: " + b"p" * 20_000 + b"\r\n\r\n", BANNER),
    _tunnel(
        "900_headers_of_80_kb",
        b"HTTP/1.1 200 OK\r\n"
        + b"".join(b"X-Header-%03d: %s\r\n" % (n, b"h" * 72) for n in range(900))
        + b"\r\n",
        BANNER,
    ),
    # Tunnels that are worth nothing.
    ReplyCase("200_then_immediate_close", (OK,), "eof", "tunnel", b"", 200),
    ReplyCase(
        "200_with_a_login_page",
        (b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nConnection: close\r\n\r\n", PORTAL_PAGE),
        "eof",
        "portal",
        PORTAL_PAGE,
        200,
    ),
    # Refusals. They stay open: nobody may wait for an end that the head does not announce.
    ReplyCase(
        "403_with_x_squid_error",
        (
            b"HTTP/1.1 403 Forbidden\r\nServer: squid/6.13\r\nX-Squid-Error: ERR_ACCESS_DENIED 0\r\n"
            b"Content-Type: text/html\r\nContent-Length: %d\r\n\r\n" % len(DENIED_PAGE),
            DENIED_PAGE,
        ),
        "open",
        "refused",
        status=403,
    ),
    ReplyCase(
        "302_to_a_consent_page",
        (b"HTTP/1.1 302 Found\r\nLocation: http://portal.example/consent\r\nContent-Length: 0\r\n\r\n",),
        "open",
        "refused",
        status=302,
    ),
    ReplyCase(
        "407_basic",
        (
            b'HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm="lab"\r\n'
            b"Content-Length: 12\r\n\r\n",
            b"log in first",
        ),
        "open",
        "refused",
        status=407,
    ),
    # No HTTP reply, or not a whole one.
    ReplyCase("eof_without_a_reply", (), "eof", "truncated"),
    ReplyCase("eof_before_the_blank_line", (b"HTTP/1.1 200 OK\r\nVia: 1.1 proxy\r\n",), "eof", "truncated"),
    ReplyCase("ssh_banner", (b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n",), "open", "malformed"),
    ReplyCase("silent", (), "open", "silent"),
)
"""The 24 replies that twelve other clients were measured with; none of them passed all."""


MORE_REPLIES: Final = (
    _tunnel("tab_after_the_version", b"HTTP/1.1\t200 OK\r\n\r\n", BANNER),
    _tunnel(
        "white_space_before_a_colon",
        b"HTTP/1.1 200 OK\r\nVia : 1.1 proxy\r\nContent-Length : x\r\n\r\n",
        BANNER,
    ),
    _tunnel("sixteen_interim_replies", b"HTTP/1.1 102 Processing\r\n\r\n" * 16 + OK + BANNER),
    _tunnel(
        "103_with_framing",
        b"HTTP/1.1 103 Early Hints\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\n",
        OK,
        BANNER,
    ),
    ReplyCase("200_then_reset", (OK,), "rst", "tunnel", b"", 200),
    ReplyCase(
        "401_without_proxy_authenticate",
        (b"HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n",),
        "open",
        "refused",
        status=401,
    ),
    ReplyCase(
        "407_without_a_challenge",
        (b"HTTP/1.1 407 No\r\nContent-Length: 0\r\n\r\n",),
        "open",
        "refused",
        status=407,
    ),
    ReplyCase(
        "403_in_chunks",
        (
            b"HTTP/1.1 403 No\r\nTransfer-Encoding: chunked\r\n\r\n6;why=policy\r\n",
            b"denied\r\n0\r\nX-Trailer: t\r\n\r\n",
        ),
        "open",
        "refused",
        status=403,
    ),
    ReplyCase(
        "503_until_the_end", (b"HTTP/1.0 503 No\r\n\r\n", b"try ", b"later"), "eof", "refused", status=503
    ),
    ReplyCase(
        "502_cut_short",
        (b"HTTP/1.1 502 No\r\nContent-Length: 100\r\n\r\n", b"only this"),
        "eof",
        "refused",
        status=502,
    ),
    ReplyCase(
        "403_with_odd_framing",
        (b"HTTP/1.1 403 No\r\nTransfer-Encoding: identity\r\n\r\ndenied",),
        "eof",
        "refused",
        status=403,
    ),
    ReplyCase("seventeen_interim_replies", (b"HTTP/1.1 102 Processing\r\n\r\n" * 17,), "open", "malformed"),
    ReplyCase(
        "101_switching_protocols",
        (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n",),
        "open",
        "malformed",
    ),
    ReplyCase("http_2_status_line", (b"HTTP/2 200\r\n\r\n",), "open", "malformed"),
    ReplyCase("status_of_two_digits", (b"HTTP/1.1 20 OK\r\n\r\n",), "open", "malformed"),
    ReplyCase("nul_in_a_header", (b"HTTP/1.1 200 OK\r\nX-A: a\x00b\r\n\r\n",), "open", "malformed"),
    ReplyCase("fold_before_the_first_header", (b"HTTP/1.1 200 OK\r\n folded\r\n\r\n",), "open", "malformed"),
    ReplyCase("header_without_a_colon", (b"HTTP/1.1 200 OK\r\nVia 1.1 proxy\r\n\r\n",), "open", "malformed"),
    ReplyCase("1001_headers", (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 1_001 + b"\r\n",), "open", "malformed"),
    ReplyCase("head_without_an_end", (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 131_072,), "open", "malformed"),
    ReplyCase("tls_alert", (b"\x15\x03\x01\x00\x02\x02\x46",), "eof", "malformed"),
    ReplyCase(
        "http_2_settings",
        (b"\x00\x00\x06\x04\x00\x00\x00\x00\x00\x00\x03\x00\x00\x00\x64",),
        "open",
        "malformed",
    ),
    ReplyCase("page_without_a_head", (PORTAL_PAGE,), "eof", "malformed"),
    ReplyCase("eof_behind_an_interim_reply", (b"HTTP/1.1 100 Continue\r\n\r\n",), "eof", "truncated"),
)
"""More of the same, from the musts of RFC 9110 and 9112 and from what else stands on a proxy's port."""


STATUS_LINES: Final = (
    b"HTTP/1.1 200 OK",
    b"HTTP/1.0 200",
    b"HTTP/1.1 204 No Content",
    b"HTTP/1.1 100 Continue",
    b"HTTP/1.1 103",
    b"HTTP/1.1 101 Switch",
    b"HTTP/1.1 403 No",
    b"HTTP/1.0 503 No",
    b"HTTP/1.1 407 P",
    b"HTTP/1.0 407 P",
    b"HTTP/1.1\t302  Found",
)
OTHER_LINES: Final = (
    b"Content-Length: 0",
    b"Content-Length: 5",
    b"content-length : 5, 6",
    b"Transfer-Encoding: chunked",
    b"Transfer-Encoding: identity",
    b"Connection: close",
    b"Connection: keep-alive",
    b"Proxy-Connection: close",
    b'Proxy-Authenticate: Basic realm="x"',
    b"Proxy-Authenticate: NTLM, Basic",
    b'Proxy-Authenticate: Basic realm="',
    b"X: \xe9\x1b",
    b" folded",
    b"\ttabbed",
    b"no colon",
    b": no name",
    b"HTTP/2 200",
    b"",
    b"5",
    b"5;x=y",
    b"0",
    b"abcde",
    b"<html>",
)
"""Lines to make other replies of, good and bad."""
