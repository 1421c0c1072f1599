"""PacketStream: Framework packets over a Stream."""

from protocol.connection import PacketConnection
from protocol.errors import PeerWireError
from protocol.packet import Packet
from protocol.sealing import Direction, Key
from relay.asides import run_aside
from relay.failure import Failure, Stage, classify
from relay.foreign import FIRST_BYTES, idle_failure, not_framework
from relay.operations import LARGE_BYTES
from relay.stream import Stream


class PacketStream:
    """One request, one reply, in order, over an open Stream, which it owns.

    Raises: RelayError of stage `framework` for everything that goes wrong on the way; LocalWireError for a
        packet that the wire cannot carry, of which nothing is sent.
    """

    def __init__(self, stream: Stream, key: Key | None = None, peer: str = "the Framework Server") -> None:
        self.stream = stream
        self._connection = PacketConnection(Direction.CLIENT, key or Key.public())
        self._peer = peer
        self._first = b""

    @property
    def bytes_received(self) -> int:
        """All bytes that have come, of packets read or not."""
        return self._connection.bytes_received

    async def send(self, packet: Packet) -> None:
        """Send one packet."""
        if len(packet.body) >= LARGE_BYTES:
            wire = await run_aside(lambda: self._connection.send(packet))
        else:
            wire = self._connection.send(packet)
        try:
            await self.stream.write(wire)
        except OSError as error:
            raise classify(error, Stage.FRAMEWORK, self._peer) from error

    async def receive(self) -> Packet | None:
        """The next packet, or None when the peer has closed between packets."""
        try:
            while (packet := await self._next_packet()) is None:
                data = await self.stream.read()
                if not data:
                    self._connection.receive_eof()
                    return None
                if len(self._first) < FIRST_BYTES:
                    self._first += data[: FIRST_BYTES - len(self._first)]
                self._connection.receive_data(data)
        except PeerWireError as error:
            raise not_framework(error, self._first, self._connection.packets_received, self._peer) from error
        except OSError as error:
            raise classify(error, Stage.FRAMEWORK, self._peer) from error
        return packet

    async def _next_packet(self) -> Packet | None:
        if self._connection.next_frame_bytes >= LARGE_BYTES:
            packet: Packet | None = await run_aside(self._connection.next_packet)
            return packet
        return self._connection.next_packet()

    def ended_while_idle(self) -> Failure | None:
        """Why this connection can carry no further request, seen without waiting; None when it can.

        It has ended, or bytes have come that nobody asked for: the next answer could not be told from them.
        """
        waiting = self._connection.unread_bytes
        try:
            came = self.stream.poll() if not waiting else None
        except OSError as error:
            return classify(error, Stage.FRAMEWORK, self._peer).failure
        return idle_failure(came, waiting, self._peer)

    async def half_close(self) -> None:
        """Say our last word; replies still arrive."""
        await self.stream.half_close()

    def reset(self) -> None:
        """End at once with RST, as befits a connection that is given up with an answer outstanding."""
        self.stream.reset()

    async def aclose(self) -> None:
        """Close the connection."""
        await self.stream.aclose()
