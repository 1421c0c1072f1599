"""Which proxy the environment names for a target, and the rule that says so: `-x auto`."""

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass

from relay.failure import SettingsError
from relay.route import MAX_PORT, Endpoint, Hop
from relay.shown import shown

# In this order; lower case first, as curl has it. A tunnel is asked for with CONNECT, as for https:// URLs,
# and http_proxy is for requests that are forwarded in plain: it is told of, and not used.
PROXY_VARIABLES = ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY")
EXCEPTION_VARIABLES = ("no_proxy", "NO_PROXY")
_UNUSED_VARIABLES = ("http_proxy", "HTTP_PROXY")
_SEPARATORS = re.compile(r"[\s,]+")
_NUMBERS = re.compile(r"[0-9.*]*[0-9][0-9.*]*\Z")
_NOT_IN_NAMES = re.compile(r"[*:\[\]@;|<>]")
MAX_UNFIT = 5

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True)
class Decision:
    """Where a target's proxy came from.

    Attributes:
        source: "argument", "environment" or "pac".
        ways: chains of proxies, to be tried in this order; () is the direct way.
        rule: what decided, in words.
        notes: what else was there and was not used.
    """

    source: str
    ways: tuple[tuple[Hop, ...], ...]
    rule: str
    notes: tuple[str, ...] = ()


def from_environment(target: Endpoint, environment: Mapping[str, str]) -> Decision:
    """What curl and its like would do for this target. Raises: SettingsError for what is no proxy's URL."""
    notes = [f"{name} is set, and not used: it is for plain http:// requests" for name in _UNUSED_VARIABLES
             if environment.get(name)]  # fmt: skip
    found = [name for name in PROXY_VARIABLES if environment.get(name, "").strip()]
    if not found:
        words = f"none of {', '.join(PROXY_VARIABLES)} is set"
        return Decision("environment", ((),), words, tuple(notes))
    notes += [f"{name} is set as well, and not used" for name in found[1:]]
    hop = Hop.parse(environment[found[0]].strip(), found[0])
    exceptions = [name for name in EXCEPTION_VARIABLES if environment.get(name, "").strip()]
    if exceptions:
        notes += [f"{name} is set as well, and not used" for name in exceptions[1:]]
        notes += [
            f"{exceptions[0]} has {shown(entry)}, which is for nothing: {why}"
            for entry, why in unfit_exceptions(environment[exceptions[0]])[:MAX_UNFIT]
        ]
        if entry := matching_exception(target, environment[exceptions[0]]):
            notes.insert(0, f"{found[0]} names {hop}")
            return Decision("environment", ((),), f"{exceptions[0]} has {shown(entry)}", tuple(notes))
    rule = f"{found[0]} names it"
    rule += f", and no entry of {exceptions[0]} is for this target" if exceptions else ""
    return Decision("environment", ((hop,),), rule, tuple(notes))


def matching_exception(target: Endpoint, exceptions: str) -> str | None:
    """The first entry of a NO_PROXY list that is for `target`; None when there is none.

    `*` is for all; `example.com`, `.example.com` and `*.example.com` for the name and all below it; an
    address or a network (192.0.2.0/24, 2001:db8::/32) for addresses, never for names: they are not looked
    up; `:PORT` behind any of them for that port only. Case and a dot at the end do not matter.
    """
    for entry in _SEPARATORS.split(exceptions.strip()):
        if entry and _is_for(entry, target):
            return entry
    return None


def unfit_exceptions(exceptions: str) -> list[tuple[str, str]]:
    """The entries of a NO_PROXY list that no target can fit, and why: somebody meant something by them."""
    entries = dict.fromkeys(entry for entry in _SEPARATORS.split(exceptions.strip()) if entry)
    return [(entry, why) for entry in entries if (why := _why_unfit(entry))]


def _why_unfit(entry: str) -> str:
    if "//" in entry:
        return "a URL; expected its host alone"
    pattern, port = _without_port(entry.lower())
    if port is not None and not 0 < port <= MAX_PORT:
        return f"there is no port {port}"
    if pattern == "*" or _network(pattern) is not None:
        return ""
    if "/" in pattern:
        return "no network; expected ADDRESS/BITS"
    name = pattern.removeprefix("*").strip(".")
    if _NUMBERS.match(name):
        return "no address; expected a whole one, or a network such as 10.0.0.0/8"
    return "" if name and not _NOT_IN_NAMES.search(name) else "no name, address or network"


def _is_for(entry: str, target: Endpoint) -> bool:
    pattern, port = _without_port(entry.lower())
    if port is not None and port != target.port:
        return False
    if pattern == "*":
        return True
    address, network = _address(target.host), _network(pattern)
    if address is not None:
        return network is not None and address.version == network.version and address in network
    if network is not None:
        return False
    host, name = target.host.lower().rstrip("."), pattern.removeprefix("*").strip(".")
    return bool(name) and (host == name or host.endswith("." + name))


def _without_port(entry: str) -> tuple[str, int | None]:
    if entry.startswith("["):
        host, _, rest = entry[1:].partition("]")
        port = rest.removeprefix(":")
    else:
        host, _, port = entry.partition(":") if entry.count(":") == 1 else (entry, "", "")
    return host, int(port) if port.isascii() and port.isdigit() and len(port) <= 5 else None


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def _network(pattern: str) -> Network | None:
    try:
        # Host bits may be set, as in 10.1.2.3/8: what is meant is clear
        return ipaddress.ip_network(pattern, strict=False)
    except ValueError:
        return None


def checked_source(text: str) -> str:
    """A source of `-x` that is no proxy itself: "auto", or a PAC URL. Raises: SettingsError."""
    if text == "auto" or text.startswith(("pac+file://", "pac+http://", "pac+https://")):
        return text
    raise SettingsError(f"--proxy: {shown(text)}; expected auto, pac+file://, pac+http:// or pac+https://")
