"""The requests that real proxies were asked, and what a client observes of the answer."""

import base64
import re
import select
import socket
from dataclasses import dataclass
from typing import Any

from tests.path.proxied import SOON_SECONDS

PAYLOAD = bytes.fromhex("a55a000100000010") + b"LOGIN\0\0\0\0\0\0\0\x01\x02\x03"
"""A binary protocol's first bytes; the target echoes them."""

PROBE = b"GET / HTTP/1.1\r\nHost: proxy.test\r\n\r\n"
"""A connection that goes on after a refusal answers this."""

TLS_HELLO = bytes.fromhex("1603010200010001fc0303") + bytes(range(32)) + b"\x20" + bytes(36)


def head(target: str, *fields: str, version: str = "1.1", host: str | None = "", eol: str = "\r\n") -> bytes:
    """A CONNECT; `host` "" repeats the target, None leaves Host out."""
    hosts = [] if host is None else [f"Host: {host or target}"]
    return eol.join([f"CONNECT {target} HTTP/{version}", *hosts, *fields, "", ""]).encode("latin-1")


def requests(target: int, closed: int, denied: int = 25) -> dict[str, bytes]:
    """All cases, for ports on 127.0.0.1: one that echoes, one that is closed, one that policy denies."""
    ok = f"127.0.0.1:{target}"
    wrapped = f"127.0.0.1:{target + 65536}"
    return {
        "01_ok_http11": head(ok),
        "03_ok_http10": head(ok, version="1.0", host=None),
        "04_http11_no_host": head(ok, host=None),
        "05_host_mismatch": head(ok, host="denied.test:5000"),
        "10_port_denied": head(f"127.0.0.1:{denied}"),
        "12_dns_nxdomain": head(f"nx.invalid:{target}"),
        "15_refused": head(f"127.0.0.1:{closed}"),
        "41_method_lower": head(ok).replace(b"CONNECT", b"connect", 1),
        "52_port_0": head("127.0.0.1:0"),
        "53_port_65536": head("127.0.0.1:65536"),
        "54_port_70536": head(wrapped),
        "57_userinfo": head(f"user:pw@{ok}", host=ok),
        "59_ipv6_bare": head("::1:1"),
        "60_absolute_uri": head(f"http://{ok}/", host=ok),
        "61_path": head(f"{ok}/x", host=ok),
        "62_empty_target": b"CONNECT  HTTP/1.1\r\nHost: x\r\n\r\n",
        "63_bad_version": head(ok, version="9.9"),
        "64_no_version": f"CONNECT {ok}\r\n\r\n".encode(),
        "65_lf_only": head(ok, eol="\n"),
        "66_leading_crlf": b"\r\n" + head(ok),
        "67_space_before_colon": head(ok).replace(b"Host:", b"Host :"),
        "68_header_no_colon": head(ok, "garbage"),
        "69_nul_in_header": head(ok, "X: a\0b"),
        "70_two_hosts": head(ok, "Host: other:1"),
        "72_hex_ip": head(f"0x7f000001:{target}"),
        "73_short_ip": head(f"127.1:{target}"),
        "80_header_8k": head(ok, "X-Long: " + "a" * 8200),
        "80_header_64k": head(ok, "X-Long: " + "a" * 65600),
        "80_header_128k": head(ok, "X-Long: " + "a" * 131200),
        "81_200_headers": head(ok, *(f"X-{n}: y" for n in range(200))),
        "83_long_target_9k": head("a" * 9000 + f".invalid:{target}", host="x"),
        "84_long_label": head("a" * 300 + f".invalid:{target}"),
        "90_early_same_segment": head(ok) + b"EARLY-1",
        "94_content_length": head(ok, "Content-Length: 5") + b"BODY!",
        "96_expect": head(ok, "Expect: 100-continue"),
        "97_upgrade": head(ok, "Upgrade: websocket", "Connection: upgrade"),
        "98_split_head": head(ok),
        "B1_tls_to_proxy": TLS_HELLO,
        "B2_h2_preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\x04\0\0\0\0\0",
        "B3_proxy_protocol_v1": b"PROXY TCP4 10.1.2.3 10.0.0.1 1111 2222\r\n" + head(ok),
    }


def login_requests(target: int, user: str, password: str) -> dict[str, bytes]:
    """Cases for a proxy that wants Basic logins."""
    ok = f"127.0.0.1:{target}"

    def basic(secret: str) -> str:
        return "Proxy-Authorization: Basic " + base64.b64encode(f"{user}:{secret}".encode()).decode()

    return {
        "30_auth_missing": head(ok),
        "31_auth_wrong": head(ok, basic(password + "x")),
        "32_auth_ok": head(ok, basic(password)),
    }


# Dates, lengths of pages that are our own, names of this machine: the name of the field is compared alone.
_OWN = {"date", "content-length", "via", "x-cache", "x-cache-lookup", "cache-status"}
_NUMBER = re.compile(r"[0-9]+(\.[0-9]+)+")


@dataclass(frozen=True)
class Observed:
    """What a client sees: the status line, the fields that tell who answered, and how it goes on."""

    status_line: str = ""
    fields: tuple[str, ...] = ()
    then: str = ""

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {"status_line": self.status_line, "fields": list(self.fields), "then": self.then}


def observed_of(reply: bytes, then: str) -> Observed:
    """Take a reply apart; versions become N."""
    text = reply.partition(b"\r\n\r\n")[0].decode("latin-1")
    status_line, *lines = text.split("\r\n")
    fields = []
    for line in lines:
        name, _, value = line.partition(":")
        is_own = name.lower() in _OWN
        fields.append(name.lower() if is_own else f"{name.lower()}: {_NUMBER.sub('N', value.strip())}")
    return Observed(status_line, tuple(sorted(fields)), then)


def observe(
    address: tuple[str, int], request: bytes, *, in_pieces: bool = False, seconds: float = SOON_SECONDS
) -> Observed:
    """Send one request and look: `then` is tunnel, open, closed, or nothing: no byte came in `seconds`."""
    with socket.create_connection(address, SOON_SECONDS) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for piece in [request[n : n + 1] for n in range(len(request))] if in_pieces else [request]:
            try:
                sock.sendall(piece)
            except OSError:
                break  # it has refused already; its reply is there to be read
        reply = _until(sock, b"\r\n\r\n", seconds)
        if reply is None:
            return Observed(then="nothing")
        if not reply:
            return Observed(then="closed")
        if b" 200 " in reply.partition(b"\r\n")[0]:
            sock.sendall(PAYLOAD)
            echoed = _until(sock, PAYLOAD[-4:], SOON_SECONDS)
            return observed_of(reply, "tunnel" if echoed and b"LOGIN" in echoed else "closed")
        return observed_of(reply, _goes_on(sock, reply))


def _goes_on(sock: socket.socket, reply: bytes) -> str:
    """Whether the connection answers a further request behind this reply."""
    length = re.search(rb"(?i)\r\ncontent-length: *([0-9]+)", reply)
    if length is None or b"\r\nConnection: close\r\n" in reply:
        return "closed"
    owed = int(length[1]) - len(reply.partition(b"\r\n\r\n")[2])
    try:
        while owed > 0 and (data := sock.recv(owed)):
            owed -= len(data)
        sock.sendall(PROBE)
        return "open" if sock.recv(1) else "closed"
    except ConnectionError:
        return "closed"


def _until(sock: socket.socket, end: bytes, seconds: float) -> bytes | None:
    """Read until `end` or the end; None when nothing comes in time."""
    data = b""
    try:
        while end not in data:
            if not select.select([sock], [], [], seconds)[0]:
                return data or None
            fresh = sock.recv(65_536)
            if not fresh:
                break
            data += fresh
    except ConnectionError:
        pass
    return data
