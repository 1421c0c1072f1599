"""What a rule can ask of a request: one maker for each key of `[[access.rule]]`.

A maker takes the key's values, reads them strictly, and returns a test. A test says yes, no, or what it has
to know first. Makers are told the place for their errors, and whether the rule denies.
"""

import fnmatch
import ipaddress
import re
from collections.abc import Callable, Iterable, Sequence
from enum import Enum, auto

from relay.access_networks import IpAddress, IpNetwork, NetworkSet, unmapped
from relay.access_ports import parse_ports
from relay.access_request import Asked
from relay.addresses import embedded
from relay.failure import SettingsError
from relay.refusal import METHODS
from relay.route import checked_host


class Need(Enum):
    """What a test must know before it can answer."""

    ADDRESS = auto()
    USER = auto()


Test = Callable[[Asked, IpAddress | None], bool | Need]
Values = Sequence[str | int]
Maker = Callable[[Values, str, bool], Test]

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_SPAN = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])-(?:([01][0-9]|2[0-3]):([0-5][0-9])|24:00)\Z")
MINUTES_A_DAY = 24 * 60
# The longest name that DNS has is 253 characters; nothing longer can match.
MAX_PATTERN_CHARACTERS = 300
# A user may be anybody who has logged in.
ANYBODY = "*"


def _method(values: Values, what: str, is_deny: bool) -> Test:
    """The method of the request, in capitals as on the wire."""
    methods = frozenset(texts(values, what))
    if unknown := sorted(methods - set(METHODS)):
        raise SettingsError(f"{what}: {_show(unknown[0])}; expected a method such as CONNECT or GET")
    return lambda asked, _: asked.method in methods


def _port(values: Values, what: str, is_deny: bool) -> Test:
    """The target's port: 443, or a range "5000-5010"."""
    ranges = parse_ports([str(value) for value in values], what)
    ports = frozenset().union(*ranges)
    return lambda asked, _: asked.target.port in ports


def _host(values: Values, what: str, is_deny: bool) -> Test:
    """The target as the client names it: a name, or an address literal, without its port."""
    addresses, names = set(), set()
    for text in texts(values, what):
        try:
            addresses.add(unmapped(ipaddress.ip_address(text.strip("[]"))))
        except ValueError:
            names.add(_name(text, what))

    def test(asked: Asked, _: IpAddress | None) -> bool:
        if asked.literal is not None:
            return unmapped(asked.literal) in addresses
        return asked.host in names

    return test


def _suffix(values: Values, what: str, is_deny: bool) -> Test:
    """The target's name is this domain or lies below it; a leading dot changes nothing."""
    domains = frozenset(_name(text.removeprefix("."), what) for text in texts(values, what))

    def test(asked: Asked, _: IpAddress | None) -> bool:
        name = "" if asked.literal is not None else asked.host
        while name:
            if name in domains:
                return True
            name = name.partition(".")[2]
        return False

    return test


def _glob(values: Values, what: str, is_deny: bool) -> Test:
    """The target as named fits a shell pattern: *, ? and [a-z]; * also stands for dots."""
    match = _pattern((text.lower() for text in texts(values, what)), what)
    return lambda asked, _: match(asked.host) is not None


def _network(values: Values, what: str, is_deny: bool) -> Test:
    """An address of the target, named or looked up, is in this network (CIDR).

    A rule that denies also looks at the IPv4 addresses inside IPv6 forms; one that allows does not: such a
    form may lead elsewhere.
    """
    networks = NetworkSet(_networks(values, what))

    def test(asked: Asked, address: IpAddress | None) -> bool | Need:
        address = asked.literal if address is None else address
        if address is None:
            return Need.ADDRESS
        looked_at = embedded(address) if is_deny else (address, unmapped(address))
        return any(one in networks for one in looked_at)

    return test


def _target(values: Values, what: str, is_deny: bool) -> Test:
    """Whether the target is named by "name" or by "literal"."""
    kinds = set(texts(values, what))
    if not kinds <= {"name", "literal"}:
        raise SettingsError(f'{what}: {_show(min(kinds))}; expected "name" or "literal"')
    return lambda asked, _: ("name" if asked.literal is None else "literal") in kinds


def _client(values: Values, what: str, is_deny: bool) -> Test:
    """The client's address is in this network (CIDR)."""
    networks = NetworkSet(_networks(values, what))
    return lambda asked, _: asked.client_address is not None and asked.client_address in networks


def _user(values: Values, what: str, is_deny: bool) -> Test:
    """The user who has logged in; "*" is anybody who has."""
    users = frozenset(texts(values, what))

    def test(asked: Asked, _: IpAddress | None) -> bool | Need:
        if asked.user is None:
            return Need.USER
        return ANYBODY in users or asked.user in users

    return test


def _user_agent(values: Values, what: str, is_deny: bool) -> Test:
    """User-Agent fits a shell pattern, in any case; "" is a request without one."""
    match = _pattern((text.lower() for text in texts(values, what)), what)
    return lambda asked, _: match(asked.user_agent().lower()) is not None


def _certificate(values: Values, what: str, is_deny: bool) -> Test:
    """The subject of the client's certificate (RFC 4514) fits a shell pattern; "" is none."""
    match = _pattern(texts(values, what), what)
    return lambda asked, _: match(asked.certificate) is not None


def _time(values: Values, what: str, is_deny: bool) -> Test:
    """The local time of day: "08:00-18:00", also across midnight; the end is no longer in it."""
    spans = [_span(text, what) for text in texts(values, what)]

    def test(asked: Asked, _: IpAddress | None) -> bool:
        now = asked.now()
        minute = now.tm_hour * 60 + now.tm_min
        return any(
            begin <= minute < end if begin < end else not end <= minute < begin for begin, end in spans
        )

    return test


def _day(values: Values, what: str, is_deny: bool) -> Test:
    """The local day of the week: "mon" to "sun"."""
    days = texts(values, what)
    for day in days:
        if day not in DAYS:
            raise SettingsError(f"{what}: {_show(day)}; expected one of {', '.join(DAYS)}")
    numbers = frozenset(map(DAYS.index, days))
    return lambda asked, _: asked.now().tm_wday in numbers


def _open_tunnels(values: Values, what: str, is_deny: bool) -> Test:
    """At least so many tunnels are open in the proxy."""
    least = _only_number(values, what)
    return lambda asked, _: asked.open_tunnels() >= least


def _client_tunnels(values: Values, what: str, is_deny: bool) -> Test:
    """At least so many tunnels of this client are open."""
    least = _only_number(values, what)
    return lambda asked, _: asked.client_tunnels() >= least


CONDITIONS: dict[str, Maker] = {
    "method": _method,
    "port": _port,
    "host": _host,
    "suffix": _suffix,
    "glob": _glob,
    "network": _network,
    "target": _target,
    "client": _client,
    "user": _user,
    "user_agent": _user_agent,
    "certificate": _certificate,
    "time": _time,
    "day": _day,
    "open_tunnels": _open_tunnels,
    "client_tunnels": _client_tunnels,
}
"""In the order in which a rule tries them: what is cheap first, what needs a lookup is answered as well."""


def texts(values: Values, what: str) -> list[str]:
    """The values, all of them text. Raises: SettingsError."""
    for value in values:
        if not isinstance(value, str):
            raise SettingsError(f"{what}: {value!r}; expected text in quotes")
    return [str(value) for value in values]


def _name(text: str, what: str) -> str:
    name = checked_host(text, what).lower().removesuffix(".")
    if name[-1:].isdigit() or ":" in name:
        raise SettingsError(f"{what}: {_show(text)} is an address; expected a name")
    return name


def _networks(values: Values, what: str) -> list[IpNetwork]:
    found = []
    for text in texts(values, what):
        try:
            found.append(ipaddress.ip_network(text))
        except ValueError as error:
            why = " (it has host bits set)" if "host bits" in str(error) else ""
            raise SettingsError(
                f"{what}: {_show(text)}{why}; expected an address or a network such as 10.0.0.0/8"
            ) from None
    return found


def _pattern(patterns: Iterable[str], what: str) -> Callable[[str], re.Match[str] | None]:
    parts = []
    for pattern in patterns:
        if len(pattern) > MAX_PATTERN_CHARACTERS:
            raise SettingsError(
                f"{what}: a pattern of {len(pattern)} characters; expected at most {MAX_PATTERN_CHARACTERS}"
            )
        parts.append(fnmatch.translate(pattern))
    return re.compile("|".join(parts) if parts else r"(?!)").match


def _span(text: str, what: str) -> tuple[int, int]:
    match = _SPAN.match(text)
    begin = end = 0
    if match is not None:
        begin = int(match[1]) * 60 + int(match[2])
        end = MINUTES_A_DAY if match[3] is None else int(match[3]) * 60 + int(match[4])
    if begin == end:
        raise SettingsError(f'{what}: {_show(text)}; expected a span such as "08:00-18:00"')
    return begin, end


def _only_number(values: Values, what: str) -> int:
    if len(values) != 1 or not isinstance(values[0], int) or values[0] < 1:
        raise SettingsError(f"{what}: expected one whole number from 1")
    return values[0]


def _show(text: str) -> str:
    return ascii(text if len(text) <= 80 else text[:77] + "...")
