"""`relay check --watch`: check again and again, keep connections open meanwhile, judge all runs together."""

import asyncio
import contextlib
import json
import signal
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any, TypeVar

from protocol.packet import Packet
from protocol.sealing import Key
from relay.catalogue import causes
from relay.diagnosis import Verdict, diagnose
from relay.failure import RelayError
from relay.finding import Findings
from relay.given import Round, history
from relay.packet_stream import PacketStream
from relay.report import Told, document
from relay.route import Route
from relay.tunnel import open_tunnel

Result = TypeVar("Result")

HELD_CONNECTIONS = 3
"""Kept open from run to run: when all die at once while new ones work, a firewall has lost its state."""

MAX_ROUNDS = 10_000
"""That are kept to be judged: a month of one each five minutes. The oldest go first."""

ANSWER_SECONDS = 3.0


class Watch:
    """Runs on one path, and connections that are held open between them."""

    def __init__(self, route: Route, key: Key, measure: Callable[[], Awaitable[Findings]]) -> None:
        self._route, self._key, self._measure = route, key, measure
        self._held: list[PacketStream] = []
        self.rounds: list[Round] = []

    async def run(self, every_seconds: float, count: int | None, tell: Callable[[Round], None]) -> None:
        """Check each `every_seconds`, `count` times or until cancelled; `tell` hears of each run."""
        number = 0
        try:
            while True:
                tell(await self._round())
                number += 1
                if number == count:
                    return
                await asyncio.sleep(every_seconds)
        finally:
            for packets in self._held:
                with contextlib.suppress(OSError, RelayError):
                    await packets.aclose()

    async def _round(self) -> Round:
        held = len(self._held)
        lived = [packets for packets in self._held if await self._is_alive(packets)]
        self._held = lived
        found = await self._measure()
        made = Round(found, diagnose(found, causes()).verdict, held, held - len(lived))
        if made.verdict is Verdict.GOOD:
            await self._hold()
        self.rounds = [*self.rounds, made][-MAX_ROUNDS:]
        return made

    async def _hold(self) -> None:
        while len(self._held) < HELD_CONNECTIONS:
            try:
                stream = await open_tunnel(self._route, timeout_seconds=ANSWER_SECONDS)
            except RelayError:
                return
            self._held.append(PacketStream(stream, self._key, str(self._route.target)))

    async def _is_alive(self, packets: PacketStream) -> bool:
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                await packets.send(Packet.ping())
                if await packets.receive() is not None:
                    return True
        except (RelayError, TimeoutError):
            # Reset: it is given up with an answer outstanding
            packets.reset()
            return False
        await packets.aclose()
        return False

    def judged(self) -> Findings:
        """The last run with what all of them have in common."""
        last = self.rounds[-1].found
        return replace(last, findings=(*last.findings, history(self.rounds)))


def line_of(made: Round) -> str:
    """One line for people."""
    told = Told(made.found, diagnose(made.found, causes()))
    lost = f"; {made.lost} of {made.held} connections that were held open have died" if made.lost else ""
    return f"{made.found.began} {made.verdict:<8} {told.headline}{lost}"


def json_of(made: Round) -> str:
    """One line for machines: the JSON report, with held and lost."""
    told = Told(made.found, diagnose(made.found, causes()))
    return json.dumps({**document(told), "held": made.held, "lost": made.lost}, ensure_ascii=False)


def until_ended(work: Callable[[], Awaitable[Result]]) -> Result:
    """Run it in an event loop of its own. Raises: KeyboardInterrupt for SIGTERM as for ^C."""

    async def whole() -> Result:
        task = asyncio.current_task()
        assert task is not None
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
        return await work()

    try:
        return asyncio.run(whole())
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None


def watched(watch: Watch, options: Any) -> Findings:
    """Watch until the count is reached or somebody ends it; then the last run, judged with all others.

    Raises: KeyboardInterrupt when it was ended before the first run was.
    """

    def tell(made: Round) -> None:
        print(json_of(made) if options.json else line_of(made), flush=True)

    try:
        until_ended(lambda: watch.run(options.watch, options.count, tell))
    except KeyboardInterrupt:
        if not watch.rounds:
            raise
    return watch.judged()
