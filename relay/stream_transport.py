"""StreamTransport: an asyncio transport on any Stream, so that aiohttp answers on TLS as on a plain socket.

asyncio's own TLS transport cannot be taken over: its socket and its session are its own. Here the stream is
read only when there is something, so that nothing is lost when a CONNECT takes it away.
"""

import asyncio
from collections.abc import Iterable
from typing import Any, cast

from relay.stream import Stream

# What one wake-up reads before others have their turn.
CHUNKS_A_TURN = 16


class StreamTransport(asyncio.Transport):
    """Owns `stream` until it is closed or released; `protocol` hears of it at once."""

    def __init__(self, stream: Stream, protocol: asyncio.Protocol) -> None:
        super().__init__()
        self._stream = stream
        self._protocol = protocol
        self._loop = asyncio.get_running_loop()
        self._buffer = bytearray()
        self._writer: asyncio.Task[None] | None = None
        self._wants_eof = self._is_closing = self._is_over = self._has_eof = False
        self._is_reading = False
        protocol.connection_made(self)
        self.resume_reading()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return default

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self._protocol = cast(asyncio.Protocol, protocol)

    def get_protocol(self) -> asyncio.BaseProtocol:
        return self._protocol

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Nothing to set: a write is over when the stream has taken it."""

    def get_write_buffer_size(self) -> int:
        return len(self._buffer)

    def is_closing(self) -> bool:
        return self._is_closing

    def is_reading(self) -> bool:
        return self._is_reading

    def can_write_eof(self) -> bool:
        return True

    def pause_reading(self) -> None:
        if self._is_reading:
            self._is_reading = False
            self._loop.remove_reader(self._stream.fileno_socket())

    def resume_reading(self) -> None:
        if not self._is_reading and not self._is_closing and not self._has_eof:
            self._is_reading = True
            self._loop.add_reader(self._stream.fileno_socket(), self._read)
            # Decrypted bytes may wait that no descriptor tells of
            self._loop.call_soon(self._read)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self._is_closing or not data:
            return
        self._buffer += data
        self._begin_writing()

    def writelines(self, list_of_data: Iterable[bytes | bytearray | memoryview]) -> None:
        self.write(b"".join(list_of_data))

    def write_eof(self) -> None:
        self._wants_eof = True
        self._begin_writing()

    def close(self) -> None:
        if not self._is_closing:
            self.pause_reading()
            self._is_closing = True
            self._begin_writing()

    def abort(self) -> None:
        self.pause_reading()
        self._is_closing = True
        if self._writer is not None:
            self._writer.cancel()
        if not self._is_over:
            self._stream.reset()
            self._end(None)

    async def release(self) -> Stream:
        """Give the stream away, when all has been written; for the protocol the connection is lost."""
        self.pause_reading()
        if self._writer is not None:
            await self._writer
        if self._is_over:
            raise ConnectionResetError("the client has gone")
        self._is_closing = True
        self._end(None)
        return self._stream

    def _end(self, error: Exception | None) -> None:
        self._is_over = True
        self._loop.call_soon(self._protocol.connection_lost, error)

    def _break(self, error: Exception) -> None:
        if not self._is_over:
            self.pause_reading()
            self._is_closing = True
            self._stream.reset()
            self._end(error)

    def _read(self) -> None:
        try:
            for _ in range(CHUNKS_A_TURN):
                if not self._is_reading:
                    return
                data = self._stream.poll()
                if data is None:
                    return
                if not data:
                    self._hear_eof()
                    return
                self._protocol.data_received(data)
        except OSError as error:
            self._break(error)
            return
        self._loop.call_soon(self._read)

    def _hear_eof(self) -> None:
        self.pause_reading()
        self._has_eof = True
        if not self._protocol.eof_received():
            self.close()

    def _begin_writing(self) -> None:
        if self._writer is None and not self._is_over:
            self._writer = self._loop.create_task(self._write_out())
            self._protocol.pause_writing()

    async def _write_out(self) -> None:
        try:
            while self._buffer or self._wants_eof or self._is_closing:
                if self._buffer:
                    data = bytes(self._buffer)
                    self._buffer.clear()
                    await self._stream.write(data)
                elif self._is_closing:
                    await self._stream.aclose()
                    self._end(None)
                    return
                else:
                    self._wants_eof = False
                    await self._stream.half_close()
        except OSError as error:
            self._break(error)
        finally:
            self._writer = None
            if not self._is_over:
                self._protocol.resume_writing()
