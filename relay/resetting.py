"""End a connection with RST, but not before the peer has what it is owed."""

import asyncio
import socket
from collections.abc import Callable

from relay.dial import reset_socket
from relay.evidence import unsent_bytes
from relay.vanished import is_dead

# How long a peer may acknowledge nothing of what was sent to it; then it loses the rest.
DELIVERY_SECONDS = 10.0
_FIRST_LOOK_SECONDS = 0.005
_LAST_LOOK_SECONDS = 0.1


class DeliverThenReset:
    """Resets `sock` as soon as its send queue is empty: SO_LINGER 0 would throw the queue away (socket(7)).

    The kernel has no event for "all acknowledged", so it looks now and then; only the end of a tunnel that
    was reset comes here. `done` is called once, unless `cancel` was called before.
    """

    def __init__(self, sock: socket.SocketType, done: Callable[[], None]) -> None:
        self._sock = sock
        self._done = done
        self._loop = asyncio.get_running_loop()
        self._owed_bytes = -1
        self._end = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._look(_FIRST_LOOK_SECONDS)

    def cancel(self) -> None:
        """Reset at once, and do not call `done`."""
        if self._timer is not None:
            self._timer.cancel()
        reset_socket(self._sock)

    def _look(self, next_seconds: float) -> None:
        owed_bytes = unsent_bytes(self._sock)
        if owed_bytes != self._owed_bytes:
            self._owed_bytes, self._end = owed_bytes, self._loop.time() + DELIVERY_SECONDS
        # Of one that is dead nothing is acknowledged any more
        if not owed_bytes or is_dead(self._sock) or self._loop.time() >= self._end:
            reset_socket(self._sock)
            self._done()
            return
        following = min(next_seconds * 2, _LAST_LOOK_SECONDS)
        self._timer = self._loop.call_later(next_seconds, self._look, following)
