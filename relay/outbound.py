"""Outbound: the way from the proxy to a target, straight or through a parent proxy."""

import asyncio
import socket
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

from protocol.proxy_protocol import Place, proxy_header
from protocol.schemes.basic import Basic
from relay.addresses import address_of
from relay.dial import literal_addresses
from relay.dialler import Dialler, RefusesAt
from relay.failure import RelayError, Stage, classify
from relay.refusal import through_parent
from relay.refused import Refused
from relay.request_head import RequestHead
from relay.route import Endpoint, Route
from relay.stream import Stream, TlsStream
from relay.tls import client_context
from relay.trace import Trace
from relay.tunnel import open_tunnel
from relay.upstream import TargetHeader, Upstream, chosen, fits


@dataclass(frozen=True)
class Ways:
    """What a profile says of the way out."""

    upstreams: tuple[Upstream, ...] = ()
    headers: tuple[TargetHeader, ...] = ()

    @cached_property
    def is_direct(self) -> bool:
        """Whether every target is dialled straight, and told nothing."""
        return not self.upstreams and not self.headers


@dataclass(frozen=True)
class Asker:
    """On whose behalf. via: the Via that a parent gets. refuses_at: asked of addresses of the target."""

    client: str = ""
    via: str = ""
    refuses_at: RefusesAt | None = None


@dataclass
class Reached:
    """An open way for a request: `is_absolute` when a `parent` expects the whole URI, with `fields`."""

    stream: Stream
    parent: str = ""
    fields: Sequence[tuple[bytes, bytes]] = field(default=())

    @property
    def is_absolute(self) -> bool:
        """Whether the request line is to have the whole URI (RFC 9112 section 3.2.2)."""
        return bool(self.parent)

    def fileno_socket(self) -> socket.socket:
        """The socket underneath."""
        return self.stream.fileno_socket()


class Outbound:
    """Args: dialler: of the direct way. ways: can be set anew."""

    def __init__(self, dialler: Dialler, ways: Ways) -> None:
        self.dialler = dialler
        self.ways = ways

    def parent_of(self, target: Endpoint) -> Upstream | None:
        """Which parents lead to a target; None: it is dialled."""
        return chosen(self.ways.upstreams, target)

    async def open(self, target: Endpoint, asker: Asker) -> Stream:
        """An open stream to `target`. Raises: RelayError, Refused."""
        parent = self.parent_of(target)
        if parent is None:
            stream: Stream = await self.dialler.dial(target, asker.refuses_at)
        else:
            self._check_literal(target, asker.refuses_at, parent)
            fields = (("Via", asker.via),) if asker.via else ()
            stream = await self._through(parent, Route(target, parent.hops, fields=fields))
        await self._introduce(stream, target, asker, is_direct=parent is None)
        return stream

    async def open_for_request(self, target: Endpoint, asker: Asker) -> Reached:
        """The way for a request for an http URI. Raises: RelayError, Refused."""
        parent = self.parent_of(target)
        if parent is None or not parent.forwards:
            return Reached(await self.open(target, asker))
        self._check_literal(target, asker.refuses_at, parent)
        last = parent.hops[-1]
        stream = await self._through(parent, Route(last.endpoint, parent.hops[:-1]))
        if last.tls:
            stream = wrapped = TlsStream(stream, client_context(last), last.server_name or last.endpoint.host)
            try:
                async with asyncio.timeout(parent.timeout_seconds):
                    await wrapped.handshake()
            except OSError as error:
                stream.reset()
                raised = classify(error, Stage.TLS, str(last), len(parent.hops) - 1)
                raise Refused(through_parent(raised, parent.name)) from error
            except BaseException:  # cancelled as well: nobody else has the socket yet
                stream.reset()
                raise
        fields = []
        if last.user is not None:
            words = Basic(last.user, last.password or "", charset=last.login.charset).step([])
            fields.append((b"Proxy-Authorization", str(words).encode("latin-1")))
        return Reached(stream, parent.name, fields)

    def _check_literal(self, target: Endpoint, refuses_at: RefusesAt | None, parent: Upstream) -> None:
        """An address is judged here; a name goes to the parent as it is. Raises: RelayError, Refused."""
        trace = Trace(parent.timeout_seconds)
        for address in literal_addresses(target.host, target.port) or ():
            with trace.step(Stage.CONNECT, str(target)):
                self.dialler.check(address, target)
            if refuses_at is not None and (refusal := refuses_at(str(address[1][0]))):
                raise Refused(refusal)

    async def _through(self, parent: Upstream, route: Route) -> Stream:
        try:
            return await open_tunnel(route, timeout_seconds=parent.timeout_seconds)
        except RelayError as error:
            raise Refused(through_parent(error, parent.name)) from error

    async def _introduce(self, stream: Stream, target: Endpoint, asker: Asker, *, is_direct: bool) -> None:
        """Tell the target whose connection it is, if it wants to know."""
        header = next((row for row in self.ways.headers if fits(row.rule, target)), None)
        if header is None:
            return
        try:
            await stream.write(proxy_header(header.version, *_ends(stream, target, asker, is_direct)))
        except OSError as error:
            stream.reset()
            raise classify(error, Stage.CONNECT, str(target)) from error
        except BaseException:  # cancelled as well: nobody else has the socket yet
            stream.reset()
            raise


def _ends(
    stream: Stream, target: Endpoint, asker: Asker, is_direct: bool
) -> tuple[Place | None, Place | None]:
    """Where the client is, and the target's address, as far as both are addresses."""
    source = None
    if (address := address_of(asker.client)) is not None:
        source = (str(address), int(asker.client.rpartition(":")[2]))
    if is_direct:
        there = stream.fileno_socket().getpeername()
        return source, (there[0], there[1])
    return source, (target.host, target.port) if target.is_literal else None


def via_of(head: RequestHead, via: str) -> str:
    """The Via of a request as it goes on: those it has, and ours (RFC 9110 section 7.6.3)."""
    received = [value.decode("latin-1") for value in head.values(b"via")]
    text = ", ".join([*received, "{}.{} ".format(*head.line.version) + via])
    # Octets beyond ASCII, which a comment may have, say nothing that a parent needs
    return "".join(c if " " <= c <= "~" else " " for c in text).strip()
