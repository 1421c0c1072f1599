"""Replay: say to a server what a client once said to it, and compare how much and how soon it answers.

The protocol may be unknown, and encrypted with fresh numbers each time, so content is never compared. What a
recording has not kept (`relay.recording`) ends the comparison.
"""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from relay.failure import Failure, RelayError
from relay.recording import Recording
from relay.route import Route
from relay.stream import Stream
from relay.tunnel import open_tunnel

MAX_PAUSE_SECONDS: Final = 1.0
"""A client's recorded pause is kept up to this: long enough to tell two requests apart."""

SURPLUS_SECONDS: Final = 0.2
"""So long more than the recorded reply is waited for behind the last one."""

SLOWER_TIMES: Final = 3.0
SLOWER_SECONDS: Final = 1.0
"""An answer is called slower when it takes more than so many times as long and so much longer: else it is the
other distance, or chance."""


class Outcome(StrEnum):
    """What came of one way."""

    SAME = "same"
    SLOWER = "slower"
    LONGER = "longer"
    CLOSED = "closed"
    RESET = "reset"
    SILENT = "silent"
    NOT_OPENED = "not-opened"


_WORDS = {
    Outcome.SAME: "every reply is as long as it was, and as soon",
    Outcome.SLOWER: "every reply is as long as it was, but slower",
    Outcome.LONGER: "a reply is longer than it was",
    Outcome.CLOSED: "the connection was closed before a reply was whole",
    Outcome.RESET: "the connection was reset before a reply was whole",
    Outcome.SILENT: "a reply was not whole in time",
    Outcome.NOT_OPENED: "no connection could be made",
}


@dataclass
class Turn:
    """What one side says until the other does.

    Attributes:
        data: what the client says; b"" for a reply. size_bytes: of a reply, as recorded.
        seconds: since the turn before had ended, until the end of this one; at first since the beginning.
        is_whole: the recording has kept all of a reply.
    """

    is_reply: bool
    data: bytes = b""
    size_bytes: int = 0
    seconds: float = 0.0
    is_whole: bool = True


@dataclass(frozen=True)
class Reply:
    """One reply, recorded and now; seconds from the last byte of the request to the last of the reply."""

    recorded_bytes: int
    bytes: int
    recorded_seconds: float
    seconds: float

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "recorded_bytes": self.recorded_bytes,
            "bytes": self.bytes,
            "recorded_seconds": round(self.recorded_seconds, 6),
            "seconds": round(self.seconds, 6),
        }


@dataclass(frozen=True)
class Replayed:
    """What came of one way. `via`: the proxies, "" for none."""

    via: str
    outcome: Outcome
    replies: tuple[Reply, ...] = ()
    failure: Failure | None = field(default=None)

    @property
    def words(self) -> str:
        """For people, one line."""
        if self.failure is not None:
            return self.failure.sentence
        last = self.replies[-1] if self.replies else None
        if last is None or self.outcome in (Outcome.SAME, Outcome.SLOWER):
            return _WORDS[self.outcome]
        return f"{_WORDS[self.outcome]}: {last.bytes} bytes, {last.recorded_bytes} recorded"

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "via": self.via,
            "outcome": str(self.outcome),
            "words": self.words,
            "replies": [reply.as_dict() for reply in self.replies],
            "failure": None if self.failure is None else self.failure.as_dict(),
        }


def turns_of(recording: Recording) -> list[Turn]:
    """What to say and what to expect, up to the last reply that can be compared."""
    chunks = [(at, False, data) for at, data in recording.up.chunks]
    chunks += [(at, True, data) for at, data in recording.down.chunks]
    turns: list[Turn] = []
    turn_ended = ended = 0.0
    for at, is_reply, data in sorted(chunks, key=lambda chunk: chunk[:2]):
        if not turns or turns[-1].is_reply is not is_reply:
            turns.append(Turn(is_reply))
            turn_ended = ended
        turn = turns[-1]
        turn.data += b"" if is_reply else data
        turn.size_bytes += len(data)
        turn.seconds = at - turn_ended
        ended = at
    if recording.up.is_cut and turns and turns[-1].is_reply:
        # What the client went on to say is not there, so neither is what this was the answer to
        turns.pop()
    while turns and not turns[-1].is_reply:
        turns.pop()
    if turns:
        turns[-1].is_whole = not recording.down.is_cut
    return turns


async def replay(turns: Sequence[Turn], route: Route, *, timeout_seconds: float) -> Replayed:
    """Say the recorded turns along `route`.

    Args: timeout_seconds: to open the tunnel, and then for each reply.
    """
    try:
        stream = await open_tunnel(route, timeout_seconds=timeout_seconds)
    except RelayError as error:
        return Replayed(route.via, Outcome.NOT_OPENED, failure=error.failure)
    replies: list[Reply] = []
    try:
        outcome = await _play(turns, stream, timeout_seconds, replies)
    finally:
        await stream.aclose()
    return Replayed(route.via, outcome, tuple(replies))


async def _play(
    turns: Sequence[Turn], stream: Stream, timeout_seconds: float, replies: list[Reply]
) -> Outcome:
    for number, turn in enumerate(turns):
        try:
            if not turn.is_reply:
                await asyncio.sleep(min(turn.seconds, MAX_PAUSE_SECONDS))
                async with asyncio.timeout(timeout_seconds):
                    await stream.write(turn.data)
                continue
            is_last = number == len(turns) - 1
            outcome = await _hear(turn, stream, timeout_seconds, replies, is_last=is_last)
        except TimeoutError:
            return Outcome.SILENT
        except OSError:
            return Outcome.RESET
        if outcome is not Outcome.SAME:
            return outcome
    return Outcome.SLOWER if any(_is_slower(reply) for reply in replies) else Outcome.SAME


async def _hear(
    turn: Turn, stream: Stream, timeout_seconds: float, replies: list[Reply], *, is_last: bool
) -> Outcome:
    """Read one reply; it is in `replies` afterwards, whatever came of it. Raises: OSError, TimeoutError."""
    began = ended = time.monotonic()
    count = 0
    try:
        async with asyncio.timeout(timeout_seconds):
            while count < turn.size_bytes:
                data = await stream.read()
                if not data:
                    return Outcome.CLOSED
                count += len(data)
                ended = time.monotonic()
        if is_last and turn.is_whole:
            count += await _surplus(stream)
    finally:
        replies.append(Reply(turn.size_bytes, count, turn.seconds, ended - began))
    return Outcome.LONGER if count > turn.size_bytes and turn.is_whole else Outcome.SAME


async def _surplus(stream: Stream) -> int:
    """How much comes behind the last reply. An end, or a reset, is none."""
    try:
        async with asyncio.timeout(SURPLUS_SECONDS):
            return len(await stream.read())
    except OSError:
        return 0


def _is_slower(reply: Reply) -> bool:
    more = reply.seconds - reply.recorded_seconds
    return more > SLOWER_SECONDS and reply.seconds > SLOWER_TIMES * reply.recorded_seconds
