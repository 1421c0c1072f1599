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

    Returns: CLIENT_CLOSED when our input ended and nothing came back; TARGET_SILENT when the far side ended
             before a byte had passed; else TARGET_CLOSED, TARGET_RESET, CLIENT_RESET.
    """
    broken, input_ended = threading.Event(), threading.Event()
    sent_bytes = 0
    has_answered = False

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
        while data := stream.read():
            has_answered = True
            if not _write_all(near_out, data):
                stream.reset()
                return TunnelEnd.CLIENT_RESET
    except OSError:
        return TunnelEnd.TARGET_RESET
    if broken.is_set():
        return TunnelEnd.TARGET_RESET
    if has_answered:
        return TunnelEnd.TARGET_CLOSED
    if input_ended.is_set():
        return TunnelEnd.CLIENT_CLOSED
    return TunnelEnd.TARGET_CLOSED if sent_bytes else TunnelEnd.TARGET_SILENT


def _write_all(descriptor: int, data: bytes) -> bool:
    view = memoryview(data)
    try:
        while view:
            view = view[os.write(descriptor, view) :]
    except BrokenPipeError:
        return False
    return True
