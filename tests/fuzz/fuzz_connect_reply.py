"""Fuzz what a proxy answers: `python tests/fuzz/fuzz_connect_reply.py -max_total_time=20`.

What must hold for any input: only errors of the wire come out, how the stream is cut changes nothing, the
tunnel's bytes are kept to the last one, and no more is held than the limits allow. Byte 0 of an input says
whether there is a login, whether the connection ends, and whether some bytes stand for whole lines, which no
fuzzer would find by itself; byte 1 how much of the rest answers the first request (what is left answers the
second); two more say where to cut.
"""

import sys
from collections.abc import Callable
from pathlib import Path

import atheris  # type: ignore[import-untyped]

sys.path.insert(0, str(Path(__file__).parents[2]))  # the sources beside these tests, installed or not

from tests.fuzz.fuzzing import fuzz

with atheris.instrument_imports(include=["protocol", "h11"]):
    from protocol.connect import MAX_BODY_BYTES, MAX_HEAD_BYTES, MAX_INTERIM, ConnectHandshake
    from protocol.errors import WireError
    from protocol.resemblance import excerpt, resembles
    from protocol.schemes import Basic
    from tests.corpus import OTHER_LINES, STATUS_LINES
    from tests.outcome import Outcome, cut, outcome_of

HELD_LIMIT_BYTES = MAX_HEAD_BYTES + MAX_BODY_BYTES


FIRST_LINE_BYTE = 0xC0
LINES = [line + b"\r\n" for line in STATUS_LINES + OTHER_LINES]


def expand(data: bytes) -> bytes:
    """Put a line of the corpus in the place of each byte from FIRST_LINE_BYTE on, while there are lines."""
    lines = dict(enumerate(LINES, FIRST_LINE_BYTE))
    return b"".join(lines.get(byte, bytes([byte])) for byte in data)


class Watched(ConnectHandshake):
    """Looks after every read at what is held."""

    def receive_data(self, data: bytes) -> None:
        """Take bytes as the real one does, then count."""
        super().receive_data(data)
        held = len(self._heads.unread) + len(self._body)
        assert held <= HELD_LIMIT_BYTES, f"{held} bytes are held"
        assert self.interim_replies <= MAX_INTERIM


def check_splits(flags: int, share: int, places: bytes, data: bytes) -> None:
    """Compare one run with the splits that the input asks for, and with single bytes."""
    edge = share * (len(data) + 1) // 256
    first, second = data[:edge], data[edge:]

    def outcome(cuts: list[int]) -> Outcome:
        return outcome_of(
            cut(first, cuts),
            is_ended=bool(flags & 1),
            schemes=[Basic("user", "pass")] if flags & 2 else [],
            answers=[cut(second, cuts)] if flags & 4 else [],
            make=Watched,
        )

    whole = outcome([])
    assert whole == outcome(list(places))
    assert whole == outcome(list(range(len(data))))
    check_leftover(whole, first, second)


def check_leftover(outcome: Outcome, first: bytes, second: bytes) -> None:
    """Every byte behind a 2xx head is the tunnel's."""
    reply = outcome.reply
    if reply is None or not reply.is_success:
        assert outcome.leftover == b""
    else:
        wire = second if outcome.credentials_sent else first
        assert outcome.error is None
        assert wire.endswith(reply.raw_head + outcome.leftover)
        assert len(wire) == len(reply.raw_head + outcome.leftover) or outcome.interim_replies


def check_words(data: bytes) -> None:
    """What is told to people is short and printable; what would be sent is one line."""
    resembles(data)
    assert excerpt(data).isprintable()
    text = data.decode("latin-1")
    words = error_words(lambda: ConnectHandshake(text))
    assert words.isprintable()
    assert words or text.isprintable()
    words = error_words(lambda: ConnectHandshake("dest.example:5000").receive_data(data))
    assert words.isprintable()
    assert len(words) < 1_000


def error_words(call: Callable[[], object]) -> str:
    """What the error of `call` says, nothing when there is none."""
    try:
        call()
    except WireError as error:
        return str(error)
    return ""


def test_one_input(data: bytes) -> None:
    """Four bytes of orders, then what the proxy says."""
    if len(data) >= 4:
        wire = expand(data[4:]) if data[0] & 8 else data[4:]
        check_splits(data[0], data[1], data[2:4], wire)
        check_words(wire)


if __name__ == "__main__":
    fuzz(test_one_input)
