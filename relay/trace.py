"""What was tried, when, and how it ended: every network step runs inside `trace.step(...)`."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from protocol.errors import WireError
from relay.failure import Failure, RelayError, Stage, classify

DEFAULT_STAGE_SECONDS: Mapping[Stage, float] = {
    # Resolvers give up after 5 s per server by default (resolv.conf(5)); two servers fit.
    Stage.RESOLVE: 10.0,
    # SYN, two retransmissions (1 s and 3 s), and the answer to the last one.
    Stage.CONNECT: 10.0,
    Stage.TLS: 10.0,
    # A proxy dials the target while we wait: its own connect limit is often 60 s.
    Stage.PROXY: 75.0,
    # A Kerberos library asks each server of a realm for some seconds, and goes round them a few times.
    Stage.LOGIN: 20.0,
}


@dataclass
class Step:
    """One network step. `seconds` is None while it runs; `failure` None means it went well."""

    stage: Stage
    peer: str
    began_seconds: float
    seconds: float | None = None
    failure: Failure | None = None
    interrupted: bool = False
    evidence: dict[str, Any] = field(default_factory=dict)


class Trace:
    """The steps of one attempt, with the deadline of each and the one over all.

    Args: timeout_seconds: for all steps together. stage_seconds: limits of single stages.
    """

    def __init__(
        self, timeout_seconds: float = 30.0, stage_seconds: Mapping[Stage, float] = DEFAULT_STAGE_SECONDS
    ) -> None:
        self.steps: list[Step] = []
        self._began = time.monotonic()
        self._end = self._began + timeout_seconds
        self._stage_seconds = {**DEFAULT_STAGE_SECONDS, **stage_seconds}
        self._step_end = self._end

    def remaining_seconds(self) -> float:
        """Seconds until the running step, or all of them, must have ended.

        Raises: TimeoutError when nothing is left, so that no wait begins without a limit.
        """
        left = min(self._end, self._step_end) - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return left

    @contextmanager
    def step(self, stage: Stage, peer: str, hop: int | None = None) -> Iterator[Step]:
        """Time and classify one step.

        Raises: RelayError of the fitting kind for every OSError, SSLError and WireError inside.
        """
        now = time.monotonic()
        step = Step(stage, peer, now - self._began)
        self.steps.append(step)
        self._step_end = now + self._stage_seconds.get(stage, float("inf"))
        try:
            yield step
        except RelayError as error:
            step.failure = error.failure
            raise
        except (OSError, WireError) as error:
            raised = classify(error, stage, peer, hop)
            step.failure = raised.failure
            raise raised from error
        except BaseException:
            # Cancelled from outside: neither good nor bad, and the caller must see which step it was
            step.interrupted = True
            raise
        finally:
            step.seconds = time.monotonic() - now
            self._step_end = self._end
