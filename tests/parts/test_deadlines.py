"""Deadlines: one timer for all who have the same time, also when that time changes."""

import asyncio

import pytest

from relay.deadlines import Deadlines
from tests.parts.virtual_time import in_virtual_time


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (5.0, [("first", 5.0), ("second", 6.0), ("third", 7.0)]),
        (0.5, [("first", 2.0), ("second", 2.0), ("third", 2.5)]),
    ],
)
def test_another_time_holds_for_those_that_wait(seconds: float, expected: list[tuple[str, float]]) -> None:
    """Each has it from its own beginning; what is over by then ends at once."""

    async def work() -> list[tuple[str, float]]:
        loop, over = asyncio.get_running_loop(), list[tuple[str, float]]()
        deadlines = Deadlines[str](10.0, lambda one: over.append((one, loop.time())))
        deadlines.add("first")
        await asyncio.sleep(1.0)
        deadlines.add("second")
        await asyncio.sleep(1.0)
        deadlines.change(seconds)
        deadlines.add("third")
        await asyncio.sleep(20.0)
        assert {} == deadlines.waiting
        return over

    assert expected == in_virtual_time(work())


def test_one_that_ends_another() -> None:
    """Whoever is taken off while others end is not ended; one that comes then has its whole time."""

    async def work() -> list[tuple[int, float]]:
        loop, over = asyncio.get_running_loop(), list[tuple[int, float]]()

        def ended(one: int) -> None:
            over.append((one, loop.time()))
            if one == 1:
                deadlines.remove(2)
                deadlines.add(4)

        deadlines = Deadlines[int](1.0, ended)
        for one in (1, 2, 3):
            deadlines.add(one)
        await asyncio.sleep(10.0)
        return over

    assert [(1, 1.0), (3, 1.0), (4, 2.0)] == in_virtual_time(work())


def test_many_that_are_over_are_met_once_each() -> None:
    """A crowd that is over at the same time is walked through once, not once for each of them."""

    class Counted(dict[int, float]):
        walks = 0

        def __iter__(self):  # type: ignore[no-untyped-def]
            Counted.walks += 1
            return super().__iter__()

        def items(self):  # type: ignore[no-untyped-def]
            Counted.walks += 1
            return super().items()

    async def work() -> int:
        over: list[int] = []
        deadlines = Deadlines[int](1.0, over.append)
        deadlines.waiting = Counted()
        for one in range(5_000):
            deadlines.add(one)
        await asyncio.sleep(2.0)
        assert list(range(5_000)) == over
        return Counted.walks

    assert in_virtual_time(work()) <= 2
