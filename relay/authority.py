"""The target of a request as on the wire, read strictly (RFC 9110 section 4.2, RFC 9112 section 3.2)."""

import ipaddress
import re
from dataclasses import dataclass

from relay.failure import SettingsError
from relay.route import MAX_NAME_CHARACTERS, MAX_PORT, Endpoint, checked_host

# One visible ASCII run (RFC 3986 section 2 has no other characters).
_VISIBLE = re.compile(r"[\x21-\x7e]+\Z")
# host and port of a URI: no user information, path, query or fragment may follow
_AUTHORITY = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::(?P<port>[0-9]*))?\Z")
# Host of a request (RFC 9110 section 7.2): the grammar of RFC 3986 section 3.2.2, but for the comma, which
# would let two Host fields that somebody joined pass for one.
_HOST_FIELD = re.compile(
    r"(?:\[(?:(?P<ipv6>[0-9A-Fa-f:.]+)|[vV][0-9A-Fa-f]+\.[A-Za-z0-9._~!$&'()*+;=:-]+)\]"
    r"|(?:[A-Za-z0-9._~!$&'()*+;=-]|%[0-9A-Fa-f]{2})*)"
    r"(?::0*(?P<port>[0-9]{0,5}))?\Z"
)
MAX_PORT_DIGITS = 5


class TargetMalformed(ValueError):
    """The request target cannot be used; the message says why, fit for the client."""


@dataclass(frozen=True)
class AbsoluteTarget:
    """`http://authority/path?query` taken apart; `origin_form` is what goes to the origin server."""

    endpoint: Endpoint
    authority: str
    origin_form: str


def read_authority(text: str, default_port: int | None = None) -> Endpoint:
    """Read the authority-form of CONNECT, or the authority of an http URI.

    Raises: TargetMalformed: no port (without a default), port 0 or beyond 65535, user information,
            empty host, anything that is no host name or address.
    """
    if not text or (text.startswith(":") and not text.startswith("::")):
        raise TargetMalformed("the target has no host")
    if not _VISIBLE.match(text):
        raise TargetMalformed("the target has characters that no authority may have")
    if "@" in text:
        # RFC 9110 section 4.2.4: it may be there to show people another host than the real one
        raise TargetMalformed("the target has user information, which an authority may not have")
    match = _AUTHORITY.match(text)
    if match is None:
        raise TargetMalformed("the target is not of the form host:port, with IPv6 addresses in brackets")
    return Endpoint(_host(match["host"]), _port(match["port"], default_port))


def _host(text: str) -> str:
    if text.startswith("["):
        text = text[1:-1]
        if ":" not in text:
            raise TargetMalformed("only an IPv6 address may stand in brackets")
    if len(text.removesuffix(".")) > MAX_NAME_CHARACTERS:
        raise TargetMalformed(f"the target's name is beyond {MAX_NAME_CHARACTERS} characters")
    try:
        return checked_host(text)
    except SettingsError:
        raise TargetMalformed("the target's host is no name and no address") from None


def _port(text: str | None, default_port: int | None) -> int:
    if not text:
        # An empty port after the colon is the default in an http URI (RFC 3986 section 3.2.3)
        if default_port is None:
            raise TargetMalformed("the target has no port")
        return default_port
    # Leading zeros are legal; more digits than a port has are not worth converting
    digits = text.lstrip("0")
    if not digits:
        raise TargetMalformed("port 0 cannot be connected to")
    if len(digits) > MAX_PORT_DIGITS or int(digits) > MAX_PORT:
        raise TargetMalformed(f"the target's port is beyond {MAX_PORT}")
    return int(digits)


def read_host_field(text: str) -> None:
    """Check the form of a Host field; a proxy does not care which host it names (RFC 9112 section 3.2.2).

    Raises: TargetMalformed
    """
    match = _HOST_FIELD.match(text)
    if (
        match is None
        or (match["ipv6"] is not None and not _is_ipv6(match["ipv6"]))
        or int(match["port"] or 0) > MAX_PORT
    ):
        raise TargetMalformed("the Host field is not of the form host or host:port")


def _is_ipv6(text: str) -> bool:
    try:
        ipaddress.IPv6Address(text)
    except ValueError:
        return False
    return True


def read_absolute(text: str) -> AbsoluteTarget:
    """Take an absolute http URI apart (RFC 9110 section 4.2.1). Raises: TargetMalformed."""
    rest = text[len("http://") :]
    end = min((at for at in (rest.find(c) for c in "/?#") if at >= 0), default=len(rest))
    authority, path = rest[:end], rest[end:]
    if "#" in path:
        raise TargetMalformed("the target has a fragment, which is not sent to servers")
    if path and not _VISIBLE.match(path):
        raise TargetMalformed("the target's path has characters that must be percent-encoded")
    endpoint = read_authority(authority, default_port=80)
    if path.startswith("?"):
        path = "/" + path
    # An empty port is the default one, and servers know it better without the colon (RFC 3986 section 6.2.3)
    return AbsoluteTarget(endpoint, authority.removesuffix(":"), path)
