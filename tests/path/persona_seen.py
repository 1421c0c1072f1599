"""What a client observes of a proxy: one request and what follows, and longer dialogues."""

import re
import select
import socket
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tests.path.persona_cases import PAYLOAD, basic, head
from tests.path.persona_targets import LAST_WORD, Lab, Targets
from tests.path.proxied import SOON_SECONDS

PROBE = b"GET / HTTP/1.1\r\nHost: proxy.test\r\n\r\n"
"""A connection that goes on after a refusal answers this."""

QUIET_SECONDS = 1.0
"""An end that belongs to a reply comes with it, not so long after."""

BULK = bytes(4 << 20)
# Dates, lengths of pages that are our own, names of this machine: the name of the field is compared alone.
_OWN = {"date", "expires", "content-length", "via", "x-cache", "x-cache-lookup", "cache-status"}
_NUMBER = re.compile(r"[0-9]+(\.[0-9]+)+")
# The realm is configured, and so is whether the charset is told (RFC 7617 section 2.1).
_REALM = re.compile(r'realm="[^"]*"(, charset="UTF-8")?')


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
        value = _REALM.sub('realm="R"', _NUMBER.sub("N", value.strip()))
        fields.append(name.lower() if name.lower() in _OWN else f"{name.lower()}: {value}")
    return Observed(status_line, tuple(sorted(fields)), then)


class Client:
    """One connection to a proxy, and all that came over it."""

    def __init__(
        self, address: tuple[str, int], seconds: float = SOON_SECONDS, source: str | None = None
    ) -> None:
        own = (source, 0) if source else None
        self._sock = socket.create_connection(address, SOON_SECONDS, own)
        self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._seconds = seconds
        self.came = b""
        self.end = ""

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self._sock.close()

    def send(self, data: bytes) -> None:
        """Send; a proxy that has refused already may be gone, and its reply is there to be read."""
        try:
            self._sock.sendall(data)
        except OSError:
            return

    def finish(self) -> None:
        """Say the last word."""
        try:
            self._sock.shutdown(socket.SHUT_WR)
        except OSError:
            return

    def reset(self) -> None:
        """Go without a word."""
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._sock.close()

    def read(self, enough: Callable[[bytes], bool], seconds: float | None = None) -> bool:
        """Read until what came is enough, the end, or a silence; return whether it is enough."""
        limit = self._seconds if seconds is None else seconds
        while not self.end and not enough(self.came):
            if not select.select([self._sock], [], [], limit)[0]:
                return False
            try:
                data = self._sock.recv(1 << 20)
            except ConnectionError:
                self.end = "RST"
                break
            self.came += data
            self.end = "" if data else "FIN"
        return enough(self.came)

    def read_until(self, end: bytes) -> bool:
        return self.read(lambda came: end in came)

    def read_reply(self) -> bool:
        """Read a head and the body that it announces; False where there is no length, or not all comes."""
        if not self.read_until(b"\r\n\r\n"):
            return False
        reply = self.came.partition(b"\r\n\r\n")[0]
        if b"\r\nTransfer-Encoding: chunked" in reply:
            return self.read(lambda came: came.endswith(b"0\r\n\r\n"))
        length = re.search(rb"(?i)\r\ncontent-length: *([0-9]+)", reply)
        if length is None:
            return False
        whole = len(reply) + 4 + int(length[1])
        return self.read(lambda came: len(came) >= whole)

    @property
    def is_established(self) -> bool:
        return b" 200 " in self.came.partition(b"\r\n")[0]

    def goes_on(self) -> bool:
        """Whether the connection answers a further request behind this reply."""
        if not self.read_reply() or re.search(rb"(?i)\r\nconnection: close\r\n", self.came):
            return False
        before = len(self.came)
        self.send(PROBE)
        return self.read(lambda came: len(came) > before)

    def observed(self, then: str) -> Observed:
        return observed_of(self.came, then)


def observe(client: Client, request: bytes, *, in_pieces: bool = False) -> Observed:
    """Send one request and look: `then` is tunnel, open, closed, or stays: no byte came, and no end."""
    is_connect = request.lstrip(b"\r\n")[:7].upper() in (b"CONNECT", b"PROXY T")
    for piece in [request[n : n + 1] for n in range(len(request))] if in_pieces else [request]:
        client.send(piece)
    if not client.read_until(b"\r\n\r\n") and not client.came:
        return Observed(then="closed" if client.end else "stays")
    if not client.is_established or not is_connect:
        return client.observed("open" if client.goes_on() else "closed")
    client.send(PAYLOAD)
    then = "tunnel" if client.read_until(PAYLOAD[-4:]) and b"LOGIN" in client.came else "closed"
    if b"EARLY" in request:
        then += ", early kept" if b"EARLY" in client.came else ", early lost"
    return client.observed(then)


def _begin(client: Client, target: int, *fields: str) -> bool:
    client.send(head(f"127.0.0.1:{target}", *fields))
    return client.read_until(b"\r\n\r\n") and client.is_established


def twice(client: Client, first: bytes, second: bytes) -> Observed:
    """A refusal, and what the next request on the same connection gets."""
    client.send(first)
    if client.read_until(b"\r\n\r\n") and client.is_established:
        return client.observed("tunnel")
    if not client.read_reply():
        return client.observed("closed")
    before = len(client.came)
    client.send(second)
    client.read(lambda came: b"\r\n\r\n" in came[before:])
    return client.observed("then 200" if b" 200 " in client.came[before:][:40] else "closed")


def login_again(client: Client, lab: Lab, targets: Targets) -> Observed:
    keep = "Proxy-Connection: Keep-Alive"
    ok = f"127.0.0.1:{lab.echo}"
    return twice(client, head(ok, keep), head(ok, basic(lab.user, lab.password), keep))


def connect_again(client: Client, lab: Lab, targets: Targets) -> Observed:
    return twice(client, head(f"127.0.0.1:{lab.denied}"), head(f"127.0.0.1:{lab.echo}"))


def smuggle(client: Client, lab: Lab, targets: Targets) -> Observed:
    hidden = f"http://127.0.0.1:{lab.http}/smuggled"
    client.send(head(f"127.0.0.1:{lab.denied}") + head(hidden, host=f"127.0.0.1:{lab.http}", method="GET"))
    if client.read_until(b"\r\n\r\n") and client.is_established:
        return client.observed("tunnel")
    return client.observed("served" if client.read_until(b"hello") else "closed")


def early_on_refusal(client: Client, lab: Lab, targets: Targets) -> Observed:
    client.send(head(f"127.0.0.1:{lab.denied}") + PAYLOAD)
    if not client.read_until(b"\r\n\r\n"):
        return client.observed("closed" if client.end else "stays")
    client.read(lambda _: False, QUIET_SECONDS)
    return client.observed("closed" if client.end else "open")


def early_later(client: Client, lab: Lab, targets: Targets) -> Observed:
    client.send(head(f"127.0.0.1:{lab.echo}"))
    # As a client that does not wait: behind the head, and before any reply can have come
    client.send(b"EARLY")
    if not client.read_until(b"\r\n\r\n"):
        return client.observed("closed" if client.end else "stays")
    client.send(PAYLOAD)
    client.read_until(PAYLOAD[-4:])
    return client.observed("tunnel, early kept" if b"EARLY" in client.came else "tunnel, early lost")


def half_close(client: Client, lab: Lab, targets: Targets) -> Observed:
    if _begin(client, lab.echo):
        client.send(b"data")
        client.read_until(b"echo:data")
    client.finish()
    client.read(lambda _: False)
    return client.observed("answer" if LAST_WORD in client.came else "lost")


def half_close_of_target(client: Client, lab: Lab, targets: Targets) -> Observed:
    if _begin(client, lab.half):
        client.send(b"data")
        client.read(lambda _: False)
    client.send(b"after")
    client.finish()
    heard = targets.heard["half"].get(timeout=SOON_SECONDS)
    return client.observed("works" if "after" in heard else "dead")


def half_close_early(client: Client, lab: Lab, targets: Targets) -> Observed:
    client.send(head(f"127.0.0.1:{lab.echo}"))
    client.finish()
    client.read(lambda _: False)
    if not client.came:
        return Observed(then="closed")
    return client.observed("answer" if LAST_WORD in client.came else "lost")


def target_resets(client: Client, lab: Lab, targets: Targets) -> Observed:
    if _begin(client, lab.resets_later):
        client.send(b"x")
    client.read(lambda _: False)
    return client.observed(client.end)


def client_resets(client: Client, lab: Lab, targets: Targets) -> Observed:
    if _begin(client, lab.ends):
        client.send(b"x")
        client.read_until(b"echo:x")
    seen = client.observed("")
    client.reset()
    return Observed(seen.status_line, seen.fields, targets.heard["ends"].get(timeout=SOON_SECONDS))


def bulk(client: Client, lab: Lab, targets: Targets) -> Observed:
    if _begin(client, lab.counts):
        client.send(BULK)
    client.finish()
    client.read(lambda _: False)
    came = targets.heard["counts"].get(timeout=SOON_SECONDS)
    whole = "whole" if came == str(len(BULK)) else "in part"
    return client.observed(f"{whole}, answer" if LAST_WORD in client.came else f"{whole}, lost")


def first_bytes(data: bytes, *, rest: bytes = b"") -> "Dialogue":
    def talk(client: Client, lab: Lab, targets: Targets) -> Observed:
        if _begin(client, lab.echo):
            client.send(data)
            client.read_until(b"echo:" + data[:1])
            client.send(rest)
        whole = data + rest
        enough = lambda came: whole[-4:] in came.partition(b"\r\n\r\n")[2]  # noqa: E731 - one expression
        return client.observed("tunnel" if client.read(enough) else "closed")

    return talk


Dialogue = Callable[[Client, Lab, Targets], Observed]
DIALOGUES: Mapping[str, Dialogue] = {
    "36_auth_retry_same_conn": login_again,
    "39_deny_then_retry_same_conn": connect_again,
    "91_early_before_200": early_later,
    "92_early_on_refusal": smuggle,
    "93_early_binary_on_refusal": early_on_refusal,
    "A0_half_close_client": half_close,
    "A1_half_close_server": half_close_of_target,
    "A2_half_close_before_200": half_close_early,
    "A3_target_rst": target_resets,
    "A4_client_rst": client_resets,
    "C1_bulk_halfclose": bulk,
    "F0_tunnel_http_like": first_bytes(b"GET /in-tunnel HTTP/1.1\r\nHost: t\r\n\r\n"),
    "F1_tunnel_tls_like": first_bytes(b"\x16\x03\x01\x00\x10\x01\x00\x00\x0c" + b"Z" * 12),
    "F2_tunnel_binary": first_bytes(PAYLOAD),
    "F3_tunnel_one_byte": first_bytes(PAYLOAD[:1], rest=PAYLOAD[1:]),
}
