"""Name lookup: a dead resolver holds nobody up, and one name is looked up once for all who ask at once."""

import asyncio
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from relay.lookup import look_up, look_up_within
from relay.lookups import Lookups, look_up_async

SOON_SECONDS = 10.0


class Resolver:
    """Stands in for getaddrinfo(3): `dead.example` waits, `no.example` is not there, all else is."""

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()
        self.goes_on = threading.Event()

    def __call__(self, host: str, port: int, **_: Any) -> list[tuple[Any, ...]]:
        self.asked[host] += 1
        if host == "dead.example":
            self.goes_on.wait(SOON_SECONDS)
        if host == "no.example":
            raise socket.gaierror(socket.EAI_NONAME, "not there")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.0.2.1", port))]


@pytest.fixture
def resolver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Resolver]:
    """Give a resolver of our own, in the place of the system's."""
    made = Resolver()
    monkeypatch.setattr(socket, "getaddrinfo", made)
    yield made
    made.goes_on.set()
    for thread in threading.enumerate():
        if thread.name.startswith("look up "):
            thread.join(SOON_SECONDS)


def found(port: int) -> list[Any]:
    return [(socket.AF_INET, ("192.0.2.1", port))]


async def test_a_dead_name_holds_up_no_other(resolver: Resolver) -> None:
    """A hundred lookups hang, more than any pool of threads has; one more is answered."""
    hanging = [asyncio.create_task(look_up_async("dead.example", port)) for port in range(100)]
    async with asyncio.timeout(SOON_SECONDS):
        assert found(7) == await look_up_async("here.example", 7)
        resolver.goes_on.set()
        assert [found(port) for port in range(100)] == await asyncio.gather(*hanging)


async def test_who_gives_up_gives_its_place_back(resolver: Resolver) -> None:
    """Three hundred who gave up do not keep the next one from its turn when the resolver is back."""
    for _ in range(2):
        asked = [asyncio.create_task(look_up_async("dead.example", 1)) for _ in range(150)]
        await asyncio.sleep(0)
        for task in asked:
            task.cancel()
        await asyncio.gather(*asked, return_exceptions=True)
    last = asyncio.create_task(look_up_async("here.example", 1))
    resolver.goes_on.set()
    async with asyncio.timeout(SOON_SECONDS):
        assert found(1) == await last


def test_the_blocking_lookup_has_a_limit(resolver: Resolver) -> None:
    """It ends in time, and a name that is not there is told at once."""
    began = time.monotonic()
    with pytest.raises(TimeoutError):
        look_up_within("dead.example", 1, 0.05)
    with pytest.raises(socket.gaierror):
        look_up_within("no.example", 1, SOON_SECONDS)
    assert found(1) == look_up_within("here.example", 1, SOON_SECONDS)
    assert time.monotonic() - began < SOON_SECONDS


def test_a_label_that_is_too_long_is_a_name_that_is_not_there() -> None:
    """The idna codec's own error does not come out."""
    with pytest.raises(socket.gaierror):
        look_up("a" * 64 + ".example", 1)


async def test_a_name_is_looked_up_once_for_all(resolver: Resolver) -> None:
    """Asked by many at once, and again soon after: one lookup; letters' case does not matter."""
    lookups = Lookups(keep_seconds=SOON_SECONDS)
    names = ["dead.example", "DEAD.example"] * 5
    asked = [asyncio.create_task(lookups.look_up(name, 1)) for name in names]
    await asyncio.sleep(0)
    asked.pop().cancel()
    resolver.goes_on.set()
    assert [found(1)] * 9 == await asyncio.gather(*asked)
    assert found(1) == await lookups.look_up("dead.example", 1)
    assert found(2) == await lookups.look_up("dead.example", 2)
    assert {"dead.example": 2} == resolver.asked
    await lookups.aclose()


async def test_what_was_not_found_is_asked_again(resolver: Resolver) -> None:
    """A failure is not kept, nor is an answer that has become old."""
    lookups = Lookups(keep_seconds=0.0)
    for _ in range(2):
        with pytest.raises(socket.gaierror):
            await lookups.look_up("no.example", 1)
        assert found(1) == await lookups.look_up("here.example", 1)
    assert {"no.example": 2, "here.example": 2} == resolver.asked
    await lookups.aclose()


async def test_the_end_waits_for_no_resolver(resolver: Resolver) -> None:
    """`aclose` ends who still waits."""
    lookups = Lookups()
    asked = asyncio.create_task(lookups.look_up("dead.example", 1))
    await asyncio.sleep(0)
    async with asyncio.timeout(SOON_SECONDS):
        await lookups.aclose()
        with pytest.raises(asyncio.CancelledError):
            await asked
