"""ToxicLink: the toxics of one open connection."""

from collections.abc import Iterable
from random import Random

from relay.fault import Chunks, Direction
from relay.fault_plan import BoundFaults, Wrap, bare_wrap_of, behind_head
from relay.live_faults import LiveFaults
from relay.toxics import STREAMS, Toxic

# What goes in does not come out, so nothing is passed on when they change.
_SWALLOWING = {"timeout", "reset_peer", "limit_data"}


class ToxicPart:
    """One toxic in one connection; whether it works there is drawn once, as toxiproxy does it."""

    def __init__(self, toxic: Toxic) -> None:
        self.keeps_bytes = toxic.kind not in _SWALLOWING
        self.wrap: Wrap | None = None
        if Random().random() < toxic.toxicity:  # noqa: S311 - chance, not secrecy
            rule = toxic.rule()
            self.wrap = bare_wrap_of(rule, rule.direction, str(Random().random()), {})  # noqa: S311 - a seed

    @property
    def is_on(self) -> bool:
        """Whether it works here."""
        return self.wrap is not None


class ToxicLink:
    """Both directions. `faults` hold on to it for as long as the connection is open."""

    def __init__(self, toxics: Iterable[Toxic]) -> None:
        self._parts: dict[str, ToxicPart] = {}
        self._ways = {direction: LiveFaults(()) for direction in (Direction.UP, Direction.DOWN)}
        for toxic in toxics:
            self.add(toxic)

    @property
    def faults(self) -> BoundFaults:
        """As a connection takes them."""
        return BoundFaults((self._up,), (self._down,))

    def add(self, toxic: Toxic) -> None:
        """One more, behind the others of its direction."""
        self._parts[toxic.name] = ToxicPart(toxic)
        self._way(toxic).add(toxic.name, self._parts[toxic.name])

    def change(self, toxic: Toxic) -> None:
        """Its attributes or its toxicity are others now."""
        self._parts[toxic.name] = ToxicPart(toxic)
        self._way(toxic).change(toxic.name, self._parts[toxic.name])

    def remove(self, toxic: Toxic) -> None:
        """What it held back goes on; a timeout that worked ends the connection, as in toxiproxy."""
        part = self._parts.pop(toxic.name)
        self._way(toxic).remove(toxic.name, cuts=toxic.kind == "timeout" and part.is_on)

    def _way(self, toxic: Toxic) -> LiveFaults:
        return self._ways[STREAMS[toxic.stream]]

    def _up(self, chunks: Chunks) -> Chunks:
        return self._ways[Direction.UP].wrap(chunks)

    def _down(self, chunks: Chunks) -> Chunks:
        return behind_head(chunks, self._ways[Direction.DOWN].wrap)
