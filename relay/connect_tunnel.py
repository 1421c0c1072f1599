"""One CONNECT tunnel of the proxy, from the dial to its end."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from relay.data_plane import Carriage, DataPlane
from relay.failure import RelayError
from relay.fault_answer import ESTABLISHED
from relay.fault_path import FaultPath
from relay.fault_plan import BoundFaults
from relay.link import Link
from relay.pump_end import Counters, TunnelEnd
from relay.refusal import Refusal, unreachable
from relay.refused import Refused, linger_close
from relay.route import Endpoint
from relay.stream import Stream


def named(address: tuple[str, int]) -> str:
    """HOST:PORT of a socket's own end or its peer's."""
    host, port = address[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


@dataclass(eq=False, slots=True)
class Tunnel:
    """One tunnel, open or being dialled. `status` and `ended` are final when `on_end` is called.

    established, reply: what the client is told when the target is reached, and when it is not.
    """

    client: str
    target: Endpoint
    began_seconds: float
    on_end: Callable[["Tunnel"], None]
    carriage: Carriage | Link | None = None
    own_end: tuple[str, int] | None = None
    status: int = 0
    ended: str = str(TunnelEnd.STOPPED)
    refusal: Refusal | None = None
    established: bytes = ESTABLISHED
    reply: Callable[[Refusal], bytes] = Refusal.reply

    @property
    def outgoing(self) -> str:
        """Our own end towards the target, HOST:PORT; "" while there is none."""
        return "" if self.own_end is None else named(self.own_end)

    @property
    def counters(self) -> Counters:
        """Bytes carried so far, live."""
        return self.carriage.counters if self.carriage is not None else Counters()

    @property
    def way(self) -> dict[str, str]:
        """Our own end towards the target, by which the target knows the tunnel, and how the bytes go."""
        return {} if self.carriage is None else {"outgoing": self.outgoing, "path": self.carriage.path}

    async def run(
        self,
        client: Stream,
        dial: Callable[[Endpoint], Awaitable[Stream]],
        plane: DataPlane,
        faults: BoundFaults | None = None,
    ) -> None:
        """Dial, answer, and hand both sides to the data plane, which goes on when this has returned.

        `client` is ours to close. With `faults` this returns when the tunnel has ended.
        """
        if faults is not None:
            await self._run_with_faults(client, dial, faults)
            return
        is_carried = False
        try:
            target = await dial(self.target)
            is_carried = await self._carry(client, target, plane)
        except (RelayError, Refused) as error:
            await self._linger(client, error.refusal if isinstance(error, Refused) else unreachable(error))
        finally:
            if not is_carried:
                client.reset()
                self.on_end(self)

    async def refuse(self, client: Stream, refusal: Refusal) -> None:
        """Say no to the client, whose connection is ours to close, and end."""
        try:
            await self._linger(client, refusal)
        finally:
            self.on_end(self)

    async def _linger(self, client: Stream, refusal: Refusal) -> None:
        self.refusal, self.status, self.ended = refusal, int(refusal.status), "refused"
        await linger_close(client, self.reply(refusal))

    async def _run_with_faults(
        self, client: Stream, dial: Callable[[Endpoint], Awaitable[Stream]], faults: BoundFaults
    ) -> None:
        async def open_target() -> Stream:
            try:
                target = await dial(self.target)
            except RelayError as error:
                raise Refused(unreachable(error)) from error
            self.own_end = target.fileno_socket().getsockname()
            return target

        counters = Counters()
        path = FaultPath(client, open_target, faults, counters, self.established, self.reply)
        self.carriage = Carriage("faults", counters)
        try:
            self.ended = str(await path.run())
        finally:
            self.status = path.status
            if path.refused is not None:
                self.refusal, self.ended = path.refused.refusal, "refused"
            self.on_end(self)

    async def _carry(self, client: Stream, target: Stream, plane: DataPlane) -> bool:
        try:
            await client.write(self.established)
        except OSError:
            # It left while we dialled
            self.ended = str(TunnelEnd.CLIENT_RESET)
            target.reset()
            return False
        except BaseException:
            # Cancelled: nobody else has the target yet, and its peer must not take this for a clean end
            target.reset()
            raise
        self.status = 200
        self.own_end = target.fileno_socket().getsockname()
        self.carriage = plane.carry(client, target, self.carried)
        return True

    def carried(self, end: TunnelEnd) -> None:
        """The data plane has ended it."""
        self.ended = str(end)
        self.on_end(self)
