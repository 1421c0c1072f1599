"""SOCKS as a client speaks it: version 5 with or without a login, version 4 and 4a; bytes in, bytes out."""

import ipaddress
from dataclasses import dataclass
from enum import Enum
from typing import Final

from protocol.errors import HeadMalformed, LocalWireError, StreamTruncated
from protocol.resemblance import excerpt, resembles

MAX_FIELD_BYTES: Final = 255
"""Of a user, a password, a name: each has one byte for its length (RFC 1928 section 5, RFC 1929)."""

_NO_LOGIN, _PASSWORD, _NONE_ACCEPTED = 0, 2, 0xFF
_ADDRESS_BYTES: Final = {1: 4, 4: 16}


class SocksOutcome(Enum):
    """How a request for a tunnel ended, whatever the version."""

    GRANTED = "granted"
    FAILED = "it failed, or could not reach the target; it does not say which"
    DENIED = "its rules do not allow it"
    NETWORK_UNREACHABLE = "the target's network cannot be reached from it"
    HOST_UNREACHABLE = "the target cannot be reached from it, or its name is unknown there"
    REFUSED = "the target refused the connection"
    EXPIRED = "the target did not answer it in time (TTL expired)"
    NO_CONNECT = "it does not do CONNECT"
    NO_SUCH_ADDRESS = "it does not take this kind of address: a name, IPv4 or IPv6"
    NO_METHOD = "it wants a login"
    LOGIN_REFUSED = "user or password were not accepted"
    NO_IDENT = "it wants the user confirmed by an ident service on this machine"
    OTHER_IDENT = "the ident service on this machine names another user"


# RFC 1928 section 6, and the memorandum on SOCKS 4.
_OUTCOMES_5: Final = (
    SocksOutcome.GRANTED, SocksOutcome.FAILED, SocksOutcome.DENIED, SocksOutcome.NETWORK_UNREACHABLE,
    SocksOutcome.HOST_UNREACHABLE, SocksOutcome.REFUSED, SocksOutcome.EXPIRED, SocksOutcome.NO_CONNECT,
    SocksOutcome.NO_SUCH_ADDRESS,
)  # fmt: skip
_OUTCOMES_4: Final = {
    90: SocksOutcome.GRANTED,
    91: SocksOutcome.FAILED,
    92: SocksOutcome.NO_IDENT,
    93: SocksOutcome.OTHER_IDENT,
}


@dataclass(frozen=True, slots=True)
class SocksReply:
    """The last answer of a SOCKS server; `code` is its number on the wire."""

    outcome: SocksOutcome
    code: int

    @property
    def is_success(self) -> bool:
        return self.outcome is SocksOutcome.GRANTED


class SocksHandshake:
    """Ask one SOCKS server for a tunnel to `host`:`port`; driven as a ConnectHandshake is.

    Args:
        version: 4 or 5.
        host: an address, or a name that the server looks up (version 4: that makes it 4a).
        user, password: version 5 sends them only when the server picks that method; version 4 sends the
            user at once and has no passwords.
    Raises: LocalWireError for what the version cannot carry; it never quotes user or password.

    Attributes:
        credentials_sent: how often user and password went out on this connection.
        bytes_received: on this connection, up to the end of the answer.
    """

    def __init__(
        self, version: int, host: str, port: int, *, user: str | None = None, password: str | None = None
    ) -> None:
        self._version = version
        self._host, self._port = host, port
        self._login = None if user is None else (_field(user, "user"), _field(password or "", "password"))
        self._request = self._request_4() if version == 4 else self._request_5()
        self.redialled()

    def redialled(self) -> None:
        """Begin again: there is a new connection."""
        self._received = bytearray()
        self._outgoing = self._request if self._version == 4 else self._greeting()
        self._read = self._read_4 if self._version == 4 else self._read_method
        self.reply: SocksReply | None = None
        self.leftover = b""
        self.credentials_sent = 0
        self.bytes_received = 0

    @property
    def done(self) -> bool:
        """Whether the answer is known."""
        return self.reply is not None

    def data_to_send(self) -> bytes:
        """What must go out now; b"" when there is nothing."""
        data, self._outgoing = self._outgoing, b""
        return data

    def receive_data(self, data: bytes) -> None:
        """Take the next bytes, split anywhere; b"" says that the connection ended.

        Raises: StreamTruncated, HeadMalformed.
        """
        if not data:
            got = bytes(self._received)
            begun = f": {excerpt(got)}" if got else ""
            raise StreamTruncated(f"the connection ended after {len(got)} bytes of its SOCKS answer{begun}")
        self._received += data
        self.bytes_received += len(data)
        self._read()
        if self._outgoing and self._received:
            more = excerpt(bytes(self._received))
            raise HeadMalformed(f"the SOCKS server answered before it was asked: {more}")
        if self.done:
            self.leftover, self._received = bytes(self._received), bytearray()

    def _greeting(self) -> bytes:
        methods = bytes([_NO_LOGIN] if self._login is None else [_NO_LOGIN, _PASSWORD])
        return bytes([5, len(methods)]) + methods

    def _request_5(self) -> bytes:
        return b"\x05\x01\x00" + _address(self._host) + self._port.to_bytes(2)

    def _request_4(self) -> bytes:
        user, password = self._login or (b"", b"")
        if password:
            raise LocalWireError("SOCKS 4 has no passwords, only a user")
        if b"\0" in user:
            raise LocalWireError("the user has a NUL in it, which SOCKS 4 cannot carry")
        address, name = b"\0\0\0\x01", self._host.encode("ascii") + b"\0"
        if (literal := _literal(self._host)) is not None:
            if literal.version != 4:
                raise LocalWireError(f"SOCKS 4 cannot carry the IPv6 address {self._host}; use socks5://")
            address, name = literal.packed, b""
        return b"\x04\x01" + self._port.to_bytes(2) + address + user + b"\0" + name

    def _take(self, count: int) -> bytes:
        taken = bytes(self._received[:count])
        del self._received[:count]
        return taken

    def _check(self, expected: int, what: str) -> None:
        if self._received[0] != expected:
            found = resembles(bytes(self._received))
            looks = f", it looks like {found}" if found else ""
            raise HeadMalformed(f"{what} begins with {excerpt(bytes(self._received))}, not {expected}{looks}")

    def _read_method(self) -> None:
        self._check(5, "the answer of a SOCKS 5 server")
        if len(self._received) < 2:
            return
        method = self._take(2)[1]
        if method == _NONE_ACCEPTED:
            self.reply = SocksReply(SocksOutcome.NO_METHOD, method)
        elif method == _PASSWORD and self._login is not None:
            user, password = self._login
            self._outgoing = bytes([1, len(user)]) + user + bytes([len(password)]) + password
            self.credentials_sent += 1
            self._read = self._read_login
        elif method == _NO_LOGIN:
            self._outgoing, self._read = self._request, self._read_5
        else:
            raise HeadMalformed(f"the SOCKS server picked login method {method}, which was not offered")

    def _read_login(self) -> None:
        if len(self._received) < 2:
            return
        if self._take(2)[1] != 0:
            self.reply = SocksReply(SocksOutcome.LOGIN_REFUSED, 1)
            return
        self._outgoing, self._read = self._request, self._read_5

    def _read_5(self) -> None:
        self._check(5, "the answer of a SOCKS 5 server")
        head = self._received
        if len(head) >= 2 and head[1] != 0:
            # The rest of a refusal says nothing, and some servers leave it out
            code = head[1]
            outcome = _OUTCOMES_5[code] if code < len(_OUTCOMES_5) else SocksOutcome.FAILED
            self.reply = SocksReply(outcome, code)
            return
        if len(head) < 5:
            return
        size = head[4] + 1 if head[3] == 3 else _ADDRESS_BYTES.get(head[3])
        if size is None:
            raise HeadMalformed(f"an address of type {head[3]} in the SOCKS answer; expected 1, 3 or 4")
        if len(head) < 6 + size:
            return
        self._take(6 + size)
        self.reply = SocksReply(SocksOutcome.GRANTED, 0)

    def _read_4(self) -> None:
        # Version 0 by the memorandum; some servers answer with 4
        if self._received[0] != 4:
            self._check(0, "the answer of a SOCKS 4 server")
        if len(self._received) < 8:
            return
        code = self._take(8)[1]
        outcome = _OUTCOMES_4.get(code)
        if outcome is None:
            raise HeadMalformed(f"the SOCKS 4 server answered {code}; expected 90 to 93")
        self.reply = SocksReply(outcome, code)


def _field(text: str, what: str) -> bytes:
    data = text.encode("utf-8")
    if len(data) > MAX_FIELD_BYTES:
        raise LocalWireError(f"the {what} has {len(data)} bytes; SOCKS carries at most {MAX_FIELD_BYTES}")
    return data


def _literal(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _address(host: str) -> bytes:
    if (literal := _literal(host)) is not None:
        return bytes([1 if literal.version == 4 else 4]) + literal.packed
    name = host.encode("ascii")
    if not 1 <= len(name) <= MAX_FIELD_BYTES:
        raise LocalWireError(f"a name of {len(name)} bytes; SOCKS carries 1 to {MAX_FIELD_BYTES}")
    return bytes([3, len(name)]) + name
