"""Work that may wait without a limit of its own: in a thread, so that ours can be kept.

The threads are daemons: what still waits when the limit is over holds up no exit.
"""

import errno
import queue
import threading
from collections.abc import Callable
from typing import Any

Work = Callable[[], Any]
Done = tuple[Any, BaseException | None]


def run_within(work: Work, limit_seconds: float) -> Any:
    """Return what `work` returns. Raises: what it raises; TimeoutError after `limit_seconds`."""
    done: queue.SimpleQueue[Done] = queue.SimpleQueue()
    begin(work, done.put)
    try:
        value, error = done.get(timeout=limit_seconds)
    except queue.Empty:
        raise TimeoutError from None
    if error is not None:
        raise error
    return value


def begin(work: Work, tell: Callable[[Done], None]) -> None:
    """Run `work` in a thread, which calls `tell`. Raises: OSError when there can be no further thread."""

    def run() -> None:
        try:
            done: Done = (work(), None)
        except BaseException as error:  # noqa: BLE001 - it is raised where it is waited for
            done = (None, error)
        tell(done)

    try:
        threading.Thread(target=run, name="aside", daemon=True).start()
    except RuntimeError as error:
        raise OSError(errno.EAGAIN, str(error)) from None
