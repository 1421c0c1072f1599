"""Backoff: who has failed to log in several times waits before the next try is looked at."""

import math
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

# People mistype; programs with an old password try twice.
FREE_FAILURES = 3
FIRST_WAIT_SECONDS = 1.0
LONGEST_WAIT_SECONDS = 60.0
# Without a failure for so long all is forgiven.
FORGOTTEN_SECONDS = 900.0
# Whoever has more addresses than this pushes the oldest out, and has as many guesses for each.
MAX_CLIENTS = 65_536


@dataclass
class _Failures:
    count: int
    last_seconds: float


class Backoff:
    """Failures by client, boundedly many; the wait doubles with each one beyond the free ones."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._by_client: OrderedDict[str, _Failures] = OrderedDict()

    def __len__(self) -> int:
        return len(self._by_client)

    def wait_seconds(self, client: str) -> int:
        """How long this client's next try is not looked at, 0 when it is."""
        failures = self._by_client.get(client)
        if failures is None or failures.count < FREE_FAILURES:
            return 0
        doublings = min(failures.count - FREE_FAILURES, 30)
        wait = min(FIRST_WAIT_SECONDS * float(2**doublings), LONGEST_WAIT_SECONDS)
        return max(0, math.ceil(failures.last_seconds + wait - self._clock()))

    def failed(self, client: str) -> None:
        """Count one failure."""
        now = self._clock()
        failures = self._by_client.pop(client, None)
        if failures is None or now - failures.last_seconds > FORGOTTEN_SECONDS:
            failures = _Failures(0, now)
        failures.count += 1
        failures.last_seconds = now
        self._by_client[client] = failures
        if len(self._by_client) > MAX_CLIENTS:
            self._by_client.popitem(last=False)

    def succeeded(self, client: str) -> None:
        """Forget this client's failures."""
        self._by_client.pop(client, None)
