"""Bytes <-> packets for one TCP connection (docs/wire.md, section 6). It never sends: it gives bytes back."""

from typing import Final

from protocol.errors import InflateTooLarge, PeerWireError
from protocol.framing import MAX_FRAME_BYTES, FrameDecoder
from protocol.packet import Packet
from protocol.sealing import (
    MAX_INFLATED_BYTES,
    PING_BYTES,
    Direction,
    Key,
    is_ping,
    opened,
    seal,
    seal_ping,
    unpacked,
)

_PING: Final = Packet.ping()  # a value, so one serves every ping received


class PacketLarge(Exception):
    """The next packet is larger than was asked for. Nothing is lost: it is still the next one."""


class PacketConnection:
    """One side of one connection: numbers the packets of each direction, seals and opens them in that order.

    A new TCP connection needs a new PacketConnection. Call `next_packet` until it gives None after each
    `receive_data`, and one method at a time: it has no lock.

    Args:
        direction: which side we are, so how our packets are marked.
        key: the same on both sides.
        frame_limit_bytes: largest frame accepted, 1 to MAX_FRAME_BYTES. What we send has only that bound.
        inflated_limit_bytes: largest packet accepted.
    Raises: LocalWireError for a frame limit out of range.

    Attributes:
        packets_sent, packets_received: whole packets so far; each is also the number of the next one.
        bytes_received: all bytes given to `receive_data`.
    """

    __slots__ = (
        "_direction",
        "_error",
        "_frames",
        "_inflated_limit_bytes",
        "_key",
        "_opened",
        "_peer_direction",
        "bytes_received",
        "packets_received",
        "packets_sent",
    )

    def __init__(
        self,
        direction: Direction,
        key: Key = Key.public(),  # noqa: B008 - a frozen value, made once
        frame_limit_bytes: int = MAX_FRAME_BYTES,
        inflated_limit_bytes: int = MAX_INFLATED_BYTES,
    ) -> None:
        self._direction = direction
        self._peer_direction = direction.other
        self._key = key
        self._frames = FrameDecoder(frame_limit_bytes)
        self._inflated_limit_bytes = inflated_limit_bytes
        self._error: PeerWireError | None = None
        # The next packet, out of its frame, still packed
        self._opened: bytes | None = None
        self.packets_sent = 0
        self.packets_received = 0
        self.bytes_received = 0

    @property
    def unread_bytes(self) -> int:
        """How many bytes have come that no packet has been read from yet."""
        return self._frames.unread_bytes + len(self._opened or b"")

    @property
    def next_frame_bytes(self) -> int:
        """How large the frame is that `next_packet` will open at once, 0 when it will open none.

        What it costs to open grows with it: a caller that must not be held up has another thread do that.
        """
        return self._frames.next_frame_bytes

    def send(self, packet: Packet) -> bytes:
        """Return the bytes that carry `packet`; send them whole, once, and in the order of these calls.

        Raises: LocalWireError when the packet is too large; it then takes no number.
        """
        frame = seal(self._key, packet.body, direction=self._direction, number=self.packets_sent)
        self.packets_sent += 1
        return frame

    def answer_ping(self, data: bytes) -> bytes | None:
        """Return the bytes that answer `data`, when that is one whole ping and nothing waits before it.

        Most of what a server gets is that. None: nothing has changed; `receive_data` takes the same bytes.
        """
        is_next = self._error is None and self._opened is None and self._frames.is_whole(data)
        is_one = len(data) == PING_BYTES and is_next
        if not is_one or not is_ping(self._key, data, self._peer_direction, self.packets_received):
            return None
        self.packets_received += 1
        self.bytes_received += PING_BYTES
        answer = seal_ping(self._key, self._direction, self.packets_sent)
        self.packets_sent += 1
        return answer

    def receive_data(self, data: bytes | bytearray) -> None:
        """Take the next bytes of the stream, split anywhere.

        Raises: the PeerWireError that came before, if any; LocalWireError after `receive_eof`.
        """
        self._check()
        self._frames.receive_data(data)
        self.bytes_received += len(data)

    def next_packet(self, at_most_bytes: int | None = None) -> Packet | None:
        """Return the next packet, or None until more bytes arrive (or the stream has ended cleanly).

        Args: at_most_bytes: of plaintext; None is the limit for all. A frame of 16 KiB can hold 16 MiB.
        Raises:
            PacketLarge when it is larger; the next call may allow more.
            FrameTooLarge, SealBroken, InflateTooLarge, BodyMalformed; StreamTruncated after `receive_eof`.
            Every later call raises the same error: nothing behind it can be read.
        """
        self._check()
        limit_bytes = self._inflated_limit_bytes
        if at_most_bytes is not None:
            limit_bytes = min(limit_bytes, at_most_bytes)
        try:
            packed = self._opened
            if packed is None:
                frame = self._frames.next_frame()
                if frame is None:
                    return None
                number = self.packets_received
                packed = opened(self._key, frame, direction=self._peer_direction, number=number)
            try:
                body = unpacked(packed, limit_bytes)
            except InflateTooLarge:
                if limit_bytes == self._inflated_limit_bytes:
                    raise
                self._opened = packed
                raise PacketLarge from None
        except PeerWireError as error:
            self._error = error
            raise
        self._opened = None
        self.packets_received += 1
        return Packet(body) if body else _PING

    def receive_eof(self) -> None:
        """Take the end of the stream. Whole packets not read yet are still given by `next_packet`.

        Raises: StreamTruncated, FrameTooLarge as FrameDecoder does; the error that came before, if any.
        """
        self._check()
        try:
            self._frames.receive_eof()
        except PeerWireError as error:
            self._error = error
            raise

    def _check(self) -> None:
        if self._error is not None:
            raise self._error.with_traceback(None)  # else each raise would lengthen the same traceback
