"""Faults that are added to open connections, changed, and taken away again, as toxiproxy's toxics are."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterable
from typing import Protocol

from relay.fault import Ahead, Chunk, Chunks, close
from relay.fault_plan import Wrap


class Part(Protocol):
    """One fault of a connection. `wrap` None lets everything through."""

    @property
    def wrap(self) -> Wrap | None: ...

    @property
    def keeps_bytes(self) -> bool:
        """Whether all that goes in comes out: what it holds back is passed on when it changes."""
        ...


class Slot:
    """The place of one fault in one direction of one connection; it stays when the fault goes."""

    def __init__(self, part: Part) -> None:
        self._part = part
        self._is_cut = False
        self._changed = asyncio.Event()
        self._held: deque[Chunk] = deque()

    def change(self, part: Part) -> None:
        """Go on with another fault; what the old one held back goes through the new one."""
        self._part = part
        self._changed.set()

    def cut(self) -> None:
        """Close the connection both ways."""
        self._is_cut = True
        self._changed.set()

    async def run(self, ahead: Ahead) -> Chunks:
        """Pass chunks through the fault of the moment."""
        while not self._is_cut:
            self._changed.clear()
            wrap = self._part.wrap or _through
            inner = wrap(self._feed(ahead))
            outputs = Ahead(inner)
            try:
                async for chunk in _until(outputs, self._changed):
                    self._has_passed(len(chunk.data))
                    yield chunk
            finally:
                await outputs.aclose()
                await close(inner)
            if not self._changed.is_set():
                return

    async def _feed(self, ahead: Ahead) -> Chunks:
        """What an earlier fault held back, and then what comes."""
        again, self._held = self._held, deque()
        while again:
            chunk = again.popleft()
            self._hold(chunk)
            yield chunk
        while (fresh := await ahead.next()) is not None:
            self._hold(fresh)
            yield fresh

    def _hold(self, chunk: Chunk) -> None:
        if self._part.keeps_bytes:
            self._held.append(chunk)

    def _has_passed(self, size: int) -> None:
        while size and self._held:
            first = self._held.popleft()
            if len(first.data) > size:
                self._held.appendleft(first.with_data(first.data[size:]))
            size -= min(size, len(first.data))


class LiveFaults:
    """The faults of one direction of one connection."""

    def __init__(self, parts: Iterable[tuple[str, Part]]) -> None:
        self._slots: dict[str, Slot] = {}
        self._order: list[Slot] = []
        self._has_grown = asyncio.Event()
        for name, part in parts:
            self.add(name, part)

    def add(self, name: str, part: Part) -> None:
        """One more, behind those that are there."""
        slot = Slot(part)
        self._slots[name] = slot
        self._order.append(slot)
        self._has_grown.set()

    def change(self, name: str, part: Part) -> None:
        """Another one of that name, if it is there."""
        if name in self._slots:
            self._slots[name].change(part)

    def remove(self, name: str, *, cuts: bool) -> None:
        """Take one away. cuts: the connection ends by that."""
        slot = self._slots.pop(name, None)
        if slot is not None and cuts:
            slot.cut()
        elif slot is not None:
            slot.change(NOTHING)

    async def wrap(self, chunks: Chunks) -> Chunks:
        """Pass chunks through all of them."""
        stages: list[tuple[Ahead, Chunks]] = [(Ahead(chunks), chunks)]
        built = 0
        try:
            while True:
                self._has_grown.clear()
                for slot in self._order[built:]:
                    stage = slot.run(stages[-1][0])
                    stages.append((Ahead(stage), stage))
                    built += 1
                async for chunk in _until(stages[-1][0], self._has_grown):
                    yield chunk
                if not self._has_grown.is_set():
                    return
        finally:
            for ahead, stage in reversed(stages):
                await ahead.aclose()
                await close(stage)


class _Nothing:
    wrap: Wrap | None = None
    keeps_bytes = True


NOTHING = _Nothing()


async def _through(chunks: Chunks) -> Chunks:
    async for chunk in chunks:
        yield chunk


async def _until(ahead: Ahead, event: asyncio.Event) -> AsyncIterator[Chunk]:
    """Chunks, up to the end or the event; none is lost by it."""
    waiting = asyncio.create_task(event.wait())
    try:
        while not event.is_set():
            chunk = await ahead.next_before(waiting)
            if chunk is None:
                return
            yield chunk
    finally:
        waiting.cancel()


