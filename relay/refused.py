"""Refused: how code deep inside the proxy says no; and how a reply is sent so that it arrives."""

import asyncio
import contextlib

from relay.refusal import Refusal
from relay.stream import SocketStream, Stream

# A peer that still sends while we close would get a RST, which can destroy the reply on its way.
LINGER_SECONDS = 10.0
LINGER_BYTES = 16 * 2**20
# A peer that neither sends nor closes has what it is going to have.
LINGER_IDLE_SECONDS = 2.0


class Refused(Exception):
    """Carries the refusal to the place that answers."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.words)
        self.refusal = refusal


async def linger_close(stream: Stream, reply: bytes) -> None:
    """Send `reply`, say FIN, read what still comes for a bounded time, close (RFC 9112 section 9.6).

    Without a reply FIN may have been said already.
    """
    loop = asyncio.get_running_loop()
    end = loop.time() + LINGER_SECONDS
    left_bytes = LINGER_BYTES
    try:
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout_at(end) as limit:
                if reply:
                    # Behind a FIN even a write of nothing fails, on some event loops
                    await stream.write(reply)
                await stream.half_close()
                limit.reschedule(min(end, loop.time() + LINGER_IDLE_SECONDS))
                while left_bytes > 0 and (data := await stream.read()):
                    left_bytes -= len(data)
                    limit.reschedule(min(end, loop.time() + LINGER_IDLE_SECONDS))
    except BaseException:  # cancelled as well: the socket is ours to close
        if isinstance(stream, SocketStream):
            # What the kernel has taken of the reply still goes out
            stream.fileno_socket().close()
        else:
            stream.reset()
        raise
    await stream.aclose()
