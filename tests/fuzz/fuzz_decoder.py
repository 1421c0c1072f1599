"""Fuzz everything that reads packets: `python tests/fuzz/fuzz_decoder.py -max_total_time=20`.

What must hold for any input: only errors of the wire come out, no more is held than the limits allow, how
the stream is cut changes nothing, and what opens is what was sealed. The first byte of an input picks a
target below. Most of them work inside the seal, which no fuzzer can forge: it is put on with the right key.
"""

import contextlib
import gzip
import sys
import zlib
from itertools import pairwise
from pathlib import Path

import atheris  # type: ignore[import-untyped]

sys.path.insert(0, str(Path(__file__).parents[2]))  # the sources beside these tests, installed or not

from tests.fuzz.fuzzing import fuzz

with atheris.instrument_imports(include=["protocol"]):
    from protocol import (
        BodyMalformed,
        Direction,
        FrameDecoder,
        Key,
        Operation,
        Packet,
        PacketConnection,
        PeerWireError,
    )
    from protocol.packet import (
        document_reply,
        read_close,
        read_document,
        read_error,
        read_hold,
        read_nonce,
        read_sink_reply,
        read_source,
    )
    from protocol.sealing import OVERHEAD_BYTES, SEAL_NONCE_BYTES

FRAME_LIMIT_BYTES = 4_096
INFLATED_LIMIT_BYTES = 16_384
KEY = Key.public()
CLIENT_FIRST = bytes(9)  # the associated data behind the length: direction client, number 0


def seal_packed(packed: bytes) -> bytes:
    """The first frame of a client around `packed`, whatever that is."""
    length = (len(packed) + OVERHEAD_BYTES).to_bytes(4)
    nonce = bytes(SEAL_NONCE_BYTES)
    return length + nonce + KEY.cipher.encrypt(nonce, packed, length + CLIENT_FIRST)


def pieces(wire: bytes, cuts: bytes) -> list[bytes]:
    """Cut `wire` at places that `cuts` tell."""
    places = {cut * (len(wire) + 1) // 256 for cut in cuts} | {0, len(wire)}
    return [wire[start:end] for start, end in pairwise(sorted(places))]


def frames_in(wire: bytes, cuts: bytes) -> tuple[list[bytes], str]:
    """Read `wire` as frames, to its end; return them and the error's name."""
    decoder = FrameDecoder(FRAME_LIMIT_BYTES)
    frames: list[bytes] = []
    try:
        for piece in pieces(wire, cuts):
            decoder.receive_data(piece)
            while (frame := decoder.next_frame()) is not None:
                assert len(frame) <= FRAME_LIMIT_BYTES
                frames.append(frame)
            assert decoder.unread_bytes < 4 + FRAME_LIMIT_BYTES
        decoder.receive_eof()
    except PeerWireError as error:
        assert decoder.unread_bytes < 4 + FRAME_LIMIT_BYTES
        return frames, type(error).__name__
    return frames, ""


def packets_in(wire: bytes, cuts: bytes) -> tuple[list[bytes], str]:
    """Read `wire` as packets of a client, to its end; return their bodies and the error's name."""
    connection = PacketConnection(Direction.SERVER, KEY, FRAME_LIMIT_BYTES, INFLATED_LIMIT_BYTES)
    bodies: list[bytes] = []
    try:
        for piece in pieces(wire, cuts):
            connection.receive_data(piece)
            while (packet := connection.next_packet()) is not None:
                assert len(packet.body) <= INFLATED_LIMIT_BYTES
                bodies.append(packet.body)
            assert connection.unread_bytes < 4 + FRAME_LIMIT_BYTES
        connection.receive_eof()
    except PeerWireError as error:
        check_error_stays(connection, error)
        return bodies, type(error).__name__
    return bodies, ""


def check_error_stays(connection: PacketConnection, expected: PeerWireError) -> None:
    """The next read raises the very same error."""
    try:
        connection.next_packet()
    except PeerWireError as error:
        if error is expected:
            return
    raise AssertionError("an error was forgotten")


def target_stream(cuts: bytes, data: bytes) -> None:
    """Any bytes, as they come from the network."""
    assert frames_in(data, b"") == frames_in(data, cuts)
    assert packets_in(data, b"") == packets_in(data, cuts)


def target_damage(cuts: bytes, data: bytes) -> None:
    """Good packets, then one byte changed: those before it arrive, nothing else does."""
    where, mask = cuts[0], cuts[1]
    client = PacketConnection(Direction.CLIENT, KEY)
    sent = [piece[: FRAME_LIMIT_BYTES // 2] for piece in data.split(b"\n")][:8]
    wire = bytearray().join(client.send(Packet(body)) for body in sent)
    wire[where * len(wire) // 256] ^= mask
    bodies, error = packets_in(bytes(wire), cuts)
    assert sent[: len(bodies)] == bodies
    assert bool(mask) == bool(error)


def target_packed(cuts: bytes, data: bytes) -> None:
    """Any bytes where gzip should be, inside a good seal."""
    check_packed(data[: FRAME_LIMIT_BYTES - OVERHEAD_BYTES], cuts)


def target_deflated(cuts: bytes, data: bytes) -> None:
    """Any deflate stream, inside a good gzip member: a fuzzer finds no checksum by itself."""
    inflater = zlib.decompressobj(-15)
    text = b""
    with contextlib.suppress(zlib.error):
        text = inflater.decompress(data[: FRAME_LIMIT_BYTES // 2], INFLATED_LIMIT_BYTES + 1)
    used = data[: len(data) - len(inflater.unused_data)][: FRAME_LIMIT_BYTES // 2]
    head, tail = bytes.fromhex("1f8b08000000000002ff"), zlib.crc32(text).to_bytes(4, "little")
    check_packed(head + used + tail + len(text).to_bytes(4, "little"), cuts)


def check_packed(packed: bytes, cuts: bytes) -> None:
    """Seal, read, and compare with what Python's own gzip reader says of it."""
    wire = seal_packed(packed)
    bodies, error = packets_in(wire, cuts)
    assert (bodies, error) == packets_in(wire, b"")
    assert error in {"", "BodyMalformed", "InflateTooLarge"}
    if not error:
        assert [gzip.decompress(packed)] == bodies


def target_repeated(cuts: bytes, data: bytes) -> None:
    """Text that packs well: exactly the limits decide whether it is read."""
    body = data[:1_024] * cuts[0]
    wire = PacketConnection(Direction.CLIENT, KEY).send(Packet(body))
    expected: tuple[list[bytes], str] = [body], ""
    if len(body) > INFLATED_LIMIT_BYTES:
        expected = [], "InflateTooLarge"
    if len(wire) - 4 > FRAME_LIMIT_BYTES:
        expected = [], "FrameTooLarge"
    assert expected == packets_in(wire, cuts)


def target_operation(cuts: bytes, data: bytes) -> None:
    """Any packet, and all that an emulated server or its client would read from it."""
    packet = Packet(data)
    repr(packet)
    with contextlib.suppress(BodyMalformed):
        assert packet.operation == data[0]
    argument = packet.argument
    for length_bytes, read in READERS:
        with contextlib.suppress(BodyMalformed):
            read(argument)
        with contextlib.suppress(BodyMalformed):
            read(argument[:length_bytes].ljust(length_bytes, b"\0"))  # a fuzzer seldom finds the length
    for text in (argument, b'{"":' + argument + b"}"):
        with contextlib.suppress(BodyMalformed):
            document = read_document(text)
            assert document == read_document(document_reply(Operation.JOURNAL, document).argument)


def check_source(argument: bytes) -> None:
    """What SOURCE asks is what was asked."""
    assert Packet.source(*read_source(argument)).argument == argument


def check_hold(argument: bytes) -> None:
    """What HOLD asks is what was asked."""
    assert Packet.hold(read_hold(argument)).argument == argument


def check_error(argument: bytes) -> None:
    """What is told of an error can be printed."""
    assert read_error(argument).isprintable()


READERS = (
    (12, check_source),
    (4, check_hold),
    (16, read_nonce),
    (1, read_close),
    (40, read_sink_reply),
    (20, check_error),
)
TARGETS = (target_stream, target_damage, target_packed, target_deflated, target_repeated, target_operation)


def test_one_input(data: bytes) -> None:
    """Byte 0 picks the target, three more say where to cut, the rest is its input."""
    if len(data) >= 4:
        TARGETS[data[0] % len(TARGETS)](data[1:4], data[4:])


if __name__ == "__main__":
    fuzz(test_one_input)
