"""FaultPath: one tunnel that has faults, from its dial to its end; every byte passes through user space."""

import asyncio
import re
from collections.abc import Awaitable, Callable
from contextlib import suppress
from enum import Enum, auto

from relay.fault import Chunk, Chunks, Cut, Direction, HardReset, PeerReset, close, now
from relay.fault_answer import ESTABLISHED
from relay.fault_plan import BoundFaults, Wrap
from relay.intake import Intake
from relay.pump import reset_when_delivered
from relay.pump_end import Counters, TunnelEnd
from relay.refusal import Refusal
from relay.refused import Refused, linger_close
from relay.stream import SocketStream, Stream
from relay.vanished import is_dead

# How often a side is looked at that nobody reads from and nobody writes to.
LOOK_SECONDS = 2.0
# After both sides' last words, or the client's before it had an answer, nobody waits longer for a silence.
ABANDONED_SECONDS = 60.0
# A head may come in pieces, and behind 1xx heads.
_STATUS = re.compile(rb"(?:\A|\r\n\r\n)HTTP/1\.[01] ([2-9][0-9]{2}) ")
MAX_SAID_BYTES = 4096

Dial = Callable[[], Awaitable[Stream]]


class _End(Enum):
    """How one direction came to its end."""

    EOF = auto()
    SOURCE_RESET = auto()
    SINK_BROKEN = auto()
    CUT = auto()
    RESET = auto()


class FaultPath:
    """Dials, answers and carries, each direction through its faults.

    Args:
        client: ours to close, also when `run` fails.
        dial: opens the target; it is called when a fault, or the tunnel, asks for the reply to CONNECT.
        established: that reply; empty where the client did not ask by CONNECT.
        reply: what the client is told when the target is refused; not where `established` is empty.
        counters: bytes that were handed on, without the reply.
    """

    def __init__(
        self,
        client: Stream,
        dial: Dial,
        faults: BoundFaults,
        counters: Counters,
        established: bytes = ESTABLISHED,
        reply: Callable[[Refusal], bytes] = Refusal.reply,
    ) -> None:
        self.status = 0
        self.refused: Refused | None = None
        self._said = bytearray()
        self._carried_seconds = now()
        self._client = client
        self._dial = dial
        self._faults = faults
        self._counters = counters
        self._established = established
        self._reply = reply
        self._target: asyncio.Future[Stream] = asyncio.get_running_loop().create_future()
        self._is_answered = asyncio.Event()
        self._from_client = Intake(client, is_early=True)
        self._from_target: Intake | None = None
        self._stages: list[Chunks] = []

    @property
    def target(self) -> Stream | None:
        """The target, once it is dialled."""
        return self._target.result() if self._target.done() else None

    async def run(self) -> TunnelEnd:
        """Carry until both directions have ended; both streams are closed then.

        Raises: asyncio.CancelledError, after both were reset.
        """
        up = asyncio.create_task(self._carry_up())
        down = asyncio.create_task(self._carry_down())
        try:
            end = await self._watch(up, down)
            await self._stop(up, down)
            return await self._finish(*end)
        except BaseException:
            # Cancelled, or a fault with a mistake in it: neither side may wait for bytes that nobody carries
            await self._stop(up, down)
            for stream in self._streams():
                stream.reset()
            raise

    async def _carry_up(self) -> _End:
        # A fault's clock starts when the tunnel opens
        await self._is_answered.wait()
        chunks = self._through(self._from_client.chunks(), self._faults.up)
        return await self._carry(chunks, self._send_up, lambda: self._from_client)

    async def _carry_down(self) -> _End:
        chunks = self._through(self._answer_and_rest(), self._faults.down)
        return await self._carry(chunks, self._send_down, lambda: self._from_target)

    async def _answer_and_rest(self) -> Chunks:
        try:
            target = await self._dial()
        except Refused as error:
            self.refused = error
            reply = self._reply(error.refusal) if self._established else b""
            yield Chunk(reply, now(), is_head=True, is_refusal=True)
            return
        if self._faults.interception is not None:
            assert isinstance(target, SocketStream)
            target = self._faults.interception.open(target)
        self._target.set_result(target)
        self._from_target = Intake(target)
        yield Chunk(self._established, now(), is_head=True)
        async for chunk in self._from_target.chunks():
            yield chunk

    def _through(self, chunks: Chunks, wraps: tuple[Wrap, ...]) -> Chunks:
        self._stages.append(chunks)
        for wrap in wraps:
            chunks = wrap(chunks)
            self._stages.append(chunks)
        return chunks

    async def _carry(
        self, chunks: Chunks, send: Callable[[Chunk], Awaitable[None]], intake: Callable[[], Intake | None]
    ) -> _End:
        try:
            async for chunk in chunks:
                try:
                    await send(chunk)
                except OSError:
                    return _End.SINK_BROKEN
        except HardReset:
            return _End.RESET
        except PeerReset:
            return _End.SOURCE_RESET
        except Cut:
            return _End.CUT
        source = intake()
        return _End.EOF if source is not None and source.is_exhausted else _End.CUT

    async def _send_up(self, chunk: Chunk) -> None:
        target = await asyncio.shield(self._target)
        self._carried_seconds = now()
        if chunk.data:
            await target.write(chunk.data)
            self._counters.up += len(chunk.data)

    async def _send_down(self, chunk: Chunk) -> None:
        self._carried_seconds = now()
        if chunk.data:
            await self._client.write(chunk.data)
        if not chunk.is_head:
            self._counters.down += len(chunk.data)
            return
        if not self.status and len(self._said) < MAX_SAID_BYTES:
            self._said += chunk.data[:MAX_SAID_BYTES]
            if match := _STATUS.search(self._said):
                self.status = int(match[1])
        self._from_client.is_early = False
        self._is_answered.set()

    async def _watch(self, up: "asyncio.Task[_End]", down: "asyncio.Task[_End]") -> tuple[Direction, _End]:
        """Wait for the end: of which direction, and how; EOF of the first is passed on before."""
        tasks = {Direction.UP: up, Direction.DOWN: down}
        passed_on: list[Direction] = []
        while True:
            left = [task for way, task in tasks.items() if way not in passed_on]
            await asyncio.wait(left, timeout=LOOK_SECONDS, return_when=asyncio.FIRST_COMPLETED)
            for way, task in tasks.items():
                if way in passed_on or not task.done():
                    continue
                end = task.result()
                if end is _End.SINK_BROKEN and not passed_on:
                    # What the broken side had sent before is still owed to the other
                    await self._drain(tasks[_other(way)])
                if end is not _End.EOF or passed_on:
                    return way, end
                passed_on.append(way)
                await self._pass_on_fin(way)
            if passed_on and self._has_vanished(passed_on[0]):
                return _other(passed_on[0]), _End.SINK_BROKEN
            if self._is_abandoned():
                return Direction.UP, _End.CUT

    async def _drain(self, other: "asyncio.Task[_End]") -> None:
        carried = -1
        while not other.done() and carried != self._counters.up + self._counters.down:
            carried = self._counters.up + self._counters.down
            await asyncio.wait({other}, timeout=LOOK_SECONDS)

    def _has_vanished(self, ended: Direction) -> bool:
        """Whether the side that has said its last word is gone: nobody reads from it any more."""
        source = self._client if ended is Direction.UP else self.target
        return source is not None and is_dead(source.fileno_socket())

    def _is_abandoned(self) -> bool:
        """Whether nobody can be waiting: a fault may hold on to what both sides have long left."""
        target = self._from_target
        if self._from_client.ended_seconds is None or (target is not None and target.ended_seconds is None):
            return False
        was_reset = self._from_client.was_reset and target is None
        return was_reset or now() - self._carried_seconds > ABANDONED_SECONDS

    async def _pass_on_fin(self, way: Direction) -> None:
        sink = await asyncio.shield(self._target) if way is Direction.UP else self._client
        intake = self._from_target if way is Direction.UP else self._from_client
        assert intake is not None
        intake.has_our_fin = True
        await sink.half_close()

    async def _stop(self, *tasks: "asyncio.Task[_End]") -> None:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for stage in reversed(self._stages):
            await close(stage)
        for intake in (self._from_client, self._from_target):
            if intake is not None:
                await intake.aclose()
        if self._faults.interception is not None:
            await self._faults.interception.aclose()

    async def _finish(self, way: Direction, end: _End) -> TunnelEnd:
        source, sink = (self._client, self.target) if way is Direction.UP else (self.target, self._client)
        match end:
            case _End.EOF:
                await asyncio.gather(*(stream.aclose() for stream in self._streams()))
                return TunnelEnd.TARGET_CLOSED if way is Direction.UP else TunnelEnd.CLIENT_CLOSED
            case _End.CUT:
                await self._close_both()
                return TunnelEnd.FAULT_CLOSED
            case _End.RESET:
                await asyncio.gather(*(reset_when_delivered(stream) for stream in self._streams()))
                return TunnelEnd.FAULT_RESET
            case _End.SOURCE_RESET:
                dead, owed = source, sink
            case _:
                dead, owed = sink, source
        if dead is not None:
            dead.reset()
        if owed is not None:
            await reset_when_delivered(owed)
        return TunnelEnd.CLIENT_RESET if dead is self._client else TunnelEnd.TARGET_RESET

    async def _close_both(self) -> None:
        """FIN to both, and read what still comes: a close that leaves bytes unread is a RST on the wire."""
        streams = self._streams()
        for stream in streams:
            with suppress(OSError):
                await stream.half_close()
        await asyncio.gather(*(linger_close(stream, b"") for stream in streams))

    def _streams(self) -> list[Stream]:
        target = self.target
        return [self._client] if target is None else [self._client, target]


def _other(way: Direction) -> Direction:
    return Direction.DOWN if way is Direction.UP else Direction.UP
