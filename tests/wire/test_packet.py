"""Packets: every operation's bytes there and back, every limit, every wrong form."""

import contextlib
import hashlib
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol import BodyMalformed, CloseHow, LocalWireError, Operation, Packet
from protocol.packet import (
    MAX_DOCUMENT_BYTES,
    MAX_DOCUMENT_DEPTH,
    MAX_ERROR_BYTES,
    MAX_HOLD_MILLISECONDS,
    MAX_SOURCE_BYTES,
    NONCE_BYTES,
    document_reply,
    read_close,
    read_document,
    read_error,
    read_hold,
    read_nonce,
    read_sink_reply,
    read_source,
    sink_reply,
    source_bytes,
    source_reply,
)

NONCE = bytes(range(NONCE_BYTES))
quick = settings(deadline=None, max_examples=60)


def test_the_empty_packet_is_the_ping() -> None:
    """A ping has no operation; to ask for it is an error of the wire, not an IndexError."""
    assert Packet.ping() == Packet(b"") == Packet()
    assert Packet.ping().is_ping
    assert Packet.ping().argument == b""
    with pytest.raises(BodyMalformed, match="ping"):
        _ = Packet.ping().operation


@pytest.mark.parametrize(
    ("packet", "operation", "argument"),
    [
        (Packet.echo(b"hi"), Operation.ECHO, "6869"),
        (Packet.source(4, 7), Operation.SOURCE, "000000040000000000000007"),
        (Packet.source(MAX_SOURCE_BYTES, 2**64 - 1), Operation.SOURCE, "00f42400ffffffffffffffff"),
        (Packet.sink(b"hi"), Operation.SINK, "6869"),
        (Packet.observed(), Operation.OBSERVED, ""),
        (Packet.hold(1_500), Operation.HOLD, "000005dc"),
        (Packet.identify(NONCE), Operation.IDENTIFY, NONCE.hex()),
        (Packet.journal(NONCE), Operation.JOURNAL, NONCE.hex()),
        (Packet.close(CloseHow.FIN), Operation.CLOSE, "00"),
        (Packet.close(CloseHow.RST), Operation.CLOSE, "01"),
        (Packet.close(CloseHow.HALF), Operation.CLOSE, "02"),
        (Packet.error("no"), Operation.ERROR, "6e6f"),
    ],
)
def test_operations_have_their_bytes(packet: Packet, operation: Operation, argument: str) -> None:
    """Every operation is one byte and its argument, as docs/wire.md says."""
    assert not packet.is_ping
    assert operation == packet.operation
    assert argument == packet.argument.hex()
    assert bytes((operation,)) + bytes.fromhex(argument) == packet.body


def test_operations_not_known_are_told() -> None:
    """A first byte without meaning is named in the error; nothing is guessed."""
    for first in (0, *range(10, 256)):
        with pytest.raises(BodyMalformed, match=f"0x{first:02x}"):
            _ = Packet(bytes((first,))).operation


@pytest.mark.parametrize(
    "ask",
    [
        lambda: Packet.source(-1),
        lambda: Packet.source(MAX_SOURCE_BYTES + 1),
        lambda: Packet.source(1, -1),
        lambda: Packet.source(1, 2**64),
        lambda: source_bytes(MAX_SOURCE_BYTES + 1, 0),
        lambda: source_reply(1, 2**64),
        lambda: Packet.hold(-1),
        lambda: Packet.hold(MAX_HOLD_MILLISECONDS + 1),
        lambda: Packet.identify(NONCE[:-1]),
        lambda: Packet.journal(NONCE + b"\0"),
        lambda: Packet.close(3),  # type: ignore[arg-type]
        lambda: Packet.reply(10, b""),  # type: ignore[arg-type]
        lambda: document_reply(Operation.JOURNAL, {"nan": float("nan")}),
        lambda: document_reply(Operation.JOURNAL, {"set": {1}}),
        lambda: document_reply(Operation.JOURNAL, {"surrogate": "\ud800"}),
        lambda: document_reply(Operation.JOURNAL, {"long": "x" * MAX_DOCUMENT_BYTES}),
        lambda: document_reply(Operation.JOURNAL, nested(MAX_DOCUMENT_DEPTH + 1)),
        lambda: document_reply(Operation.JOURNAL, nested(100_000)),
    ],
)
def test_what_the_wire_cannot_carry_is_refused_before_sending(ask: Callable[[], object]) -> None:
    """A value out of range never becomes bytes."""
    with pytest.raises(LocalWireError):
        ask()


def nested(depth: int) -> dict[str, Any]:
    document: dict[str, Any] = {}
    for _ in range(depth - 1):
        document = {"in": document}
    return document


@quick
@given(count=st.integers(0, MAX_SOURCE_BYTES), seed=st.integers(0, 2**64 - 1))
def test_source_is_read_back(count: int, seed: int) -> None:
    """Any allowed count and seed arrive as they were asked."""
    assert (count, seed) == read_source(Packet.source(count, seed).argument)


def test_source_bytes_are_known_to_both_sides() -> None:
    """They follow from the seed alone, a longer run begins with the shorter, and seeds differ."""
    assert hashlib.shake_128((7).to_bytes(8)).digest(1_000) == source_bytes(1_000, 7)
    assert source_bytes(1_000, 7).startswith(source_bytes(10, 7))
    assert source_bytes(10, 7) != source_bytes(10, 8)
    assert source_reply(10, 7) == Packet.reply(Operation.SOURCE, source_bytes(10, 7))
    assert source_bytes(0, 0) == b""


@quick
@given(milliseconds=st.integers(0, MAX_HOLD_MILLISECONDS))
def test_hold_is_read_back(milliseconds: int) -> None:
    """Any allowed wait arrives as it was asked."""
    assert milliseconds == read_hold(Packet.hold(milliseconds).argument)


@pytest.mark.parametrize("how", CloseHow)
def test_close_and_nonces_are_read_back(how: CloseHow) -> None:
    """Every way of closing, and a nonce, arrive as they were asked."""
    assert how is read_close(Packet.close(how).argument)
    assert read_nonce(Packet.identify(NONCE).argument) == NONCE


@quick
@given(data=st.binary(max_size=200))
def test_sink_answers_count_and_digest(data: bytes) -> None:
    """The answer to SINK proves what arrived."""
    assert (len(data), hashlib.sha256(data).digest()) == read_sink_reply(sink_reply(data).argument)


@pytest.mark.parametrize(
    ("read", "argument"),
    [
        (read_source, (MAX_SOURCE_BYTES + 1).to_bytes(4) + bytes(8)),
        (read_source, bytes(11)),
        (read_source, bytes(13)),
        (read_hold, (MAX_HOLD_MILLISECONDS + 1).to_bytes(4)),
        (read_hold, bytes(3)),
        (read_hold, bytes(5)),
        (read_nonce, bytes(15)),
        (read_nonce, bytes(17)),
        (read_close, b""),
        (read_close, b"\3"),
        (read_close, b"\0\0"),
        (read_sink_reply, bytes(39)),
        (read_sink_reply, bytes(41)),
        (read_document, b""),
        (read_document, b"[]"),
        (read_document, b"1"),
        (read_document, b'{"a":1} x'),
        (read_document, b"\xef\xbb\xbf{}"),
        (read_document, "{}".encode("utf-16")),
        (read_document, b'{"a":"\xff"}'),
        (read_document, b'{"a":NaN}'),
        (read_document, b'{"a":-Infinity}'),
        (read_document, b'{"a":1e999}'),
        (read_document, b'{"a":"\\ud800"}'),
        (read_document, b'{"a":' + b"1" * 5_000 + b"}"),
        (read_document, b"[" * 200_000),
        (read_document, b'{"a":' + b"[" * MAX_DOCUMENT_DEPTH + b"]" * MAX_DOCUMENT_DEPTH + b"}"),
        (read_document, b'{"a":' * 100_000 + b"1" + b"}" * 100_000),
        (read_document, b'{"a":"' + b"x" * MAX_DOCUMENT_BYTES + b'"}'),
        (read_error, b"\xff"),
        (read_error, b"\xed\xa0\x80"),
        (read_error, b"x" * (MAX_ERROR_BYTES + 1)),
    ],
    ids=lambda part: part[:16].hex() if isinstance(part, bytes) else part.__name__,
)
def test_wrong_forms_are_malformed(read: Callable[[bytes], object], argument: bytes) -> None:
    """An argument of a wrong form or over a limit is BodyMalformed, whatever a library thinks of it."""
    with pytest.raises(BodyMalformed):
        read(argument)


@quick
@given(
    read=st.sampled_from(
        [read_source, read_hold, read_nonce, read_close, read_sink_reply, read_document, read_error]
    ),
    argument=st.binary(max_size=60),
)
def test_readers_raise_nothing_else(read: Callable[[bytes], object], argument: bytes) -> None:
    """Any bytes are read or refused with an error of the wire."""
    with contextlib.suppress(BodyMalformed):
        read(argument)


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)


@quick
@given(document=st.dictionaries(texts, values, max_size=5), operation=st.sampled_from(Operation))
def test_documents_are_read_back(document: dict[str, Any], operation: Operation) -> None:
    """Any JSON object arrives as it was sent, and escapes of another writer mean the same."""
    packet = document_reply(operation, document)
    assert operation is packet.operation
    assert document == read_document(packet.argument)
    assert document == read_document(json.dumps(document).encode())


@quick
@given(message=st.text(st.characters(codec="utf-8"), max_size=30).map(lambda text: text * 40))
def test_error_texts_are_cut_between_characters_and_printable(message: str) -> None:
    """Any text can be said; what is read is its beginning, without a character that moves a cursor."""
    argument = Packet.error(message).argument
    assert len(argument) <= MAX_ERROR_BYTES
    text = read_error(argument)
    assert text.isprintable()
    kept = "".join(letter if letter.isprintable() else "\ufffd" for letter in message)
    assert kept.startswith(text)
    assert len(message.encode()) > MAX_ERROR_BYTES or text == kept


def test_documents_may_be_as_deep_as_the_limit() -> None:
    """Every level that the limit allows arrives."""
    document = nested(MAX_DOCUMENT_DEPTH)
    assert document == read_document(document_reply(Operation.OBSERVED, document).argument)


def test_error_texts_are_cleaned() -> None:
    """Escape sequences, line ends and marks that turn the writing direction do not reach a terminal."""
    read = read_error(Packet.error("a\x1b[2Jb\r\nc\x9bd\u202ee\u2028f\x7f\0").argument)
    assert read == "a\ufffd[2Jb\ufffd\ufffdc\ufffdd\ufffde\ufffdf\ufffd\ufffd"
    assert read_error(Packet.error("lone \ud800").argument) == "lone \\ud800"


@pytest.mark.parametrize(
    ("packet", "expected"),
    [
        (Packet.ping(), "Packet(ping)"),
        (Packet.echo(b"secret" * 1_000), "Packet(ECHO, 6000 bytes)"),
        (Packet(b"\x7fabc"), "Packet(0x7f, 3 bytes)"),
    ],
)
def test_repr_is_short(packet: Packet, expected: str) -> None:
    """A packet in a log shows what it is and its size, not 64 MiB of content."""
    assert expected == repr(packet)
