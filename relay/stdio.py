"""stdin and stdout as the near end of a tunnel: `ssh -o ProxyCommand='relay tunnel --stdio ...'`.

Two threads and blocking calls: stdin may be a pipe, a terminal, a socket or a file, and only threads
can wait for all of them.
"""

import os
import threading

from relay.pipe import CHUNK_BYTES, BlockingStream
from relay.pump_end import TunnelEnd


def carry(stream: BlockingStream, near_in: int, near_out: int) -> TunnelEnd:
    """Carry bytes between two descriptors and a tunnel until the far side has said its last word.

    End of input is passed on as a half-close, so an answer that comes later still arrives.

    Raises:  OSError of a write to `near_out`, but for BrokenPipeError; the far side gets a RST then.
    Returns: CLIENT_CLOSED when our input ended and nothing came back; TARGET_SILENT when the far side ended
             before a byte had passed; TARGET_UNHEARD when it said nothing for too long after our end, where
             the stream has a limit for that (HTTP/2); else TARGET_CLOSED, TARGET_RESET, CLIENT_RESET.
    """
    broken, input_ended = threading.Event(), threading.Event()
    sent_bytes = 0

    def up() -> None:
        nonlocal sent_bytes
        try:
            while data := os.read(near_in, CHUNK_BYTES):
                sent_bytes += len(data)
                stream.write(data)
        except OSError:
            # The far side has reset; the reader below sees that too, after what it is still owed
            broken.set()
            return
        input_ended.set()
        stream.half_close()

    # A daemon: it may wait in read(2) for input that never comes when the far side has ended
    threading.Thread(target=up, name="stdin", daemon=True).start()
    try:
        has_answered = _carry_down(stream, near_out)
    except _NearBrokenError as near:
        stream.reset()
        if isinstance(near.error, BrokenPipeError):
            return TunnelEnd.CLIENT_RESET
        raise near.error from None
    except OSError as error:
        return _far_end(stream, error)
    if broken.is_set():
        return TunnelEnd.TARGET_RESET
    if has_answered:
        return TunnelEnd.TARGET_CLOSED
    if input_ended.is_set():
        return TunnelEnd.CLIENT_CLOSED
    return TunnelEnd.TARGET_CLOSED if sent_bytes else TunnelEnd.TARGET_SILENT


def _far_end(stream: BlockingStream, error: OSError) -> TunnelEnd:
    # The kernel's own ETIMEDOUT is a connection that broke; without errno the stream has stopped waiting
    if isinstance(error, TimeoutError) and error.errno is None:
        stream.reset()
        return TunnelEnd.TARGET_UNHEARD
    return TunnelEnd.TARGET_RESET


class _NearBrokenError(Exception):
    """Our own stdout takes no more."""

    def __init__(self, error: OSError) -> None:
        super().__init__(str(error))
        self.error = error


def _carry_down(stream: BlockingStream, near_out: int) -> bool:
    """Return whether anything came. Raises: _NearBrokenError; OSError of the far side."""
    has_answered = False
    while data := stream.read():
        has_answered = True
        view = memoryview(data)
        try:
            while view:
                view = view[os.write(near_out, view) :]
        except OSError as error:
            raise _NearBrokenError(error) from None
    return has_answered
