"""Suite: a matrix of routes and targets, with what is expected of each path, working or closed."""

from dataclasses import dataclass, field
from typing import Final

from protocol.sealing import Key
from relay.route import Route

OK: Final = "ok"
"""What is expected of a path that must work; of any other, the ids of causes (docs/causes.md)."""

DIRECT: Final = "direct"
"""The name of the route without a proxy."""


@dataclass(frozen=True)
class Cell:
    """One path of the matrix, and what is expected of it.

    Attributes:
        expect: (OK,), or the causes of which one must be named.
        line: of the suite's file where this is expected.
        timeout_seconds: for one check. idle_seconds: also leave a connection alone for so long; 0: do not.
    """

    route_name: str
    target_name: str
    route: Route
    expect: tuple[str, ...]
    key: Key = field(repr=False)
    line: int = 1
    timeout_seconds: float = 10.0
    idle_seconds: float = 0.0

    @property
    def name(self) -> str:
        """ROUTE/TARGET, as --only and baselines name it."""
        return f"{self.route_name}/{self.target_name}"


@dataclass(frozen=True)
class Suite:
    """All that a file asks for.

    Attributes: file: where it was read from, as the user named it. jobs: paths checked at the same time.
    repeat: how often each.
    """

    name: str
    file: str
    cells: tuple[Cell, ...]
    jobs: int = 4
    repeat: int = 1
