"""FaultRule: which fault, with what options, for which tunnels; and how one is written."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from relay.failure import SettingsError
from relay.fault import Direction, Fault, Option
from relay.faults import FAULTS

# A day, and what a 64-bit file may have: beyond them a number is a mistake.
MAX_SECONDS = 86_400.0
MAX_COUNT = 2**63 - 1
MAX_TEXT_CHARACTERS = 1_000

_RANGE = re.compile(r"([0-9]{1,9})(?:-([0-9]{1,9}))?\Z")
_SELECTORS = (
    Option("direction", str, None, is_needed=False, choices=tuple(Direction)),
    Option("probability", float, 1.0, is_needed=False),
    Option("target", str, "*", is_needed=False),
    Option("user", str, "*", is_needed=False),
    Option("client", str, "*", is_needed=False),
    Option("nth", str, "", is_needed=False),
    Option("after_bytes", int, 0, is_needed=False),
    Option("after_seconds", float, 0.0, is_needed=False),
)


@dataclass(frozen=True)
class TunnelFacts:
    """What rules choose tunnels by: `target` is host:port, `user` "" without a login, `client` an address."""

    target: str
    user: str = ""
    client: str = ""


@dataclass(frozen=True)
class FaultRule:
    """One fault, bound to the tunnels it is meant for.

    target, user, client: shell patterns. nth: of the tunnels that match, only these, from 1.
    after_bytes, after_seconds: of the tunnel, in the fault's direction, before the fault begins.
    """

    fault: Fault
    options: tuple[tuple[str, Any], ...] = ()
    direction: Direction = Direction.DOWN
    probability: float = 1.0
    target: str = "*"
    user: str = "*"
    client: str = "*"
    nth: range | None = None
    after_bytes: int = 0
    after_seconds: float = 0.0

    @property
    def directions(self) -> tuple[Direction, ...]:
        """`both` taken apart."""
        if self.direction is Direction.BOTH:
            return (Direction.UP, Direction.DOWN)
        return (self.direction,)

    def matches(self, tunnel: TunnelFacts) -> bool:
        """Whether a tunnel is one of those meant, its number and chance apart."""
        host = tunnel.target.rpartition(":")[0]
        is_target = fnmatchcase(tunnel.target.lower(), self.target) or fnmatchcase(host.lower(), self.target)
        return is_target and fnmatchcase(tunnel.user, self.user) and fnmatchcase(tunnel.client, self.client)


def rule_from_text(text: str, where: str = "--fault") -> FaultRule:
    """Read `latency:seconds=0.2,target=*.example:5000`. Raises: SettingsError."""
    name, _, rest = text.partition(":")
    table: dict[str, Any] = {"name": name.strip()}
    for part in rest.split(",") if rest.strip() else ():
        key, equals, value = part.partition("=")
        if not equals:
            raise SettingsError(f"{where}: {part[:80]!r}; expected key=value, as in latency:seconds=0.2")
        if key.strip() in table:
            raise SettingsError(f"{where}: {key.strip()[:80]!r} is there twice")
        table[key.strip()] = value.strip()
    return rule_from_table(table, where)


def rule_from_table(table: Mapping[str, Any], where: str = "fault") -> FaultRule:
    """Read one `[[fault]]` table: `name`, the fault's options, and whom it is meant for.

    Raises: SettingsError
    """
    name = table.get("name")
    found = FAULTS.get(name) if isinstance(name, str) else None
    if found is None:
        raise SettingsError(
            f"{where}: there is no fault {str(name)[:80]!r}; expected one of {', '.join(sorted(FAULTS))}"
        )
    where = f"{where}: {found.name}"
    known = {option.name: option for option in (*found.options, *_SELECTORS)}
    for key in table.keys() - known.keys() - {"name"}:
        raise SettingsError(f"{where}: unknown key {str(key)[:80]!r}; expected {', '.join(known)}")
    values = {
        key: read_value(known[key], value, f"{where}.{key}") for key, value in table.items() if key != "name"
    }
    for option in found.options:
        if option.is_needed and option.name not in values:
            raise SettingsError(f"{where}: {option.name} is missing")
    return _rule(found, values, where)


def _rule(found: Fault, values: dict[str, Any], where: str) -> FaultRule:
    own = {option.name for option in found.options}
    chosen = {key: value for key, value in values.items() if key not in own}
    nth = chosen.pop("nth", "")
    rule = FaultRule(
        found,
        tuple((key, value) for key, value in values.items() if key in own),
        direction=Direction(chosen.pop("direction", found.direction)),
        target=chosen.pop("target", "*").lower(),
        nth=_nth(nth, f"{where}.nth") if nth else None,
        **chosen,
    )
    if not 0 <= rule.probability <= 1:
        raise SettingsError(f"{where}.probability: {rule.probability:g}; expected a number from 0 to 1")
    if found.at_connect and (rule.after_bytes or rule.after_seconds or rule.direction != Direction.DOWN):
        raise SettingsError(
            f"{where}: it changes the proxy's answer; after_bytes, after_seconds and direction do not apply"
        )
    return rule


def read_value(option: Option, value: Any, where: str) -> Any:
    """Turn what was written into what the option takes, within limits. Raises: SettingsError."""
    if option.choices:
        if value not in option.choices:
            raise SettingsError(f"{where}: {str(value)[:80]!r}; expected {' or '.join(option.choices)}")
        return str(value)
    if option.kind is bool:
        return _truth(value, where)
    if option.kind is str:
        if not isinstance(value, str) and option.name == "nth" and type(value) is int:
            value = str(value)
        if not isinstance(value, str) or len(value) > MAX_TEXT_CHARACTERS:
            raise SettingsError(f"{where}: {str(value)[:80]!r}; expected text")
        return value
    return _number(option, value, where)


def _truth(value: Any, where: str) -> bool:
    words = {"true": True, "yes": True, "false": False, "no": False}
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in words:
        return words[value.lower()]
    raise SettingsError(f"{where}: {str(value)[:80]!r}; expected true or false")


def _number(option: Option, value: Any, where: str) -> float:
    is_whole = option.kind is int
    limit = MAX_COUNT if is_whole else MAX_SECONDS
    what = "a whole number" if is_whole else "a number"
    try:
        number = option.kind(value) if isinstance(value, str | int | float) else math.nan
    except (ValueError, OverflowError):
        number = math.nan
    is_number = not isinstance(value, bool) and (not is_whole or not isinstance(value, float))
    if not is_number or not 0 <= number <= limit:
        raise SettingsError(f"{where}: {str(value)[:80]!r}; expected {what} from 0 to {limit:g}")
    return float(number) if not is_whole else int(number)


def _nth(text: str, where: str) -> range:
    match = _RANGE.match(text)
    first = int(match[1]) if match else 0
    last = int(match[2] or match[1]) if match else 0
    if not 1 <= first <= last:
        raise SettingsError(f"{where}: {text[:40]!r}; expected a number from 1, or a range such as 1-2")
    return range(first, last + 1)
