"""The main job, step by step, told to a person: on an embedded server and proxy, or on somebody's own."""

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from protocol.packet import NONCE_BYTES, CloseHow, Operation, Packet, read_document, read_error
from protocol.sealing import Key
from relay.failure import AnswerLost, RelayError
from relay.foreign import UNANSWERED
from relay.framework_client import Backoff, FrameworkClient
from relay.packet_stream import PacketStream
from relay.route import Endpoint, Hop, Route
from relay.stream import Stream
from relay.tunnel import open_tunnel

PINGS = 4
# A closed way out often swallows the SYN: so long is enough to call it closed, and short enough to watch.
CLOSED_AFTER_SECONDS = 3.0


class NotProven(Exception):
    """A step did not show what it should; the message says why."""


@dataclass
class Proof:
    """Runs the steps, tells each, and keeps what was not proven."""

    say: Callable[[str], None]
    missed: list[str] = field(default_factory=list)
    steps: int = 0

    async def step(self, title: str, work: Callable[[], Awaitable[str]]) -> bool:
        """One step: its title, what it says while it works, and `ok` or `FAIL` with the reason."""
        self.steps += 1
        self.say(f"{self.steps}. {title}")
        try:
            result = await work()
        except (NotProven, RelayError) as error:
            self.say(f"   FAIL  {error}\n")
            self.missed.append(f"{title}: {error}")
            return False
        self.say(f"   ok    {result}\n")
        return True


class Demonstration:
    """The steps, each a method that returns what it has shown or raises.

    Raises: NotProven, RelayError.
    """

    def __init__(
        self, route: Route, key: Key, say: Callable[[str], None], timeout_seconds: float = 10.0
    ) -> None:
        self._route = route
        self._key = key
        self._say = say
        self._timeout_seconds = timeout_seconds
        self._nonce = secrets.token_bytes(NONCE_BYTES)
        self._own_ends: list[str] = []
        self._server_end: Endpoint | None = None

    def client(self, route: Route) -> FrameworkClient:
        """A client that remembers its own end of every connection it makes."""

        async def remember() -> Stream:
            stream = await open_tunnel(route, timeout_seconds=self._timeout_seconds)
            self._own_ends.append(str(Endpoint(*stream.fileno_socket().getsockname()[:2])))
            return stream

        quick = Backoff(first_seconds=0.05, most_seconds=1.0, give_up_seconds=self._timeout_seconds)
        return FrameworkClient(
            route, self._key, timeout_seconds=self._timeout_seconds, backoff=quick, open_stream=remember
        )

    async def ping(self, route: Route) -> str:
        """Four pings on one connection; their sizes and times are measured."""
        via = f" (via {route.via})" if route.hops else ""
        stream = await open_tunnel(route, timeout_seconds=self._timeout_seconds)
        packets = PacketStream(stream, self._key, str(route.target))
        try:
            async with asyncio.timeout(self._timeout_seconds):
                for seq in range(1, PINGS + 1):
                    before, began = packets.bytes_received, time.perf_counter()
                    await packets.send(Packet.ping())
                    if await packets.receive() != Packet.ping():
                        raise NotProven(f"{route.target} did not answer a ping: {UNANSWERED}")
                    milliseconds = (time.perf_counter() - began) * 1000
                    size = packets.bytes_received - before
                    told = f"{size} bytes from {route.target.host}: seq={seq} time={milliseconds:.2f} ms{via}"
                    self._say(f"   {told}")
        except TimeoutError:
            raise NotProven(f"{route.target} did not answer within {self._timeout_seconds:g} s") from None
        finally:
            await stream.aclose()
        return f"{PINGS} of {PINGS} pings answered"

    async def came_from_the_proxy(self, proxy_ends: Callable[[], set[str]] | None = None) -> str:
        """Leave a nonce with the server through the proxies; ask on another connection who brought it.

        Args: proxy_ends: the proxy's ends towards the server, where the proxy is ours and can tell.
        """
        self._own_ends.clear()
        async with self.client(self._route) as client:
            await self._ask(client, Packet.identify(self._nonce))
            async with self.client(self._route) as other:
                journal = read_document((await self._ask(other, Packet.journal(self._nonce))).argument)
            known = proxy_ends() if proxy_ends is not None else set()
        record = journal["records"][-1]
        self._server_end = Endpoint.parse(record["local"], "the server's own end")
        seen, own = record["peer"], self._own_ends
        self._say(f"   the server's journal: our nonce came from {seen}")
        self._say(f"   our own ends of these connections: {', '.join(own)}")
        if seen in own:
            raise NotProven(f"the server saw our own end {seen}: no proxy stands between")
        if proxy_ends is None:
            return f"it came from {seen}, which is none of our own ends"
        if seen not in known:
            raise NotProven(f"the server saw {seen}, which is no end of the proxy's either")
        return f"it came from {seen}, which is the proxy's own end"

    async def direct_is_closed(self) -> str:
        """The server may not be reached without the proxy, by its name or by its own address."""
        told: list[str] = []
        for target in dict.fromkeys(filter(None, (self._route.target, self._server_end))):
            try:
                stream = await open_tunnel(Route(target), timeout_seconds=CLOSED_AFTER_SECONDS)
            except RelayError as error:
                told.append(str(error))
                self._say(f"   {error}")
            else:
                await stream.aclose()
                raise NotProven(f"{target} can be reached without the proxy")
        return f"{len(told)} of {len(told)} direct ways are closed"

    async def made_anew(self) -> str:
        """Have the server reset the connection while a request waits; the next request gets a new one."""
        async with self.client(self._route) as client:
            await client.ping()
            try:
                await client.request(Packet.close(CloseHow.RST))
            except AnswerLost as error:
                self._say(f"   {error}")
            else:
                raise NotProven("the server did not reset the connection when asked to")
            await client.ping()
            if client.connections_made != 2:
                raise NotProven(f"{client.connections_made} connections were made; expected 2")
        return "killed mid-way, made anew, and the next ping was answered"

    async def shows_a_refusal(self, hop: Hop) -> str:
        """What a proxy that does not allow the port looks like."""
        try:
            route = Route(self._route.target, (hop,))
            stream = await open_tunnel(route, timeout_seconds=self._timeout_seconds)
        except RelayError as error:
            return f"the refusal is named: {error}"
        await stream.aclose()
        raise NotProven(f"{hop} let CONNECT {self._route.target} through")

    async def _ask(self, client: FrameworkClient, packet: Packet) -> Packet:
        reply = await client.request(packet)
        if not reply.is_ping and reply.operation is Operation.ERROR:
            raise NotProven(f"the server answered: {read_error(reply.argument)}")
        return reply


async def demonstrate_embedded(say: Callable[[str], None]) -> list[str]:
    """Server, proxy and a refusing proxy on loopback; returns what was not proven."""
    from relay.access import Access
    from relay.emulator import EmulatedServer
    from relay.proxy import ConnectProxy

    free = (Endpoint("127.0.0.1", 0),)
    proof = Proof(say)
    async with (
        EmulatedServer(free) as server,
        ConnectProxy(free) as proxy,
        ConnectProxy(free, access=Access(allow_ports=(range(443, 444),))) as strict,
    ):
        through = Route(server.endpoint, (Hop(proxy.endpoint),))
        say(f"Framework Server (emulated) on {server.endpoint}, HTTP proxy on {proxy.endpoint},")
        say(f"and a second proxy on {strict.endpoint} that only lets port 443 out.\n")
        show = Demonstration(through, server.key, say)
        await proof.step("Straight to the server", lambda: show.ping(Route(server.endpoint)))
        await proof.step("The same through the proxy, by CONNECT", lambda: show.ping(through))

        def proxy_ends() -> set[str]:
            return {tunnel.outgoing for tunnel in proxy.tunnels}

        await proof.step(
            "Did it really pass the proxy? The server's journal", lambda: show.came_from_the_proxy(proxy_ends)
        )
        await proof.step("The connection is killed mid-way", show.made_anew)
        await proof.step("A proxy that refuses the port", lambda: show.shows_a_refusal(Hop(strict.endpoint)))
    return proof.missed


async def demonstrate(
    route: Route, key: Key, *, direct_must_fail: bool, timeout_seconds: float, say: Callable[[str], None]
) -> list[str]:
    """The same steps on a server and proxies that are there already; returns what was not proven."""
    proof = Proof(say)
    show = Demonstration(route, key, say, timeout_seconds)
    say(f"Framework Server {route.target}, through {route.via}\n")
    if await proof.step("Framework traffic through the proxy", lambda: show.ping(route)):
        await proof.step("Did it really pass the proxy? The server's journal", show.came_from_the_proxy)
        await proof.step("The connection is killed mid-way", show.made_anew)
    if direct_must_fail:
        await proof.step("The direct way must be closed", show.direct_is_closed)
    return proof.missed


def run(work: Awaitable[list[str]]) -> list[str]:
    """Run a demonstration to its end."""

    async def bounded() -> list[str]:
        return await work

    return asyncio.run(bounded())
