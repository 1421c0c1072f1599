"""ProxyDesk: what the express lane asks of a proxy, and tells it."""

import socket
import time
from typing import TYPE_CHECKING

from relay.admission import Admission
from relay.answering import Answering
from relay.failure import RelayError
from relay.gatekeeper import Gatekeeper
from relay.limits import network_of
from relay.outcomes import Outcomes
from relay.passage import Passage

if TYPE_CHECKING:
    from relay.takeover import RawServer


class ProxyDesk:
    """Lets through only what nobody has to be asked about; all else goes to `server`."""

    def __init__(
        self, keeper: Gatekeeper, outcomes: Outcomes, answering: Answering, server: "RawServer"
    ) -> None:
        self._keeper = keeper
        self._outcomes = outcomes
        self._answering = answering
        self._server = server
        self._tunnels = answering.tunnels
        self.names_ends = outcomes.names_ends
        self.times_dials = outcomes.metrics is not None
        self._admission = Admission(keeper.access, answering.dialler)

    def admission(self) -> Admission | None:
        """Who says where the lane may dial at once; None while somebody must see every request."""
        if not self._answering.is_plain or self._outcomes.has_details:
            return None
        if not self._admission.holds(self._keeper.access):
            self._admission = Admission(self._keeper.access, self._answering.dialler)
        return self._admission

    def was_silent(self) -> None:
        """A client was closed that sent nothing."""
        self._outcomes.was_silent()

    def opening(self, passage: Passage) -> None:
        """It counts from now on."""
        self._tunnels[passage] = None
        host = passage.peer[0]
        self._keeper.door.take_tunnel(network_of(host) if ":" in host else host)

    def ended(self, passage: Passage) -> None:
        """Nothing of it is left."""
        del self._tunnels[passage]
        host = passage.peer[0]
        self._keeper.door.give_back_tunnel(network_of(host) if ":" in host else host)
        if not self._outcomes.is_off:
            self._outcomes.passage_ended(passage)

    def opened(self, passage: Passage) -> None:
        """Its target has accepted."""
        if self._outcomes.metrics is not None:
            self._outcomes.metrics.dials.see(time.monotonic() - passage.began_seconds)

    def could_not_open(self, passage: Passage, sock: socket.socket, error: RelayError) -> None:
        """Tell its client, in the background."""
        self._answering.could_not_open(passage, sock, error)

    def hand_over(self, sock: socket.socket, data: bytes) -> None:
        """Have aiohttp answer what the lane does not."""
        self._server.take(sock, data)
