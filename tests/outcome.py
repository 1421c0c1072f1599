"""What a ConnectHandshake makes of some bytes, as one value: to compare splits, in tests and fuzzer."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from protocol.connect import ConnectHandshake, Reply
from protocol.errors import WireError
from protocol.scheme import Scheme

TARGET = "dest.example:5000"


@dataclass(frozen=True)
class Outcome:
    """Everything a driver can see, the words of an error left out: they quote what had come by then."""

    error: type[WireError] | None
    done: bool
    must_redial: bool
    reply: Reply | None
    leftover: bytes
    interim_replies: int
    credentials_sent: int
    scheme_name: str | None
    refused_credentials: bool
    next_request: bytes


def outcome_of(
    pieces: Sequence[bytes],
    *,
    is_ended: bool = False,
    schemes: Sequence[Scheme] = (),
    answers: Sequence[Sequence[bytes]] = (),
    make: type[ConnectHandshake] = ConnectHandshake,
) -> Outcome:
    """Feed `pieces` to a new handshake, then the end of the stream if `is_ended`.

    Args:
        answers: what the proxy says to each request that follows, if one does.
        make: the handshake, or a kind of it that watches more.
    """
    handshake = make(TARGET, schemes=schemes)
    handshake.data_to_send()
    error = feed(handshake, pieces)
    for answer in answers:
        if handshake.must_redial:
            handshake.redialled()
        if error is None and handshake.data_to_send():
            error = feed(handshake, answer)
    if error is None and is_ended:
        error = feed(handshake, [b""], is_end=True)
    return Outcome(
        error,
        handshake.done,
        handshake.must_redial,
        handshake.reply,
        handshake.leftover,
        handshake.interim_replies,
        handshake.credentials_sent,
        handshake.scheme_name,
        handshake.refused_credentials,
        b"" if error else handshake.data_to_send(),
    )


def feed(
    handshake: ConnectHandshake, pieces: Sequence[bytes], *, is_end: bool = False
) -> type[WireError] | None:
    """Give the pieces that are not empty (all, if `is_end`), and return the type of the error they end in."""
    try:
        for piece in pieces:
            if piece or is_end:
                handshake.receive_data(piece)
    except WireError as error:
        return type(error)
    return None


def cut(data: bytes, places: Sequence[int]) -> list[bytes]:
    """Cut `data` at `places`, in any order; a place outside it is taken modulo its length."""
    edges = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[start:end] for start, end in pairwise(edges)]
