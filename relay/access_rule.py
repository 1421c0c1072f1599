"""Rule: one row of a policy; the first that fits decides."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

from relay.access_conditions import CONDITIONS, Need, Test, Values
from relay.access_networks import IpAddress
from relay.access_request import Asked
from relay.failure import SettingsError

# Block lists are kept once, in the form that is fast to look into.
MAX_TOLD_VALUES = 1000


@dataclass(frozen=True)
class Rule:
    """All tests must say yes; a rule without tests fits everything.

    words: the reason, for the log and the client.
    told: the conditions as they were given, for who says them in another language; None of very many values.
    """

    allows: bool
    words: str
    tests: tuple[Test, ...] = field(default=(), repr=False)
    asks_for_user: bool = False
    told: tuple[tuple[str, Values], ...] | None = field(default=None, repr=False, compare=False)

    @classmethod
    def of(cls, conditions: Mapping[str, Values], *, allows: bool, words: str, what: str = "rule") -> Self:
        """Make a rule of the values of each condition. Raises: SettingsError."""
        if unknown := [name for name in conditions if name not in CONDITIONS]:
            raise SettingsError(f"{what}: {unknown[0]}: expected one of {', '.join(CONDITIONS)}")
        return cls(
            allows,
            words,
            tuple(
                make(conditions[name], f"{what}: {name}", not allows)
                for name, make in CONDITIONS.items()
                if name in conditions
            ),
            "user" in conditions,
            None if sum(map(len, conditions.values())) > MAX_TOLD_VALUES else tuple(conditions.items()),
        )

    def fits(self, asked: Asked, address: IpAddress | None) -> bool | Need:
        """Whether it decides; what has to be known first, if that is all that is missing."""
        need: Need | None = None
        for test in self.tests:
            answer = test(asked, address)
            if answer is False:
                return False
            if answer is not True:
                # A user can be asked for before a name is looked up, and a lookup tells others of it
                need = Need.USER if Need.USER in (need, answer) else answer
        return True if need is None else need
