"""Accounts: a right password is remembered, a wrong one never, and checks do not pile up."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from relay.accounts import MAX_WAITING, REMEMBERED_SECONDS, Accounts
from relay.refused import Refused
from relay.users import Users


class Counted(Users):
    """Users whose checks are counted; each password is its user's name."""

    def __init__(self) -> None:
        super().__init__()
        object.__setattr__(self, "asked", [])

    def proves(self, user: str, password: str) -> bool:
        self.asked.append(user)  # type: ignore[attr-defined]
        return user == password


@pytest.fixture
async def accounts() -> AsyncIterator[Any]:
    now = [0.0]
    found: Any = Accounts(Counted(), lambda: now[0])
    found.now = now
    yield found
    await found.aclose()


async def test_the_right_one_is_remembered_for_a_while(accounts: Any) -> None:
    """One slow check, and another when the time is over."""
    for _ in range(5):
        assert await accounts.proves("a", "a")
    assert ["a"] == accounts.users.asked
    accounts.now[0] = REMEMBERED_SECONDS + 1
    assert await accounts.proves("a", "a")
    assert ["a", "a"] == accounts.users.asked


async def test_a_wrong_one_is_checked_each_time(accounts: Any) -> None:
    """Guessing stays slow; what was remembered for another split of the same letters does not help."""
    assert await accounts.proves("ab", "ab")
    for user, password in (("a", "b"), ("a", "b"), ("a", "bab"), ("aba", "b")):
        assert not await accounts.proves(user, password)
    assert 5 == len(accounts.users.asked)


async def test_who_asks_the_same_at_once_waits_for_one_check(accounts: Any) -> None:
    """A burst of tunnels of one user costs one check, also when the first of them gives up."""
    first = asyncio.create_task(accounts.proves("a", "a"))
    others = [asyncio.create_task(accounts.proves("a", "a")) for _ in range(50)]
    await asyncio.sleep(0)
    first.cancel()
    assert [True] * 50 == await asyncio.gather(*others)
    assert ["a"] == accounts.users.asked


async def test_too_many_checks_are_refused(accounts: Any) -> None:
    """Beyond the limit it is 503 at once."""
    asked = [asyncio.create_task(accounts.proves(str(number), "x")) for number in range(MAX_WAITING)]
    await asyncio.sleep(0)
    with pytest.raises(Refused) as raised:
        await accounts.proves("one more", "x")
    assert 503 == raised.value.refusal.status
    assert [False] * MAX_WAITING == await asyncio.gather(*asked)
