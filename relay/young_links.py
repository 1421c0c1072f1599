"""Tunnels that are open for a while: only then is it set up that a target which vanishes is noticed."""

import asyncio
from collections.abc import Set

from relay.link import Link
from relay.vanished import notice_vanished

# So long at most a tunnel goes without keep-alive probes, which cost five calls to set; most end before.
YOUNG_SECONDS = 15.0


class YoungLinks:
    """Args: links: all of them, young or not, as they come and go."""

    def __init__(self, links: Set[Link]) -> None:
        self._links = links
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self.are_waited_for = False

    def wait(self) -> None:
        """There is a young one, and nobody waits yet until it has grown up."""
        self.are_waited_for = True
        self._timer = self._loop.call_later(YOUNG_SECONDS, self._grow_up)

    def close(self) -> None:
        """Wait no more."""
        if self._timer is not None:
            self._timer.cancel()

    def _grow_up(self) -> None:
        self.are_waited_for = False
        for link in self._links:
            if link.is_young and not link.is_over:
                link.is_young = False
                notice_vanished(link.target_socket)
