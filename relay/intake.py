"""Intake: reads a stream ahead, so that a chunk's time is when it came, not when somebody asked for it."""

import asyncio
from collections import deque

from relay.fault import Chunk, Chunks, PeerReset, now
from relay.stream import Stream
from relay.vanished import is_dead

# What one direction of a tunnel may hold back; a fault that delays by t seconds passes at most this per t.
MAX_HELD_BYTES = 4 * 2**20


class Intake:
    """Chunks of one stream. It reads from the start on; `chunks` may be asked for once.

    `ended_seconds` and `was_reset` tell of the stream's end as soon as it is received, `is_exhausted` when
    all chunks before it have been asked for. Set `has_our_fin` when the stream is half-closed.
    """

    def __init__(self, stream: Stream, *, is_early: bool = False) -> None:
        self.is_early = is_early
        self.has_our_fin = False
        self.is_exhausted = False
        self._stream = stream
        self._held: deque[Chunk] = deque()
        self._held_bytes = 0
        self.ended_seconds: float | None = None
        self.was_reset = False
        self._changed = asyncio.Event()
        self._has_room = asyncio.Event()
        self._has_room.set()
        self._task = asyncio.create_task(self._read())

    async def chunks(self) -> Chunks:
        """What the stream says, until its half-close. Raises: PeerReset."""
        while True:
            if self._held:
                chunk = self._held.popleft()
                self._held_bytes -= len(chunk.data)
                self._has_room.set()
                yield chunk
            elif self.was_reset:
                raise PeerReset
            elif self.ended_seconds is not None:
                self.is_exhausted = True
                return
            else:
                self._changed.clear()
                await self._changed.wait()

    async def aclose(self) -> None:
        """Stop reading."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _read(self) -> None:
        try:
            while data := await self._stream.read():
                self._held.append(Chunk(data, now(), is_early=self.is_early))
                self._held_bytes += len(data)
                self._changed.set()
                if self._held_bytes >= MAX_HELD_BYTES:
                    self._has_room.clear()
                    await self._has_room.wait()
            # A write that failed may have taken the error with it, but the state of the socket stays. Once it
            # has our FIN, and we have its own, a clean end has the same state
            self.was_reset = not self.has_our_fin and is_dead(self._stream.fileno_socket())
        except OSError:
            self.was_reset = True
        self.ended_seconds = now()
        self._changed.set()
