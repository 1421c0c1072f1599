"""Siblings: one worker asks the others for their numbers, over socket pairs made before they were forked.

A question is one line, `NUMBER WORD`; the answer is one line, `NUMBER JSON`.
"""

import asyncio
import contextlib
import json
import socket
from collections.abc import Callable, Sequence
from typing import Any

# A worker answers between two turns of its loop; one that does not in this time is stuck.
ANSWER_SECONDS = 2.0
# A list for people and scripts; the numbers of all are in the metrics.
MAX_SHOWN = 10_000
# In an entry of a list: when it began, in seconds of CLOCK_MONOTONIC (clock_gettime(2)), one clock for all
# workers. They answer one after another, so how long each entry was open by then would not tell the order.
BEGAN = "began_monotonic"
# The longest answer is a list.
MAX_LINE_BYTES = 64 * 2**20

Answers = Callable[[str], Any]
_Way = tuple[asyncio.StreamReader, asyncio.StreamWriter]


def make_pairs(workers: int) -> list[tuple[socket.socket, socket.socket]]:
    """For each worker but the first: the first one's end and its own."""
    return [socket.socketpair() for _ in range(workers - 1)]


async def answer_siblings(sock: socket.socket, answers: Answers) -> None:
    """Answer questions until cancelled, or until nobody is there to ask. `sock` is ours to close.

    A question whose answer fails gets none: whoever asks takes this worker for stuck, until the next one.
    """
    loop = asyncio.get_running_loop()
    reader, writer = await asyncio.open_connection(sock=sock, limit=MAX_LINE_BYTES)
    try:
        while line := await reader.readline():
            try:
                number, _, word = line.decode("ascii").strip().partition(" ")
                answer = f"{number} {json.dumps(answers(word))}\n".encode()
            except Exception as error:  # noqa: BLE001 - told, not lost; the next question is another one
                message = "Exception in the answer to another worker"
                loop.call_exception_handler({"message": message, "exception": error})
                continue
            writer.write(answer)
            await writer.drain()
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


class Siblings:
    """The first worker's side."""

    def __init__(self, sockets: Sequence[socket.socket]) -> None:
        self._sockets = sockets
        self._ways: list[_Way] = []
        self._number = 0
        self._turn = asyncio.Lock()

    async def start(self) -> None:
        """Begin; the sockets are ours to close from now on."""
        for sock in self._sockets:
            self._ways.append(await asyncio.open_connection(sock=sock, limit=MAX_LINE_BYTES))

    async def ask(self, word: str) -> list[Any]:
        """The answer of each sibling, None of one that is stuck; one that has ended is not asked."""
        async with self._turn:
            self._number += 1
            question = f"{self._number} {word}\n".encode()
            answers = await asyncio.gather(*(self._ask(way, question) for way in self._ways))
            # Some may have ended meanwhile
            return [answer for way, answer in zip(self._ways, answers, strict=True) if not _has_ended(way)]

    @property
    def have_ended(self) -> bool:
        """Whether none of them runs any more."""
        return all(map(_has_ended, self._ways))

    async def _ask(self, way: _Way, question: bytes) -> Any:
        reader, writer = way
        with contextlib.suppress(OSError, TimeoutError, ValueError):
            async with asyncio.timeout(ANSWER_SECONDS):
                writer.write(question)
                await writer.drain()
                while line := await reader.readline():
                    number, _, answer = line.partition(b" ")
                    # Else it is what a sibling says at last to a question that was given up
                    if int(number) == self._number:
                        return json.loads(answer)
        return None

    async def aclose(self) -> None:
        """Ask no more."""
        for _, writer in self._ways:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
        self._ways.clear()


def _has_ended(way: _Way) -> bool:
    reader, writer = way
    return reader.at_eof() or reader.exception() is not None or writer.is_closing()
