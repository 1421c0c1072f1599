"""Ports and ranges of ports, as people write them."""

from collections.abc import Sequence

from relay.failure import SettingsError
from relay.route import MAX_PORT

MAX_RANGE_DIGITS = len(str(MAX_PORT))


def parse_ports(values: Sequence[str], what: str = "--allow-port") -> tuple[range, ...]:
    """Read `5000` or `5000-5010`, several in one value separated by commas.

    Raises: SettingsError
    """
    return tuple(_parse_range(part.strip(), what) for value in values for part in value.split(","))


def _parse_range(text: str, what: str) -> range:
    low, dash, high = text.partition("-")
    first, last = _parse_port(low), _parse_port(high if dash else low)
    if 0 < first <= last:
        return range(first, last + 1)
    expected = f"a port from 1 to {MAX_PORT}, or a range such as 5000-5010"
    raise SettingsError(f"{what}: {text[:40]!r}; expected {expected}")


def _parse_port(text: str) -> int:
    """The port, 0 when it is none."""
    is_number = text.isascii() and text.isdigit() and len(text) <= MAX_RANGE_DIGITS
    return int(text) if is_number and int(text) <= MAX_PORT else 0
