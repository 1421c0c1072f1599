"""One connection's packets: any split, damage, order and end; one error ends it for good."""

import tracemalloc
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol import (
    BodyMalformed,
    Direction,
    FrameTooLarge,
    InflateTooLarge,
    Key,
    LocalWireError,
    Packet,
    PacketConnection,
    PeerWireError,
    SealBroken,
    StreamTruncated,
)
from protocol.framing import MAX_FRAME_BYTES
from protocol.sealing import MAX_INFLATED_BYTES

quick = settings(deadline=None, max_examples=60)
bodies = st.lists(st.binary(max_size=100), min_size=1, max_size=6)


def frames_of(packets: list[Packet], direction: Direction = Direction.CLIENT) -> list[bytes]:
    sender = PacketConnection(direction)
    return [sender.send(packet) for packet in packets]


def drain(connection: PacketConnection) -> tuple[list[Packet], str | None]:
    """Return the packets that have come, and the name of the error behind them."""
    packets = []
    try:
        while (packet := connection.next_packet()) is not None:
            packets.append(packet)
    except PeerWireError as error:
        return packets, type(error).__name__
    return packets, None


def read(connection: PacketConnection, wire: bytes) -> tuple[list[Packet], str | None]:
    """Give everything and then the end; return as `drain` does."""
    connection.receive_data(wire)
    packets, error = drain(connection)
    if error is None:
        error = end(connection)
    return packets, error


def end(connection: PacketConnection) -> str | None:
    try:
        connection.receive_eof()
    except PeerWireError as error:
        return type(error).__name__
    return None


@quick
@given(
    bodies=bodies,
    cuts=st.lists(st.integers(0, 1_500)),
    lazy=st.booleans(),
    direction=st.sampled_from(Direction),
)
def test_any_split_gives_the_same_packets(
    bodies: list[bytes], cuts: list[int], lazy: bool, direction: Direction
) -> None:
    """How the stream is cut, and when packets are asked for, changes nothing; everything is counted."""
    sent = [Packet(body) for body in bodies]
    wire = b"".join(frames_of(sent, direction))
    receiver = PacketConnection(direction.other)
    received = []
    for start, end in pairwise(sorted({cut % (len(wire) + 1) for cut in cuts} | {0, len(wire)})):
        receiver.receive_data(wire[start:end])
        while not lazy and (packet := receiver.next_packet()) is not None:
            received.append(packet)
    while (packet := receiver.next_packet()) is not None:
        received.append(packet)
    receiver.receive_eof()
    assert sent == received
    assert (len(sent), len(wire), 0) == (
        receiver.packets_received,
        receiver.bytes_received,
        receiver.unread_bytes,
    )


def test_both_directions_count_for_themselves() -> None:
    """Two sides talk in turn; each direction has its own numbers."""
    client, server = PacketConnection(Direction.CLIENT), PacketConnection(Direction.SERVER)
    for turn in range(5):
        for _ in range(turn):
            server.receive_data(client.send(Packet.ping()))
            assert server.next_packet() == Packet.ping()
        client.receive_data(server.send(Packet.echo(b"answer")))
        assert client.next_packet() == Packet.echo(b"answer")
    assert (10, 5) == (client.packets_sent, client.packets_received)
    assert (5, 10) == (server.packets_sent, server.packets_received)


PING, SECOND = frames_of([Packet.ping(), Packet.ping()])


@pytest.mark.parametrize("place", range(len(PING)))
def test_any_flipped_bit_of_a_ping_is_told(place: int) -> None:
    """No flipped bit gives a packet, and its error is the one that docs/wire.md, section 9, names."""
    for bit in range(8):
        wire = PING[:place] + bytes((PING[place] ^ 1 << bit,)) + PING[place + 1 :]
        announced = int.from_bytes(wire[:4])
        if announced > MAX_FRAME_BYTES:
            expected = "FrameTooLarge"
        elif announced > len(PING) - 4:
            expected = "StreamTruncated"
        else:
            expected = "SealBroken"
        assert ([], expected) == read(PacketConnection(Direction.SERVER), wire)


@quick
@given(bodies=bodies, place=st.integers(0))
def test_a_flipped_bit_costs_what_is_behind_it_only(bodies: list[bytes], place: int) -> None:
    """Packets before the flipped bit arrive as sent; from there on nothing does."""
    sent = [Packet(body) for body in bodies]
    frames = frames_of(sent)
    wire = b"".join(frames)
    bit = place % (8 * len(wire))
    whole = 0
    while sum(map(len, frames[: whole + 1])) <= bit // 8:
        whole += 1
    flipped = (int.from_bytes(wire) ^ 1 << 8 * len(wire) - 1 - bit).to_bytes(len(wire))
    packets, error = read(PacketConnection(Direction.SERVER), flipped)
    assert sent[:whole] == packets
    assert error in {"FrameTooLarge", "StreamTruncated", "SealBroken"}


@quick
@given(count=st.integers(1, 5), order=st.lists(st.integers(0, 4), min_size=1, max_size=7))
def test_lost_repeated_and_exchanged_packets_do_not_open(count: int, order: list[int]) -> None:
    """Whatever a path makes of the packets' order, those at their place arrive, up to the first other."""
    frames = frames_of([Packet.echo(b"the same") for _ in range(count)])
    delivered = [index % count for index in order]
    right = 0
    while right < len(delivered) and delivered[right] == right:
        right += 1
    wire = b"".join(frames[index] for index in delivered)
    packets, error = read(PacketConnection(Direction.SERVER), wire)
    assert right == len(packets)
    assert (None if right == len(delivered) else "SealBroken") == error


@pytest.mark.parametrize("direction", Direction)
def test_a_reflected_packet_does_not_open(direction: Direction) -> None:
    """A path that sends our own bytes back is no peer."""
    connection = PacketConnection(direction)
    wire = connection.send(Packet.ping())
    assert ([], "SealBroken") == read(connection, wire)


def test_another_key_does_not_open() -> None:
    """Both sides must have the same key, and a connection has the public one unless told otherwise."""
    other = PacketConnection(Direction.SERVER, Key(bytes(32)))
    assert ([], "SealBroken") == read(other, PING)
    assert ([Packet.ping()], None) == read(PacketConnection(Direction.SERVER, Key.public()), PING)


@pytest.mark.parametrize("cut", range(len(PING + SECOND) + 1))
@pytest.mark.parametrize("drained", [True, False])
def test_an_end_inside_a_packet_is_told_at_every_cut(cut: int, drained: bool) -> None:
    """The end is clean between packets only; whole packets before it are given in any case."""
    connection = PacketConnection(Direction.SERVER)
    connection.receive_data((PING + SECOND)[:cut])
    packets, error = drain(connection) if drained else ([], None)
    assert error is None
    error = end(connection)
    if error is None:
        behind, error = drain(connection)
        packets += behind
    assert cut // len(PING) == len(packets)
    assert ("StreamTruncated" if cut % len(PING) else None) == error


@pytest.mark.parametrize(
    ("wire", "limits", "expected"),
    [
        (PING[:-1] + bytes((PING[-1] ^ 1,)), {}, SealBroken),
        (b"HTTP", {}, FrameTooLarge),
        (PING, {"frame_limit_bytes": 39}, FrameTooLarge),
        (frames_of([Packet(bytes(1_000))])[0], {"inflated_limit_bytes": 999}, InflateTooLarge),
    ],
    ids=["a flipped bit", "text", "over the frame limit", "over the inflation limit"],  # nonces are random
)
def test_an_error_stays(wire: bytes, limits: dict[str, Any], expected: type[PeerWireError]) -> None:
    """After one error every later call raises that very error, and a good packet behind it is not read."""
    connection = PacketConnection(Direction.SERVER, **limits)
    connection.receive_data(wire + SECOND)
    with pytest.raises(expected) as first:
        connection.next_packet()
    later: Callable[[], object]
    for later in (connection.next_packet, connection.receive_eof, partial(connection.receive_data, PING)):
        with pytest.raises(expected) as again:
            later()
        assert first.value is again.value
        assert len(again.traceback) <= 4, "the traceback is made longer each time"
    assert (0, len(wire + SECOND)) == (connection.packets_received, connection.bytes_received)


def test_a_truncated_stream_stays_truncated() -> None:
    """The error of the end is kept like any other."""
    connection = PacketConnection(Direction.SERVER)
    connection.receive_data(PING[:-1])
    with pytest.raises(StreamTruncated, match="after 39 of the 40 bytes") as first:
        connection.receive_eof()
    with pytest.raises(StreamTruncated) as again:
        connection.receive_data(PING[-1:])
    assert first.value is again.value


def test_a_body_that_is_no_gzip_stays_malformed() -> None:
    """A peer with the key that packs otherwise is told so."""
    key = Key.public()
    sealed = key.cipher.encrypt(bytes(12), b"plain", (25).to_bytes(4) + bytes(9))
    connection = PacketConnection(Direction.SERVER)
    connection.receive_data((25).to_bytes(4) + bytes(12) + sealed)
    for _ in range(2):
        with pytest.raises(BodyMalformed):
            connection.next_packet()


def test_nothing_comes_after_the_end() -> None:
    """Data after the end is the caller's mistake and breaks nothing that came before."""
    connection = PacketConnection(Direction.SERVER)
    connection.receive_data(PING)
    connection.receive_eof()
    with pytest.raises(LocalWireError):
        connection.receive_data(SECOND)
    assert ([Packet.ping()], None) == drain(connection)
    assert len(PING) == connection.bytes_received


def test_limits_themselves_are_allowed() -> None:
    """A frame and a packet of exactly the limit pass."""
    wire = frames_of([Packet(bytes(1_000))])[0]
    limits: dict[str, Any] = {"frame_limit_bytes": len(wire) - 4, "inflated_limit_bytes": 1_000}
    assert ([Packet(bytes(1_000))], None) == read(PacketConnection(Direction.SERVER, **limits), wire)


def test_a_packet_that_cannot_be_sent_takes_no_number() -> None:
    """After a refused send the next packet still opens at the peer."""
    client, server = PacketConnection(Direction.CLIENT), PacketConnection(Direction.SERVER)
    with pytest.raises(LocalWireError):
        client.send(Packet(bytes(MAX_INFLATED_BYTES + 1)))
    assert client.packets_sent == 0
    assert ([Packet.ping()], None) == read(server, client.send(Packet.ping()))


@pytest.mark.parametrize("length", [2**24, 2**32 - 1])
def test_a_refused_length_costs_no_memory(length: int) -> None:
    """A length of 16 MiB to 4 GiB is refused on its four bytes."""
    tracemalloc.start()
    try:
        connection = PacketConnection(Direction.SERVER)
        assert ([], "FrameTooLarge") == read(connection, length.to_bytes(4))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 65_536


def test_a_bomb_costs_no_more_than_its_limit() -> None:
    """A packet of 32 MiB, zeros, is refused by a connection that takes 1 MiB without inflating the rest."""
    wire = frames_of([Packet(bytes(32 * 2**20))])[0]
    tracemalloc.start()
    try:
        connection = PacketConnection(Direction.SERVER, inflated_limit_bytes=2**20)
        assert ([], "InflateTooLarge") == read(connection, wire)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert 2**20 <= peak <= 4 * 2**20


def test_a_ping_is_answered_at_once() -> None:
    """The answers are what `next_packet` and `send` would have made of it, and count as theirs."""
    client, server = PacketConnection(Direction.CLIENT), PacketConnection(Direction.SERVER)
    for wire in frames_of([Packet.ping()] * 3):
        answer = server.answer_ping(wire)
        assert answer is not None
        client.receive_data(answer)
    assert [Packet.ping()] * 3 == drain(client)[0]
    server.receive_data(frames_of([Packet.ping()] * 4)[3])
    assert ([Packet.ping()], None) == drain(server)
    assert (4, 3, 4 * 44) == (server.packets_received, server.packets_sent, server.bytes_received)


@pytest.mark.parametrize("place", range(len(PING)))
def test_only_a_whole_ping_is_answered_at_once(place: int) -> None:
    """A flipped bit, a part, or a packet that is none: nothing has changed, and `receive_data` takes it."""
    for bit in range(8):
        wire = PING[:place] + bytes((PING[place] ^ 1 << bit,)) + PING[place + 1 :]
        assert_not_answered(PacketConnection(Direction.SERVER), wire)
    assert_not_answered(PacketConnection(Direction.SERVER), PING[:place])
    assert_not_answered(PacketConnection(Direction.SERVER), PING + SECOND[: place + 1])


def test_no_ping_is_answered_out_of_its_turn() -> None:
    """Behind part of another, repeated, reflected, over a limit, after the end, behind an error."""
    server = PacketConnection(Direction.SERVER)
    assert_not_answered(server, SECOND)
    server.receive_data(PING[:10])
    assert_not_answered(server, PING)
    server.receive_data(PING[10:])
    assert [Packet.ping()] == drain(server)[0]
    assert_not_answered(server, PING)
    assert server.answer_ping(SECOND) is not None
    assert_not_answered(PacketConnection(Direction.CLIENT), PING)
    assert_not_answered(PacketConnection(Direction.SERVER, frame_limit_bytes=39), PING)
    assert_not_answered(PacketConnection(Direction.SERVER, Key(bytes(32))), PING)
    ended = PacketConnection(Direction.SERVER)
    ended.receive_eof()
    assert_not_answered(ended, PING)
    broken = PacketConnection(Direction.SERVER)
    assert "SealBroken" == read(broken, SECOND)[1]
    assert_not_answered(broken, PING)


def assert_not_answered(connection: PacketConnection, wire: bytes) -> None:
    before = (connection.packets_received, connection.packets_sent, connection.bytes_received)
    assert connection.answer_ping(wire) is None
    assert before == (connection.packets_received, connection.packets_sent, connection.bytes_received)
