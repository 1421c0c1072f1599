"""Read the fault catalogue, relay/causes.toml."""

import functools
import tomllib
from collections.abc import Callable, Mapping
from importlib.resources import files
from typing import Any

from relay.cause import Cause, Distinguishable, Severity, Words

MENDERS = {
    "you": "you, on this machine",
    "dns": "whoever runs the name servers",
    "network": "the network or firewall team",
    "proxy": "the proxy's administrator",
    "server": "the server's administrator",
    "provider": "the internet provider",
    "nobody": "nobody: this is normal",
}


@functools.cache
def causes() -> tuple[Cause, ...]:
    """The whole catalogue, in its order."""
    table = tomllib.loads(files("relay").joinpath("causes.toml").read_text("utf-8"))
    return tuple(read_cause(row) for row in table["cause"])


def read_cause(row: Mapping[str, Any]) -> Cause:
    """One row. Raises: KeyError, TypeError, ValueError for a row that is none."""
    plain = {key: value for key, value in row.items() if key not in _READ}
    read = {key: _READ[key](row[key]) for key in row if key in _READ}
    return Cause(**plain, **read)


def _words(table: Mapping[str, Any]) -> Words:
    return {key: frozenset([value] if isinstance(value, str) else value) for key, value in table.items()}


_READ: dict[str, Callable[[Any], Any]] = {
    "shows": _words,
    "predicts": _words,
    "contradicted_by": _words,
    "alike": tuple,
    "sources": tuple,
    "severity": Severity,
    "distinguishable": Distinguishable,
}
