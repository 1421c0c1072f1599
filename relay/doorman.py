"""Doorman: lets connections in, turns those beyond a limit away, and counts the others until they end."""

import asyncio

from relay.gatekeeper import Gatekeeper
from relay.outcomes import Asking, Outcomes
from relay.persona import Persona
from relay.persona_way import reply_to
from relay.refusal import Refusal
from relay.turned_away import TurnedAway


class Doorman:
    """Args: keeper: has the limits. outcomes: told who was turned away. persona: in whose words."""

    def __init__(self, keeper: Gatekeeper, outcomes: Outcomes, persona: Persona | None = None) -> None:
        self._keeper = keeper
        self._outcomes = outcomes
        self._persona = persona
        self._turned_away: set[TurnedAway] = set()

    def enter(self, peer: str, transport: asyncio.BaseTransport) -> bool:
        """Let a connection in, or turn it away with the reason."""
        refusal = self.admit(peer)
        if refusal is None:
            return True
        self.turn_away(peer, refusal, int(refusal.status))
        TurnedAway(transport, reply_to(refusal, self._persona), self._turned_away)
        return False

    def admit(self, peer: str) -> Refusal | None:
        """Count a connection, or say why it is one too many."""
        refusal = self._keeper.door.refuses_connection(peer)
        if refusal is None:
            self._keeper.door.take(peer)
        return refusal

    def turn_away(self, peer: str, refusal: Refusal, status: int = 0) -> None:
        """Write down a connection that ends before it could ask for anything."""
        if self._outcomes.metrics is not None:
            self._outcomes.metrics.turned_away += 1
        self._outcomes.ended(Asking(peer), status, "refused", refusal=refusal)

    def leave(self, peer: str) -> None:
        """A connection that was let in has ended, or somebody else has its socket now."""
        self._keeper.door.give_back(peer)

    def was_silent(self) -> None:
        """A connection is being closed because nothing came over it."""
        self._outcomes.was_silent()

    def abort(self) -> None:
        """End at once with those that are being turned away."""
        for turned in list(self._turned_away):
            turned.abort()
