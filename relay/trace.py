"""What was tried, when, and how it ended: every network step runs inside `trace.step(...)`."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, is_dataclass, replace
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
    # From the first credentials to the proxy's last answer, which waits for the target as well.
    Stage.LOGIN: 75.0,
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

    def as_dict(self) -> dict[str, Any]:
        """For JSON; times are seconds, the beginning counts from the attempt's."""
        return {
            "stage": str(self.stage),
            "peer": self.peer,
            "began_seconds": round(self.began_seconds, 6),
            "seconds": None if self.seconds is None else round(self.seconds, 6),
            "interrupted": self.interrupted,
            "failure": None if self.failure is None else self.failure.as_dict(),
            "evidence": {name: _plain(value) for name, value in self.evidence.items()},
        }


def _plain(value: Any) -> Any:
    """The same for JSON: values of ours are dataclasses."""
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return asdict(value) if is_dataclass(value) and not isinstance(value, type) else value


class Trace:
    """The steps of one attempt, with the deadline of each and the one over all.

    Args: timeout_seconds: for all steps together. stage_seconds: limits of single stages.
    Attributes: hops: how many proxies there are, so that a failure can say which of them it was.
    """

    def __init__(
        self, timeout_seconds: float = 30.0, stage_seconds: Mapping[Stage, float] = DEFAULT_STAGE_SECONDS
    ) -> None:
        self.steps: list[Step] = []
        self.hops = 0
        self._timeout_seconds = timeout_seconds
        self._began = time.monotonic()
        self._end = self._began + timeout_seconds
        self._stage_seconds = {**DEFAULT_STAGE_SECONDS, **stage_seconds}
        self._step_end = self._end
        self._limits: list[tuple[float, float, str]] = []

    def remaining_seconds(self) -> float:
        """Seconds until the running step, or all of them, must have ended.

        Raises: TimeoutError when nothing is left, so that no wait begins without a limit.
        """
        left = min(self._end, self._step_end) - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return left

    def limit(self, seconds: float, words: str) -> None:
        """Let the running step end after at most `seconds` from now; `words` say whose limit that is."""
        self._limits.append((time.monotonic() + seconds, seconds, words))
        self._step_end = min(end for end, _, _ in self._limits)

    def share(self, among: int) -> None:
        """Leave time for others: the running step takes one share of what is left for all."""
        if among > 1:
            left = self._end - time.monotonic()
            self.limit(max(0.0, left / among), f"its share of {self._timeout_seconds:g} s for {among} ways")

    def limit_stage(self, stage: Stage) -> None:
        """Begin the limit of another stage inside the running step."""
        if (seconds := self._stage_seconds.get(stage)) is not None:
            self.limit(seconds, f"the limit for {stage}")

    @contextmanager
    def step(
        self, stage: Stage, peer: str, hop: int | None = None, limit_seconds: float | None = None
    ) -> Iterator[Step]:
        """Time and classify one step. `limit_seconds`: the hop's own limit, beside those of stage and all.

        Raises: RelayError of the fitting kind for every OSError, SSLError and WireError inside; its failure
            says which limit it was when one was reached.
        """
        now = time.monotonic()
        step = Step(stage, peer, now - self._began)
        self.steps.append(step)
        self._limits = [(self._end, self._timeout_seconds, "the limit for all")]
        self._step_end = self._end
        self.limit_stage(stage)
        if limit_seconds is not None:
            self.limit(limit_seconds, f"the limit for each step with {peer}")
        try:
            yield step
        except RelayError as error:
            self._place(error, step, hop)
            raise
        except (OSError, WireError) as error:
            raised = classify(error, stage, peer, hop)
            if isinstance(error, TimeoutError) and error.errno is None:
                raised.failure = replace(raised.failure, detail=self.limit_reached())
            self._place(raised, step, hop)
            raise raised from error
        except BaseException:
            # Cancelled from outside: neither good nor bad, and the caller must see which step it was
            step.interrupted = True
            raise
        finally:
            step.seconds = time.monotonic() - now
            self._step_end = self._end

    def _place(self, error: RelayError, step: Step, hop: int | None) -> None:
        role = "target" if hop is None else f"proxy {hop + 1} of {self.hops}" if self.hops > 1 else "proxy"
        error.failure = step.failure = replace(error.failure, role=error.failure.role or role)

    def limit_reached(self) -> str:
        """Which limit of the running step ends first, in words."""
        _, seconds, words = min(self._limits)
        return f"after {seconds:g} s, {words}"
