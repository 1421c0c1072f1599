"""BlockingClient: keeps one connection to a Framework Server, for threads; makes a new one when it died."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from protocol.packet import Packet
from protocol.sealing import Key
from relay.blocking import BlockingPackets, open_tunnel
from relay.failure import Failure, PeerMisbehaved, Reason, RelayError, Stage
from relay.route import Route


@dataclass(frozen=True)
class Connecting:
    """Told of each attempt to make a connection.

    number: of the connections made, with this one, from 1; the attempts that fail have the number that they
    would have had. failure: None when it is open now. lost: how the one before it ended.
    """

    number: int
    seconds: float
    failure: Failure | None = None
    lost: Failure | None = None


class BlockingClient:
    """One request at a time. A request is sent once: when its connection dies, the next one has a new one.

    Args: timeout_seconds: for a connection to be made, and for each answer.
    """

    def __init__(
        self,
        route: Route,
        key: Key | None = None,
        *,
        timeout_seconds: float = 30.0,
        on_connect: Callable[[Connecting], None] | None = None,
    ) -> None:
        self.route = route
        self.connections_made = 0
        self._key = key or Key.public()
        self._timeout_seconds = timeout_seconds
        self._on_connect = on_connect
        self._packets: BlockingPackets | None = None
        self._lost: Failure | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection, if one is open."""
        packets, self._packets = self._packets, None
        if packets is not None:
            packets.close()

    def connect(self) -> None:
        """Make a connection, if none is open that can be used. Raises: RelayError."""
        ended = self._packets.ended_while_idle() if self._packets is not None else None
        if ended is not None:
            self._leave(ended)
        if self._packets is not None:
            return
        began, number = time.perf_counter(), self.connections_made + 1
        try:
            stream = open_tunnel(self.route, timeout_seconds=self._timeout_seconds)
        except RelayError as error:
            self._tell(Connecting(number, time.perf_counter() - began, error.failure, self._lost))
            raise
        self.connections_made = number
        self._packets = BlockingPackets(stream, self._key, str(self.route.target))
        self._tell(Connecting(number, time.perf_counter() - began, None, self._lost))
        self._lost = None

    def ping(self) -> int:
        """Send the empty packet; the size of its answer on the wire in bytes. Raises: as `request`."""
        reply, size_bytes = self._exchange(Packet.ping())
        if not reply.is_ping:
            detail = "answered a ping with a packet that is not empty"
            failure = Failure(Stage.FRAMEWORK, Reason.MALFORMED, str(self.route.target), detail)
            self._leave(failure)
            raise PeerMisbehaved(failure)
        return size_bytes

    def request(self, packet: Packet) -> Packet:
        """Send one packet and return its reply. Raises: RelayError, after which the connection is closed."""
        return self._exchange(packet)[0]

    def _exchange(self, packet: Packet) -> tuple[Packet, int]:
        self.connect()
        packets = self._packets
        assert packets is not None
        try:
            packets.send(packet, self._timeout_seconds)
            return packets.receive(self._timeout_seconds)
        except RelayError as error:
            # A late answer must not be taken for the next request's: it dies with the connection
            self._leave(error.failure)
            raise
        except BaseException:
            self.close()
            raise

    def _leave(self, why: Failure) -> None:
        self._lost = why
        self.close()

    def _tell(self, connecting: Connecting) -> None:
        if self._on_connect is not None:
            self._on_connect(connecting)
