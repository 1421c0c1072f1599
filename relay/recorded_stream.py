"""A client's stream that keeps the first bytes of what passes, for a Recording."""

from socket import socket

from relay.recording import Recording
from relay.stream import CHUNK_BYTES, Stream


class RecordedStream:
    """A Stream that tells a Recording what the client says and hears.

    It is no SocketStream, so its tunnel takes the chunk path: splice(2) would show us no bytes.
    """

    def __init__(self, below: Stream, recording: Recording) -> None:
        self._below = below
        self._recording = recording

    async def read(self, limit_bytes: int = CHUNK_BYTES) -> bytes:
        data = await self._below.read(limit_bytes)
        self._recording.sent(data)
        return data

    async def write(self, data: bytes) -> None:
        self._recording.received(data)
        await self._below.write(data)

    def poll(self) -> bytes | None:
        data = self._below.poll()
        self._recording.sent(data or b"")
        return data

    async def half_close(self) -> None:
        await self._below.half_close()

    def unread(self, data: bytes) -> None:
        self._below.unread(data)

    def reset(self) -> None:
        self._below.reset()

    async def aclose(self) -> None:
        await self._below.aclose()

    def fileno_socket(self) -> socket:
        return self._below.fileno_socket()
