"""The fast path: carry the bytes of all tunnels of a loop with splice(2), without a task or timer for each.

One edge-triggered epoll (epoll(7)) holds every socket, registered once, and is itself one reader of the
event loop. A direction of a tunnel is a `Half`. Small messages take read and write; a burst is spliced
through a pipe and never enters user space.

Rules that keep it correct:
- a half reads only when nothing is waiting to be written, so EAGAIN from a read can only mean that the
  socket is empty, and never that the pipe is full;
- flags of an event are only hints to try: what a system call says decides, so an event that was meant for
  an earlier socket of the same number does no harm;
- an error when writing ends only that direction; what the broken side had sent before is still read.
"""

import asyncio
import os
import select
import socket
from collections import deque

from relay.dial import reset_socket
from relay.link import READ_BYTES, Half, Link
from relay.pipes import PipePool
from relay.pump_end import TunnelEnd
from relay.resetting import DELIVERY_SECONDS, DeliverThenReset
from relay.tunnel_loop import attach
from relay.vanished import is_dead
from relay.watching import ENDING, EVENTS, EVENTS_AND_ROOM, READABLE, WRITABLE, Watcher, Watching
from relay.young_links import YoungLinks

# What a half may carry in one turn before others come to theirs.
QUANTUM_BYTES = 524_288
_BY_CLIENT, _BY_TARGET = TunnelEnd.CLIENT_CLOSED, TunnelEnd.TARGET_CLOSED


class SplicePlane:
    """Carries all tunnels of the running loop, in which it must be made; `close` ends them by RST."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._queue: deque[Half] = deque()
        # Halves by their source, and who else watches
        self._table: dict[int, Half | Watcher] = {}
        self.poller = attach(self._loop, self._table, self._wake, self._queue, self._carry_on)
        self._epoll = self.poller.epoll
        self.watching = Watching(self._epoll, self._table)
        self._resets: dict[Link, DeliverThenReset] = {}
        self._links: set[Link] = set()
        self._young = YoungLinks(self._links)
        self.pipes = PipePool()

    def __len__(self) -> int:
        return len(self._links)

    def add(self, link: Link, of_client: int | None = None, of_target: int | None = None) -> None:
        """Carry bytes between the two connected, non-blocking sockets of a link, ours to close from now on.

        Args: of_client, of_target: flags that were reported and not acted upon, where a socket is watched
              already; None where it is not.
        """
        self._links.add(link)
        if link.is_young and not self._young.are_waited_for:
            self._young.wait()
        up, down = link.up, link.down
        self._table[up.source] = up
        self._table[down.source] = down
        try:
            # This reports what the socket has; only what was read or reported before needs a push
            if of_client is None:
                self._epoll.register(up.source, EVENTS)
            elif of_client & ENDING:
                up.is_ending = True
            if of_target is None:
                self._epoll.register(down.source, EVENTS)
            elif of_target & ENDING:
                down.is_ending = True
        except OSError:
            # No watch is left for it (epoll_ctl(2))
            self._stop(link)
            return
        if up.pending or (of_client and of_client & READABLE):
            self._run(up)
        if (down.pending or (of_target and of_target & READABLE)) and not link.is_over:
            self._run(down)
        if self._queue:
            self.poller.schedule()

    def close(self) -> None:
        """Reset every tunnel at once."""
        for link in list(self._links):
            if link in self._resets:
                self._resets.pop(link).cancel()
            self._stop(link)
        self.watching.close()
        self._young.close()
        self.poller.detach()
        self.pipes.close()

    def _stop(self, link: Link) -> None:
        self._links.remove(link)
        self._forget(link)
        reset_socket(link.client_socket)
        reset_socket(link.target_socket)
        link.end(TunnelEnd.STOPPED)

    def _carry_on(self) -> None:
        """After fresh events those that used up their quantum have a turn: small messages never wait long."""
        left_bytes = QUANTUM_BYTES
        while left_bytes > 0 and self._queue:
            half = self._queue.popleft()
            half.is_queued = False
            left_bytes -= self._run(half)

    def _wake(self, half: Half | Watcher, descriptor: int, flags: int) -> None:
        if type(half) is not Half:
            half.woke(descriptor, flags)
            return
        if flags & select.EPOLLERR or not (half.is_calm or half.is_calm_again()):
            self._wake_both(half, flags)
            return
        try:
            data = os.read(half.source, READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            self._reset(half)
            return
        if not data:
            half.source_ended = True
            self._pass_on_end(half)
            return
        size = len(data)
        if size < READ_BYTES:
            try:
                written = os.write(half.sink, data)
            except OSError:
                written = 0
            half.count += written
            if written == size and not flags & ENDING:
                return
            data = data[written:]
        half.pending = data
        half.is_bursting = size == READ_BYTES
        half.is_ending = bool(flags & ENDING)
        self._run(half)

    def _wake_both(self, half: Half, flags: int) -> None:
        link, other = half.link, half.other
        if flags & READABLE:
            if flags & ENDING:
                half.is_ending = True
            if half.is_bursting:
                self._enqueue(half)
            elif not half.is_queued:
                self._run(half)
        if link.is_over:
            return
        # Only a half that waits for its sink has anything to do
        if flags & WRITABLE and (other.pending or other.held):
            self._enqueue(other)
        if flags & select.EPOLLERR:
            self._see_dead(half)

    def _see_dead(self, half: Half) -> None:
        """Nobody reads from a source behind its FIN, nor while the sink takes nothing: see its reset here."""
        if not is_dead(half.link.client_socket if half is half.link.up else half.link.target_socket):
            return  # the event was meant for an earlier socket
        if half.is_done and not half.other.is_done:
            self._sink_broke(half.other)
        elif half.pending or half.held:
            self._loop.call_later(DELIVERY_SECONDS, self._give_up, half, half.count)

    def _give_up(self, half: Half, count: int) -> None:
        """The source is dead, and its last bytes wait for a sink that may never take them."""
        if half.is_done or not (half.pending or half.held):
            return
        if half.count == count:
            self._reset(half)
        else:
            self._loop.call_later(DELIVERY_SECONDS, self._give_up, half, half.count)

    def _enqueue(self, half: Half) -> None:
        if not half.is_queued:
            half.is_queued = True
            self._queue.append(half)

    def _run(self, half: Half) -> int:
        """Carry until the source is empty, sink or quantum are full, or the end; return how many bytes."""
        if half.is_done:
            return 0
        half.is_calm = half.other.is_calm = False
        carried = 0
        while not half.is_done:
            if (half.pending or half.held) and not self._write(half):
                break
            if half.source_ended:
                self._pass_on_end(half)
                break
            if carried >= QUANTUM_BYTES:
                self._enqueue(half)
                break
            try:
                size = half.read(self.pipes)
            except OSError:
                self._reset(half)
                break
            if size is None:
                # A short read: hand it on, the next event says when to go on
                self._write(half)
                break
            carried += size
        return carried

    def _write(self, half: Half) -> bool:
        try:
            is_done = half.write()
        except OSError:
            self._sink_broke(half)
            return False
        if not is_done and not half.hears_of_room:
            half.hears_of_room = True
            # Told at once if there is room again by now (epoll_ctl(2))
            self._epoll.modify(half.sink, EVENTS_AND_ROOM)
        return is_done

    def _pass_on_end(self, half: Half) -> None:
        """The source has said its last word and all of it is handed on."""
        link, other = half.link, half.other
        half.is_done, half.is_calm = True, False
        if half.pipe is not None:
            half.release(self.pipes)
        if link.broken is other:
            # The source was reset earlier, when we wrote to it; the error was spent there
            self._reset(half)
            return
        if link.needs_bytes and half is link.down and not (half.count or other.count or other.source_ended):
            self._reset(half, TunnelEnd.TARGET_SILENT)
            return
        if link.first_end is None:
            link.first_end = _BY_CLIENT if half is link.up else _BY_TARGET
        if other.is_done:
            link.is_over = True
            del self._table[half.source], self._table[half.sink]
            self._links.remove(link)
            link.close()
            link.end(link.first_end)
            return
        sink = link.target_socket if half is link.up else link.client_socket
        try:
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            return  # it was reset meanwhile, which its own half is told

    def _sink_broke(self, half: Half) -> None:
        """The sink has reset. What it sent before is still owed to the other side."""
        link, other = half.link, half.other
        half.is_done, half.is_calm, other.is_calm = True, False, False
        half.pending = b""
        half.release(self.pipes)
        link.broken = half
        if other.is_done:
            self._reset(other)
            return
        other.is_ending = True
        if not other.is_queued:
            self._run(other)

    def _reset(self, half: Half, end: TunnelEnd | None = None) -> None:
        """The source of `half` was reset: its sink gets a RST too, once it has all that it is owed."""
        link = half.link
        if link.is_over:
            return
        is_client = half is link.up
        how = end or (TunnelEnd.CLIENT_RESET if is_client else TunnelEnd.TARGET_RESET)
        near, far = link.client_socket, link.target_socket
        dead, owed = (near, far) if is_client else (far, near)
        self._forget(link)
        self._epoll.unregister(owed.fileno())
        reset_socket(dead)

        def done() -> None:
            self._resets.pop(link, None)
            self._links.discard(link)
            link.end(how)

        reset = DeliverThenReset(owed, done)
        if link in self._links:
            self._resets[link] = reset

    def _forget(self, link: Link) -> None:
        """Take both sockets out of the tables, and give pipes back; closing takes them out of the epoll."""
        if link.is_over:
            return
        link.is_over = True
        for half in (link.up, link.down):
            if not half.is_done:
                half.is_done, half.is_calm = True, False
                half.pending = b""
                half.release(self.pipes)
            self._table.pop(half.source, None)
