"""Several processes behind one address: SO_REUSEPORT (socket(7)) lets the kernel share out connections."""

import contextlib
import ctypes
import os
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import FrameType

from relay.failure import SettingsError
from relay.leaving import leave
from relay.listener import Bound, Listener, open_again, open_listeners
from relay.listening import bound_endpoint, listen_on
from relay.route import Endpoint

# One process for each core is useful; more than this is a slip of the finger.
MAX_WORKERS = 64
_PR_SET_PDEATHSIG = 1
_STOPS = (signal.SIGTERM, signal.SIGINT)
_HELD_BACK = (*_STOPS, signal.SIGHUP)


@dataclass(frozen=True, eq=False)
class Opened:
    """The listeners of one worker: `sockets` of plain TCP, and `more`."""

    sockets: Sequence[socket.socket]
    more: Sequence[Bound]

    @property
    def places(self) -> list[str]:
        """Each of them, for people."""
        return [*(str(bound_endpoint(sock)) for sock in self.sockets), *map(str, self.more)]

    def close(self) -> None:
        """Others may have the same ones open still."""
        for sock in (*self.sockets, *(one.sock for one in self.more)):
            sock.close()

    def remove(self) -> None:
        """Nobody has them open any more: the paths of Unix sockets go as well."""
        self.close()
        for one in self.more:
            one.remove()


def bind_for_workers(
    endpoints: Sequence[Endpoint], listeners: Sequence[Listener], workers: int
) -> list[Opened]:
    """Listeners for each worker, all on the same addresses; port 0 becomes one free port for all.

    Raises: OSError that names the endpoint, SettingsError; nothing stays open then.
    """
    bound = [Opened(listen_on(endpoints, share_port=True), ())]
    try:
        bound[0] = first = Opened(bound[0].sockets, open_listeners(listeners, share_port=True))
        same = [bound_endpoint(sock) for sock in first.sockets]
        for _ in range(workers - 1):
            bound.append(Opened(listen_on(same, share_port=True), ()))
            bound[-1] = Opened(bound[-1].sockets, open_again(first.more))
    except (OSError, SettingsError):
        for one in reversed(bound):
            one.remove()
        raise
    return bound


Work = Callable[[Opened], int]


def run_workers(
    bound: Sequence[Opened],
    work: Work,
    announce: Callable[[], None],
    hangup: Callable[[], None] | None = None,
) -> int:
    """Fork one process for each, let each `work`, and return the worst of their exit statuses.

    `announce` is called when all of them run and signals are heard. `hangup` is called on SIGHUP, before
    that is passed on, where it stays blocked until `work` unblocks it; without it SIGHUP is as SIGINT.

    SIGTERM and SIGINT are passed on, SIGINT with a SIGTERM before it. When one worker ends by itself the
    others are ended too: a proxy that answers on half of its connections is harder to see than one that is
    down.
    """
    family = _Family(hangup)
    for number in _STOPS:
        signal.signal(number, family.stop)
    if hangup is not None:
        signal.signal(signal.SIGHUP, family.hang_up)
    elif signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        signal.signal(signal.SIGHUP, lambda number, frame: family.stop(signal.SIGINT))
    # Held back until a worker has handlers of its own: in those of its parent a signal would be lost
    signal.pthread_sigmask(signal.SIG_BLOCK, _HELD_BACK)
    for own in bound:
        family.fork(own, bound, work)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _HELD_BACK)
    announce()
    for own in bound:
        own.close()
    return family.wait()


class _Family:
    """The worker processes, by pid."""

    def __init__(self, hangup: Callable[[], None] | None) -> None:
        self._hangup = hangup
        self._children: set[int] = set()
        self._stopping = False
        self._is_hangup_due = self._is_hanging_up = False

    def fork(self, own: Opened, bound: Sequence[Opened], work: Work) -> None:
        parent = os.getpid()
        child = os.fork()
        if child == 0:
            _be_worker(parent, own, bound, work, hears_hangup=self._hangup is not None)
        self._children.add(child)

    def stop(self, number: int = 0, frame: FrameType | None = None) -> None:
        self._stopping = True
        for child in list(self._children):
            os.kill(child, signal.SIGTERM)
            if number == signal.SIGINT:
                # A worker with open tunnels takes SIGTERM for the beginning of an end
                os.kill(child, signal.SIGINT)

    def hang_up(self, number: int, frame: FrameType | None) -> None:
        # A signal can come in the middle of the work for the one before, and is worked off behind it
        self._is_hangup_due = True
        while self._is_hangup_due and not self._is_hanging_up:
            self._is_hangup_due, self._is_hanging_up = False, True
            try:
                if self._hangup is not None:
                    self._hangup()
                    # One that is ending has no handler for it any more, and would die of it
                    for child in () if self._stopping else list(self._children):
                        os.kill(child, signal.SIGHUP)
            finally:
                self._is_hanging_up = False

    def wait(self) -> int:
        worst = 0
        while self._children:
            # Left to be reaped until it is off the list: a signal that comes now must find no other process
            ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOWAIT)
            assert ended is not None
            child = ended.si_pid
            self._children.discard(child)
            code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            # One that was told to end while it could not listen to signals has ended as it was told
            is_told = self._stopping and -code in (signal.SIGTERM, signal.SIGHUP)
            worst = max(worst, 0 if is_told else abs(code))
            if not self._stopping:
                words = f"relay: worker {child} ended by itself (status {code}); ending the others"
                print(words, file=sys.stderr, flush=True)
                worst = max(worst, 1)
                self.stop()
        return worst


def _end_with_parent(parent: int) -> None:
    """Have the kernel send SIGTERM when the parent dies, even by SIGKILL (prctl(2), PR_SET_PDEATHSIG)."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:
        # It died before the kernel had been asked
        os._exit(1)


def _be_worker(
    parent: int,
    own: Opened,
    bound: Sequence[Opened],
    work: Work,
    *,
    hears_hangup: bool,
) -> None:
    """Never returns: a worker must not run what comes behind the fork in its parent."""
    status = 1
    try:
        for one in bound:
            if one is not own:
                one.close()
        _end_with_parent(parent)
        # ^C reaches the whole foreground group; the parent passes it on once
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        if not hears_hangup and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
            signal.signal(signal.SIGHUP, signal.SIG_DFL)
        # SIGHUP stays held back until `work` has a handler for it, which lets it through: the profile that
        # this worker begins with was read before the fork
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _STOPS if hears_hangup else _HELD_BACK)
        status = work(own)
    except KeyboardInterrupt:
        # SIGINT when the loop, and its handler, had ended already: it has stopped as it was told
        status = 0
    finally:
        leave(status)
