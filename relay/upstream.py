"""Upstream: which parent proxies lead to which targets; PROXY protocol headers for which targets."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from relay.access_request import Asked
from relay.access_rule import Rule
from relay.route import Endpoint, Hop

# A parent waits for the target itself before it answers.
PARENT_SECONDS = 30.0


@dataclass(frozen=True)
class Upstream:
    """One row: the first that fits decides.

    hops: parents, nearest first; () is the direct way. rule: which targets it is for; only `fits` counts.
    timeout_seconds: for all that is said to the parents, until the target is reached.
    """

    hops: tuple[Hop, ...]
    rule: Rule = field(default_factory=lambda: Rule(allows=True, words=""))
    timeout_seconds: float = PARENT_SECONDS

    @property
    def name(self) -> str:
        """The parents, without secrets."""
        return " -> ".join(map(str, self.hops))

    @property
    def forwards(self) -> bool:
        """Whether a request for an http URI goes to the last parent as it is, and not through a tunnel.

        A parent that wants a login is sent one only when it may be Basic alone: others need a challenge
        first, and the password must not be said to a proxy that has not asked for it so.
        """
        last = self.hops[-1] if self.hops else None
        if last is None or last.socks is not None or last.http2:
            return False
        return last.user is None or last.login.schemes == ("basic",)


@dataclass(frozen=True)
class TargetHeader:
    """Targets that are told whose connection it is. version: 1 or 2 of the PROXY protocol."""

    version: int
    rule: Rule


def chosen(rows: Iterable[Upstream], target: Endpoint) -> Upstream | None:
    """The first row that fits; None is the direct way. A name is not looked up for this."""
    found = next((row for row in rows if fits(row.rule, target)), None)
    return found if found is not None and found.hops else None


def fits(rule: Rule, target: Endpoint) -> bool:
    """Whether a row is for this target; a network fits an address only, not a name that leads there."""
    return rule.fits(Asked("CONNECT", target, ""), None) is True
