"""Front: the listeners of a proxy, and who accepts from each of them."""

import asyncio
import socket
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from relay.express import ExpressLane
from relay.failure import SettingsError
from relay.listener import Bound, Listener, open_listeners
from relay.listening import BACKLOG, accept_no_more, bound_endpoint, listen_on, those_waiting
from relay.reception import Reception
from relay.route import Endpoint
from relay.tls_listen import server_context
from relay.vanished import notice_vanished

if TYPE_CHECKING:
    from relay.takeover import RawServer


class Front:
    """Args:
    plain: endpoints of plain TCP. sockets: listen on these, bound already, instead; ours to close.
    listeners: the others. bound: those, open already; ours to close.
    """

    def __init__(
        self, plain: Sequence[Endpoint], sockets: Sequence[socket.socket] | None,
        listeners: Sequence[Listener], bound: Sequence[Bound] | None,
    ) -> None:  # fmt: skip
        self._plain = plain
        self._given_sockets = sockets
        self._listeners = listeners
        self._given = bound
        self.sockets: list[socket.socket] = []
        self.bound: list[Bound] = []
        self._server: RawServer | None = None
        self._servers: list[asyncio.Server] = []
        self._express: ExpressLane | None = None
        self._reception: Reception | None = None

    @property
    def endpoints(self) -> list[Endpoint]:
        """Where it really listens; Unix sockets are none."""
        found = [bound_endpoint(sock) for sock in self.sockets]
        return found + [endpoint for one in self.bound if (endpoint := one.endpoint) is not None]

    @property
    def places(self) -> list[str]:
        """Every listener, for people."""
        return [*(str(bound_endpoint(sock)) for sock in self.sockets), *map(str, self.bound)]

    @property
    def silent(self) -> int:
        """Connections that have not begun with a request, and those of HTTP/2."""
        arriving = len(self._reception) if self._reception is not None else 0
        return arriving + (len(self._express) if self._express is not None else 0)

    def open(self) -> None:
        """Bind and listen. Raises: OSError that names the address, SettingsError; nothing stays open then."""
        given = self._given_sockets
        self.sockets = list(given if given is not None else listen_on(self._plain))
        try:
            self.bound = list(self._given if self._given is not None else open_listeners(self._listeners))
        except (OSError, SettingsError):
            self._close_listeners()
            raise
        for sock in (*self.sockets, *(one.sock for one in self.bound if one.endpoint is not None)):
            # Accepted sockets have these of their listener
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            notice_vanished(sock)

    async def begin(
        self, server: "RawServer", lane: Callable[[Sequence[socket.socket]], ExpressLane] | None,
        reception: Callable[[Sequence[Bound]], Reception],
    ) -> None:  # fmt: skip
        """Accept. Args: lane: accepts from the plain ones; without one it is `server`."""
        if self.bound:
            self._reception = reception(self.bound)
        if lane is not None:
            self._express = lane(self.sockets)
            return
        self._server = server
        loop = asyncio.get_running_loop()
        for sock in self.sockets:
            self._servers.append(await loop.create_server(server, sock=sock, backlog=BACKLOG))

    async def accept_no_more(self) -> None:
        """Take those who have come by now, and close the listeners."""
        for server in self._servers:
            accept_no_more(server)
        if self._servers:
            # What has been accepted becomes a connection within a few turns, before its server may be closed
            await asyncio.sleep(0.01)
        if self._reception is not None:
            await self._reception.accept_no_more()
            await self._reception.accept_the_last()
        if self._express is not None:
            self._express.accept_the_last()
            self._express.accept_no_more()
        elif self._server is not None:
            loop = asyncio.get_running_loop()
            for listener in self.sockets:
                for sock in those_waiting(listener):
                    await loop.connect_accepted_socket(self._server, sock)
        self._close_listeners()

    def renew(self, listeners: Sequence[Listener]) -> None:
        """Read the certificates again; a throw-away one stays. Raises: SettingsError."""
        known = [one.listener for one in self.bound]
        found = [
            server_context(listener.tls, listener.on)
            for listener in known
            if listener.tls is not None and listener.tls.certificate is not None and listener in listeners
        ]
        fresh = iter(found)
        for one in self.bound:
            tls = one.listener.tls
            if tls is not None and tls.certificate is not None and one.listener in listeners:
                one.context = next(fresh)

    def end_silent(self) -> None:
        """Close the connections that have not sent anything."""
        if self._express is not None:
            self._express.end_silent()
        if self._reception is not None:
            self._reception.end_idle()

    def change_connect_timeout(self, seconds: float) -> None:
        """Targets that are dialled now have this long as well."""
        if self._express is not None:
            self._express.change_connect_timeout(seconds)

    async def stop(self) -> None:
        """Accept no more, and reset what has not become a connection of the HTTP server."""
        if self._express is not None:
            self._express.close()
            self._express = None
        for server in self._servers:
            accept_no_more(server)
        if self._reception is not None:
            await self._reception.aclose()
            self._reception = None

    def close(self) -> None:
        """Close the listeners, after `stop`."""
        self._close_listeners()
        self._servers.clear()

    def _close_listeners(self) -> None:
        for server in self._servers:
            server.close()
        for sock in self.sockets:
            sock.close()
        self.sockets.clear()
        for one in self.bound:
            if self._given is None:
                one.remove()
            one.sock.close()
        self.bound.clear()
