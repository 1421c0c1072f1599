"""What a client once said, said again: lengths and times of the replies are compared, never what they say."""

import asyncio
import contextlib
import socket
import struct
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

import relay.commands
from relay.failure import Reason
from relay.recording import LIMIT_BYTES, RecordFile, Recording
from relay.replay import Outcome, Replayed, Turn, replay, turns_of
from relay.route import Endpoint, Route
from tests.parts.test_forward import far_end

PATIENCE_SECONDS = 20.0
TURNS = [Turn(False, b"ask", 3), Turn(True, size_bytes=6), Turn(False, b"more", 4), Turn(True, size_bytes=2)]
Play = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def recorded(*chunks: tuple[float, str, bytes]) -> Recording:
    recording = Recording("far.example:5000")
    for at, way, data in chunks:
        (recording.up if way == "up" else recording.down).add(at, data)
    return recording


def test_what_is_said_in_turns() -> None:
    """Chunks of one side are one turn, in the order of their times; a request without a reply is left out."""
    turns = turns_of(
        recorded(
            (0.0, "up", b"as"), (0.25, "up", b"k"), (0.5, "down", b"ans"), (0.75, "down", b"wer"),
            (1.75, "up", b"more"), (2.0, "down", b"ok"), (3.0, "up", b"bye"),
        )
    )  # fmt: skip
    assert TURNS == [Turn(turn.is_reply, turn.data, turn.size_bytes) for turn in turns]
    assert [0.25, 0.5, 1.0, 0.25] == [turn.seconds for turn in turns]


def test_a_server_that_speaks_first() -> None:
    """Its greeting is the first turn."""
    turns = turns_of(recorded((0.5, "down", b"hello"), (1.0, "up", b"hi"), (1.5, "down", b"ok")))
    assert [True, False, True] == [turn.is_reply for turn in turns]


def test_what_was_not_kept_is_not_compared() -> None:
    """The reply to a request that was cut; the end of a reply that was cut may be longer."""
    whole = (0.0, "up", b"a"), (0.1, "down", b"b")
    cut_up = recorded(*whole, (0.2, "up", bytes(LIMIT_BYTES)), (0.3, "down", b"c"))
    assert [b"a", b""] == [turn.data for turn in turns_of(cut_up)]
    cut_down = recorded((0.0, "up", b"a"), (0.1, "down", bytes(LIMIT_BYTES + 1)))
    assert [LIMIT_BYTES, False] == [turns_of(cut_down)[-1].size_bytes, turns_of(cut_down)[-1].is_whole]


async def said_to(serve: Play, timeout_seconds: float = PATIENCE_SECONDS) -> Replayed:
    async with far_end(serve) as target:
        return await replay(TURNS, Route(target), timeout_seconds=timeout_seconds)


def server(*replies: bytes, then: str = "wait") -> Play:
    """Answers each request of TURNS with the next of `replies`; then it waits, closes or resets."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.closing(writer):
            for turn, answer in zip((TURNS[0], TURNS[2]), replies, strict=False):
                if await reader.read(len(turn.data)) != turn.data:
                    return  # it was content, or not, with the answer before
                writer.write(answer[:1])
                await writer.drain()
                writer.write(answer[1:])
            if then == "wait":
                await reader.read()
            elif then == "reset":
                await reader.readexactly(1)
                linger = struct.pack("ii", 1, 0)
                writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)

    return serve


async def test_the_same_again() -> None:
    """Other bytes of the same length are the same."""
    replayed = await said_to(server(b"ANSWER", b"OK"))
    assert (Outcome.SAME, [(6, 6), (2, 2)]) == (
        replayed.outcome,
        [(reply.recorded_bytes, reply.bytes) for reply in replayed.replies],
    )


@pytest.mark.parametrize(
    ("serve", "outcome", "sizes"),
    [
        (server(b"ANSWER", b"OK!!"), Outcome.LONGER, [6, 4]),
        (server(b"ANSWER and more", b""), Outcome.LONGER, [15]),
        (server(b"ANSW", then="close"), Outcome.CLOSED, [4]),
        (server(b"ANSWER", then="reset"), Outcome.RESET, [6, 0]),
    ],
    ids=["longer", "longer-in-between", "closed", "reset"],
)
async def test_what_differs(serve: Play, outcome: Outcome, sizes: list[int]) -> None:
    """How it differs, how far it went, and both lengths in words."""
    replayed = await said_to(serve)
    assert (outcome, sizes) == (replayed.outcome, [reply.bytes for reply in replayed.replies])
    assert replayed.words.endswith(f"{sizes[-1]} bytes, {replayed.replies[-1].recorded_bytes} recorded")


class Pieces:
    """A stream from which each piece is read by itself."""

    def __init__(self, *pieces: bytes) -> None:
        self._pieces = list(pieces)

    async def write(self, data: bytes) -> None:
        """Take it."""

    async def read(self, limit_bytes: int = 0) -> bytes:
        if not self._pieces:
            await asyncio.Event().wait()
        return self._pieces.pop(0)

    async def aclose(self) -> None:
        """Nothing is open."""


@pytest.mark.parametrize(
    ("pieces", "outcome", "sizes"),
    [
        ((b"ANS", b"WER", b"OK", b"!!"), Outcome.LONGER, [6, 4]),
        ((b"ANS", b"WER", b"OK"), Outcome.SAME, [6, 2]),
        ((b"ANS", b"WER", b"OK", b""), Outcome.SAME, [6, 2]),
    ],
)
async def test_what_comes_behind_the_last_reply(
    pieces: tuple[bytes, ...], outcome: Outcome, sizes: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is waited for a little: more bytes make it longer, an end or silence does not."""

    async def open_tunnel(route: Route, **_: float) -> Pieces:
        return Pieces(*pieces)

    monkeypatch.setattr("relay.replay.open_tunnel", open_tunnel)
    replayed = await replay(TURNS, Route(Endpoint("far.example", 5000)), timeout_seconds=PATIENCE_SECONDS)
    assert (outcome, sizes) == (replayed.outcome, [reply.bytes for reply in replayed.replies])


async def test_a_server_that_is_silent() -> None:
    """The limit ends it, and what came until then is told."""
    replayed = await said_to(server(b"ANSW"), timeout_seconds=0.3)
    assert (Outcome.SILENT, [4]) == (replayed.outcome, [reply.bytes for reply in replayed.replies])


async def test_slower(monkeypatch: pytest.MonkeyPatch) -> None:
    """Longer than recorded by much: the lengths are the same."""
    monkeypatch.setattr("relay.replay.SLOWER_SECONDS", 0.0)
    assert Outcome.SLOWER is (await said_to(server(b"ANSWER", b"OK"))).outcome


async def test_a_way_that_cannot_be_opened() -> None:
    """Its failure, with stage and reason."""
    async with far_end(server()) as target:
        gone = target
    replayed = await replay(TURNS, Route(gone), timeout_seconds=PATIENCE_SECONDS)
    assert Outcome.NOT_OPENED is replayed.outcome
    assert replayed.failure is not None
    assert (Reason.REFUSED, str(replayed.failure.sentence)) == (replayed.failure.reason, replayed.words)


# the command's own errors


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--replay", "FILE", "--from", "x"], "--from: not with --replay"),
        (["--replay", "FILE", "--report", "html"], "--report: not with --replay"),
        (["--replay", "FILE", "--idle", "3"], "--idle: not with --replay"),
        (["--replay", "FILE", "--recording", "3"], "--recording: 3; 'FILE' has 2"),
        (["--replay", "FILE", "--recording", "1"], "recording 1 has not a request with a reply to compare"),
        (["--replay", "FILE", "host:0"], "port 0"),
        (["--replay", "FILE", "--recording", "2"], "--replay: target: port 'x' in 'no:x'"),
        (["--replay", "/none"], "--replay: cannot read '/none': No such file or directory"),
        (["--recording", "1", "host"], "--recording: only with --replay"),
    ],
)
def test_wrong_usage(
    arguments: list[str], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line that names what is wrong, status 2, and nobody is called."""
    path = str(tmp_path / "record")
    file = RecordFile(path)
    file.write(Recording("far.example:5000"))
    odd = recorded((0.0, "up", b"a"), (0.1, "down", b"b"))
    odd.target = "no:x"
    file.write(odd)
    file.close()
    given = [path if argument == "FILE" else argument for argument in arguments]
    assert 2 == relay.commands.main(["check", *given])
    said = capsys.readouterr().err
    assert words.replace("FILE", path) in said
    assert 1 == len(said.splitlines())
