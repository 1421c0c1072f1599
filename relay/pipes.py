"""Kernel pipes for splice(2), lent to the halves of tunnels while a burst passes, and counted."""

import fcntl
import os

# A pipe of 1 MiB has 256 slots, and small segments take one each; the default of 64 KiB has 16.
PIPE_BYTES = 1_048_576
# Idle pipes that are kept: each counts against pipe-user-pages-soft (pipe(7)) and takes two descriptors.
MAX_IDLE_PIPES = 64
# fcntl.F_SETPIPE_SZ is in the module from Python 3.10 on, on Linux only.
_SET_SIZE = getattr(fcntl, "F_SETPIPE_SZ", 1031)

Pipe = tuple[int, int]


class PipePool:
    """Empty pipes, ready to be lent. A pipe that may still hold bytes is closed, never lent again."""

    def __init__(self) -> None:
        self._idle: list[Pipe] = []
        self.lent = 0
        self._big = True

    def take(self) -> Pipe | None:
        """An empty, non-blocking pipe (read end, write end); None when this process may open no more."""
        if self._idle:
            self.lent += 1
            return self._idle.pop()
        try:
            pipe = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            return None
        if self._big:
            try:
                fcntl.fcntl(pipe[1], _SET_SIZE, PIPE_BYTES)
            except OSError:
                # An unprivileged user's budget is spent: small pipes carry the bytes as well
                self._big = False
        self.lent += 1
        return pipe

    def give_back(self, pipe: Pipe, *, is_empty: bool) -> None:
        """End a loan."""
        self.lent -= 1
        if is_empty and len(self._idle) < MAX_IDLE_PIPES:
            self._idle.append(pipe)
            return
        os.close(pipe[0])
        os.close(pipe[1])

    def close(self) -> None:
        """Close the idle pipes."""
        while self._idle:
            for descriptor in self._idle.pop():
                os.close(descriptor)
