"""Accounts: checks passwords without making the event loop wait, and each right one only now and then."""

import asyncio
import hashlib
import os
import time
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from relay.refusal import over_the_limit
from relay.refused import Refused
from relay.token_keys import TokenKeys
from relay.users import Users

T = TypeVar("T")
# Checks take a core each, and memory; more at once would only wait for each other.
THREADS = 2
# At some ten milliseconds each, who comes behind so many has waited a second already.
MAX_WAITING = 64
# How long a password that was right once is taken without the slow check.
REMEMBERED_SECONDS = 300.0
MAX_REMEMBERED = 10_000


class Accounts:
    """The users of a proxy, and what was found out about passwords since the file was read.

    A right password is remembered as a keyed hash (BLAKE2b, RFC 7693) under a key of this process; a wrong
    one never is, so guessing stays slow.

    Attributes: token_keys: what NTLM and Negotiate check tokens with.
    """

    def __init__(self, users: Users, clock: Callable[[], float] = time.monotonic) -> None:
        self.users = users
        self.token_keys = TokenKeys(users)
        self._clock = clock
        self._key = os.urandom(32)
        self._right: OrderedDict[bytes, float] = OrderedDict()
        self._asked: dict[bytes, asyncio.Task[bool]] = {}
        self._threads: ThreadPoolExecutor | None = None
        self._steps = 0

    async def proves(self, user: str, password: str) -> bool:
        """Whether this is the user's password. Raises: Refused, when too many wait for such an answer."""
        pair = f"{len(user)}:{user}:{password}".encode("utf-8", "surrogatepass")
        mark = hashlib.blake2b(pair, key=self._key, digest_size=32).digest()
        if self._right.get(mark, 0.0) > self._clock():
            return True
        task = self._asked.get(mark)
        if task is None:
            if len(self._asked) >= MAX_WAITING:
                raise Refused(over_the_limit("too many logins are being checked"))
            # Who asks the same meanwhile waits for the same answer, also when the first of them goes away
            task = self._asked[mark] = asyncio.create_task(self._check(user, password, mark))
        return await asyncio.shield(task)

    async def step(self, work: Callable[[], T]) -> T:
        """Do what takes time, one step of a login. Raises: Refused, when too many wait; what `work` does."""
        if self._steps >= MAX_WAITING:
            raise Refused(over_the_limit("too many logins are being checked"))
        self._steps += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, work)
        finally:
            self._steps -= 1

    @property
    def _pool(self) -> ThreadPoolExecutor:
        if self._threads is None:
            self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="passwords")
        return self._threads

    async def _check(self, user: str, password: str, mark: bytes) -> bool:
        try:
            loop = asyncio.get_running_loop()
            is_right = await loop.run_in_executor(self._pool, self.users.proves, user, password)
        finally:
            self._asked.pop(mark, None)
        if is_right:
            self._right[mark] = self._clock() + REMEMBERED_SECONDS
            while len(self._right) > MAX_REMEMBERED:
                self._right.popitem(last=False)
        return is_right

    async def aclose(self) -> None:
        """Answer nobody any more."""
        tasks = list(self._asked.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._threads is not None:
            self._threads.shutdown(wait=True, cancel_futures=True)
            self._threads = None
        self.token_keys.close()
