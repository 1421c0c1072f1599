"""The target of a CONNECT as a persona reads it: some take what no authority may have."""

import ipaddress
import re
import socket
from collections.abc import Callable, Mapping

from relay.failure import SettingsError
from relay.route import MAX_PORT, Endpoint, checked_host

_WORD = re.compile(r"[0-9]{1,9}\Z")
_ABSOLUTE = re.compile(r"https?://([^/]*)/?\Z")
HTTPS_PORT = 443


class TargetRefused(ValueError):
    """The target has an oddity that the persona does not accept."""

    def __init__(self, verdict: str, oddity: str) -> None:
        super().__init__(oddity)
        self.verdict = verdict
        self.oddity = oddity


def read_odd_authority(text: str, habits: Mapping[str, str]) -> Endpoint:
    """Read the target of a CONNECT. Raises: TargetRefused."""

    def odd(oddity: str) -> str:
        verdict = habits[oddity]
        if verdict not in ("accept", "443", "wrap"):
            raise TargetRefused(verdict, oddity)
        return verdict

    if match := _ABSOLUTE.match(text):
        odd("absolute_uri")
        text = match[1]
    text, slash, _ = text.partition("/")
    if slash:
        odd("path")
    _, at, text = text.rpartition("@")
    if at:
        odd("userinfo")
    host, port_text = _split(text, odd)
    return Endpoint(_host(host, habits), _port(port_text, habits))


def _split(text: str, odd: Callable[[str], str]) -> tuple[str, str | None]:
    if text.startswith("["):
        host, _, rest = text[1:].partition("]")
        return host, rest[1:] if rest.startswith(":") else None
    if text.count(":") > 1:
        odd("bare_ipv6")
    host, colon, port = text.rpartition(":")
    return (host, port) if colon else (text, None)


def _port(text: str | None, habits: Mapping[str, str]) -> int:
    number = int(text) if text is not None and _WORD.match(text) else -1
    if 0 < number <= MAX_PORT:
        return number
    if text is None:
        oddity = "no_port"
    elif not text:
        oddity = "empty_port"
    elif number < 0:
        oddity = "port_negative" if text.startswith("-") else "port_word"
    else:
        oddity = "port_over" if number else "port_0"
    verdict = habits[oddity]
    if verdict == "443":
        return HTTPS_PORT
    if verdict != "wrap":
        raise TargetRefused(verdict, oddity)
    wrapped = number % (MAX_PORT + 1)
    if not wrapped:
        # Its list of ports sees 0
        raise TargetRefused("port-denied", oddity)
    return wrapped


def _host(text: str, habits: Mapping[str, str]) -> str:
    try:
        return _checked(checked_host(text), habits)
    except SettingsError:
        pass
    try:
        # As inet_aton(3) reads it: hexadecimal, octal, fewer than four numbers
        address = str(ipaddress.IPv4Address(socket.inet_aton(text)))
    except (OSError, ValueError):
        raise TargetRefused(habits["bad_name"], "bad_name") from None
    oddity = "short_address" if text.count(".") in (1, 2) else "odd_address"
    if habits[oddity] != "accept":
        raise TargetRefused(habits[oddity], oddity)
    return address


def _checked(host: str, habits: Mapping[str, str]) -> str:
    """Addresses that are well-formed, and mean another one. Raises: TargetRefused."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    oddity = "mapped_address" if getattr(address, "ipv4_mapped", None) else ""
    oddity = "zero_address" if address.is_unspecified else oddity
    oddity = oddity or ("ipv6_address" if address.version == 6 else "")
    if oddity and habits[oddity] != "accept":
        raise TargetRefused(habits[oddity], oddity)
    return host
