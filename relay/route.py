"""Endpoint, Hop and Route: where to go and through which proxies. Secrets never show in a repr."""

import ipaddress
import re
from dataclasses import dataclass, field
from urllib.parse import unquote_to_bytes

from relay.client_logins import LoginRules
from relay.client_logins import check_login as check_http_login
from relay.failure import SettingsError
from relay.shown import shown

MAX_PORT = 65_535
# RFC 1035 section 2.3.4: 255 octets on the wire are 253 characters; a label holds 63.
MAX_NAME_CHARACTERS = 253
MAX_LABEL_CHARACTERS = 63
FRAMEWORK_PORT = 5000
# None: there is none that everybody means. 1080 is registered for SOCKS.
_DEFAULT_PORTS = {
    "http": None, "https": 443, "socks5": 1080, "socks5h": 1080, "socks4": 1080, "socks4a": 1080,
}  # fmt: skip

_LABEL = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)\Z")
_LOOKS_NUMERIC = re.compile(r"([0-9]+|0[xX][0-9A-Fa-f]*)\Z")


@dataclass(frozen=True)
class Endpoint:
    """A host (a name, an IPv4 or IPv6 literal without brackets) and a TCP port, 0 to 65535."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def is_literal(self) -> bool:
        """True when `host` is an address and needs no name lookup."""
        return _address(self.host) is not None

    @classmethod
    def parse(cls, text: str, what: str = "address", default_port: int | None = None) -> "Endpoint":
        """Read `host:port`, `[ipv6]:port`, a bare IPv6 literal, or a host alone if a default is given.

        Names are turned into A-labels (RFC 5890), because that is what goes into CONNECT.

        Raises: SettingsError that begins with `what` and says what was expected.
        """
        host, port_text = _split(text, what)
        if port_text is None:
            if default_port is None:
                raise SettingsError(f"{what}: {shown(text)} has no port; expected HOST:PORT")
            return cls(checked_host(host, what), default_port)
        if not (port_text.isascii() and port_text.isdigit()) or int(port_text[:9]) > MAX_PORT:
            raise SettingsError(f"{what}: port {shown(port_text)} in {shown(text)}; expected 0 to {MAX_PORT}")
        return cls(checked_host(host, what), int(port_text))


def _split(text: str, what: str) -> tuple[str, str | None]:
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")):
            raise SettingsError(f"{what}: {shown(text)}; expected [IPV6]:PORT")
        if _address(host) is None or ":" not in host:
            raise SettingsError(f"{what}: {shown(host)} in brackets is no IPv6 address")
        return host, rest[1:] if rest else None
    if text.count(":") > 1:
        if _address(text) is None:
            raise SettingsError(f"{what}: {shown(text)}; expected HOST:PORT or [IPV6]:PORT")
        return text, None
    host, colon, port = text.partition(":")
    return host, port if colon else None


def checked_host(host: str, what: str = "host") -> str:
    """Return `host` as it may stand in an authority (RFC 3986 section 3.2.2), names as A-labels.

    Refused: empty, user information, zone ids, odd IPv4 spellings (`127.1`, `0x7f000001`) which
    resolvers read as addresses that no policy expects, labels and names that DNS cannot carry.

    Raises: SettingsError
    """
    if _address(host) is not None:
        return host
    name = host
    if not host.isascii():
        import idna

        try:
            name = idna.encode(host, uts46=True).decode("ascii")
        except idna.IDNAError as error:
            raise SettingsError(f"{what}: {shown(host)} is no host name: {error}") from None
    labels = name.removesuffix(".").split(".")
    if len(name) > MAX_NAME_CHARACTERS + 1 or not all(_LABEL.match(label) for label in labels):
        raise SettingsError(f"{what}: {shown(host)} is no host name and no address")
    if _LOOKS_NUMERIC.match(labels[-1]):
        raise SettingsError(f"{what}: {shown(host)} looks like an IPv4 address and is none")
    return name


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    if "%" in text:
        return None
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


@dataclass(frozen=True)
class Hop:
    """One proxy. `tls` means that the connection to the proxy itself is TLS.

    Attributes:
        socks: "socks5h" or "socks4a" (it looks names up), "socks5" or "socks4" (we do); None: it is HTTP.
        cert_file, key_file: our own certificate (PEM) for TLS; the key may stand in the first.
        server_name: for SNI and the check of the certificate, instead of the endpoint's host.
        system_trust: trust what the operating system trusts, through truststore; else OpenSSL's store.
        http2: offer h2 by ALPN, and speak it where the proxy picks it.
        login: which schemes may log in, in which order, and how.
        timeout_seconds: for all that is said to this hop: TLS, login, and its answer to CONNECT.
        looks_up_here: what it is asked for is looked up on this machine first, and named by its address.
        binds_logins: NTLM and Negotiate say which certificate of the proxy we have seen (RFC 5929).
        old_form: ask in HTTP/1.0 and without Host, as old clients do; some proxies want it so.
    """

    endpoint: Endpoint
    tls: bool = False
    user: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)
    ca_file: str | None = None
    verify: bool = True
    socks: str | None = None
    cert_file: str | None = None
    key_file: str | None = None
    server_name: str | None = None
    system_trust: bool = False
    http2: bool = False
    timeout_seconds: float | None = None
    looks_up_here: bool = False
    old_form: bool = False
    binds_logins: bool = True
    login: LoginRules = LoginRules()  # noqa: RUF009 - frozen

    def __str__(self) -> str:
        return f"{self.socks or ('https' if self.tls else 'http')}://{self.endpoint}"

    @classmethod
    def parse(
        cls,
        url: str,
        what: str = "--proxy",
        *,
        ca_file: str | None = None,
        verify: bool = True,
        password: str | None = None,
    ) -> "Hop":
        """Read `SCHEME://[USER[:PASSWORD]@]HOST:PORT`; without a scheme it is http.

        User and password end at the last `@` and are percent-decoded once, so that a raw `@`, `#`
        or `/` in a password is read as meant. `password` is used when the URL has none.

        Raises: SettingsError, which never quotes the user information.
        """
        scheme, separator, rest = url.partition("://")
        if not separator or not scheme.isalnum():
            # Not a scheme but part of a password, which must not be quoted either
            scheme, rest = "http", url
        scheme = scheme.lower()
        userinfo, at, authority = rest.rpartition("@")
        authority = authority.removesuffix("/")
        if scheme not in _DEFAULT_PORTS:
            known = ", ".join(f"{name}://" for name in _DEFAULT_PORTS)
            raise SettingsError(f"{what}: scheme {shown(scheme)}; expected one of {known}")
        endpoint = Endpoint.parse(authority, what, _DEFAULT_PORTS[scheme])
        if endpoint.port == 0:
            raise SettingsError(f"{what}: port 0 in {shown(authority)}; expected 1 to {MAX_PORT}")
        user, secret = _credentials(userinfo, what) if at else (None, None)
        socks = scheme if scheme.startswith("socks") else None
        password = secret if secret is not None or (socks or "").startswith("socks4") else password
        if user is not None:
            check_login(user, password or "", what, socks, LoginRules())
        return cls(
            endpoint,
            tls=scheme == "https",
            socks=socks,
            user=user,
            password=password,
            ca_file=ca_file,
            verify=verify,
        )


def _credentials(userinfo: str, what: str) -> tuple[str, str | None]:
    user, colon, password = userinfo.partition(":")
    try:
        decoded = [unquote_to_bytes(part).decode("utf-8") for part in (user, password)]
    except UnicodeError:
        raise SettingsError(f"{what}: user or password is not UTF-8 once percent-decoded") from None
    return decoded[0], decoded[1] if colon else None


def check_login(user: str, password: str, what: str, socks: str | None, rules: LoginRules) -> None:
    """Refuse what a login cannot carry. Raises: SettingsError that begins with `what` and quotes neither."""
    from protocol.errors import LocalWireError

    try:
        if socks is not None:
            from protocol.socks import SocksHandshake

            SocksHandshake(int(socks[5]), "any.example", 1, user=user, password=password)
            return
    except LocalWireError as error:
        raise SettingsError(f"{what}: {error}") from None
    check_http_login(user, password, rules, what)


@dataclass(frozen=True)
class Route:
    """A target and the proxies before it, nearest first.

    Attributes: alternatives: other chains of proxies, taken in order when the first proxy of those before
    cannot be reached; () among them is the direct way. fields: said to each HTTP proxy beside the target.
    """

    target: Endpoint
    hops: tuple[Hop, ...] = ()
    alternatives: tuple[tuple[Hop, ...], ...] = ()
    fields: tuple[tuple[str, str], ...] = ()

    def __str__(self) -> str:
        return " -> ".join([*(str(hop) for hop in self.hops), str(self.target)])

    @property
    def via(self) -> str:
        """The proxies without their secrets, for people: `http://proxy:3128`; alternatives behind `or`."""
        ways = [" -> ".join(str(hop) for hop in hops) for hops in self.ways]
        return " or ".join(way or "direct" for way in ways) if self.alternatives else ways[0]

    @property
    def ways(self) -> tuple[tuple[Hop, ...], ...]:
        """Every chain of proxies, in the order in which they are tried."""
        return (self.hops, *self.alternatives)
