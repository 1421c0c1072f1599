"""The wire as pure bytes: frames, seals, packets. No socket, clock, log or environment (docs/wire.md)."""

from protocol.connection import PacketConnection
from protocol.errors import (
    AuthMalformed,
    BodyMalformed,
    FrameTooLarge,
    HeadMalformed,
    InflateTooLarge,
    LocalWireError,
    PeerWireError,
    SealBroken,
    StreamTruncated,
    WireError,
)
from protocol.framing import FrameDecoder, encode_frame
from protocol.packet import CloseHow, Operation, Packet
from protocol.sealing import Direction, Key, seal, unseal

__all__ = [
    "AuthMalformed",
    "BodyMalformed",
    "CloseHow",
    "Direction",
    "FrameDecoder",
    "FrameTooLarge",
    "HeadMalformed",
    "InflateTooLarge",
    "Key",
    "LocalWireError",
    "Operation",
    "Packet",
    "PacketConnection",
    "PeerWireError",
    "SealBroken",
    "StreamTruncated",
    "WireError",
    "encode_frame",
    "seal",
    "unseal",
]
