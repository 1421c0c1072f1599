"""When a client that has lost its connection makes a new one: what it has been through, and no clock.

`relay.framework_client` and `relay.blocking_framework_client` act on it; times are of their own clocks (s).
"""

import random
from dataclasses import dataclass
from typing import Final

from relay.failure import (
    AnswerLost,
    DialFailed,
    Failure,
    PeerMisbehaved,
    Reason,
    RelayError,
    SettingsError,
    Stage,
)

MOST_KEEP_ALIVE_SECONDS: Final = 86_400.0
"""Longer silences no firewall endures, and timers have an end, too."""


@dataclass(frozen=True)
class Backoff:
    """How long to wait before a new connection: exponential, bounded, with jitter.

    `give_up_seconds` counts from the call of `request`: no attempt begins later, but the last one may end
    later. Each request makes one attempt at least, unless one has failed while it waited for its turn.
    """

    first_seconds: float = 0.1
    most_seconds: float = 10.0
    give_up_seconds: float = 60.0

    def delay_seconds(self, failures: int) -> float:
        """After so many failures in a row: between half of the step and all of it, so that clients that
        lost the same server do not come back in step."""
        if failures == 0:
            return 0.0
        step = min(self.most_seconds, self.first_seconds * 2.0 ** min(failures - 1, 30))
        return step * random.uniform(0.5, 1.0)  # noqa: S311 - spreads load, guards nothing


ONCE = Backoff(first_seconds=0.0, most_seconds=0.0, give_up_seconds=0.0)
"""One attempt at once for each request; nothing is sent twice, not even what is safe to repeat."""


@dataclass(frozen=True)
class Reconnecting:
    """Told to the caller before each new connection.

    Attributes:
        attempt: the how manieth since the last good answer, from 1.
        delay_seconds: until it begins.
        failure: what ended the connection, or the attempt before.
    """

    attempt: int
    delay_seconds: float
    failure: Failure


class Reconnection:
    """Counts what has failed since the last good answer. Attributes: lost: why there is no connection."""

    def __init__(self, backoff: Backoff) -> None:
        self._backoff = backoff
        self.lost: Failure | None = None
        self._attempts = 0
        self._failures = 0
        self._not_before = 0.0
        self._last_error: tuple[float, RelayError] | None = None
        self._refusal: RelayError | None = None

    def succeeded(self) -> None:
        """A good answer: all is forgiven."""
        self._attempts = self._failures = 0
        self.lost = self._last_error = None

    def failed(self, error: RelayError, now: float, *, at_once: int) -> None:
        """Count a failure; `at_once`: so many of them in a row are followed by an attempt without delay."""
        self.keep_refusal(error)
        self._failures += 1
        self.lost = error.failure
        self._last_error = (now, error)
        self._not_before = now + self._backoff.delay_seconds(max(0, self._failures - at_once))

    def keep_refusal(self, error: RelayError) -> None:
        """Let a refused login be the last: the same password again would only help to lock the account."""
        if error.failure.reason is Reason.LOGIN_REFUSED:
            self._refusal = error

    def is_too_late(self, asked_at: float, now: float) -> bool:
        """Whether the next attempt would begin after a request made at `asked_at` gives up."""
        return max(now, self._not_before) >= asked_at + self._backoff.give_up_seconds

    def next_attempt(self, asked_at: float, now: float) -> Reconnecting | None:
        """What to wait for, and to tell; None for the first connection of all.

        Raises: the last error, when somebody else has tried in vain while this request waited for its turn;
            the refusal of a login, ever after.
        """
        if self._refusal is not None:
            raise self._refusal.with_traceback(None)
        if self.lost is None:
            return None
        if self._last_error is not None and self.is_too_late(asked_at, now):
            failed_at, error = self._last_error
            if failed_at >= asked_at:
                raise error.with_traceback(None)
        latest = asked_at + self._backoff.give_up_seconds
        self._attempts += 1
        return Reconnecting(self._attempts, max(0.0, min(self._not_before, latest) - now), self.lost)


def checked_keep_alive(seconds: float | None) -> float | None:
    """Return `seconds` when it can be kept. Raises: SettingsError: at 0 pings would never pause."""
    if seconds is not None and not 0 < seconds <= MOST_KEEP_ALIVE_SECONDS:
        raise SettingsError(
            f"keep_alive_seconds: {seconds!r}; expected seconds above 0, at most {MOST_KEEP_ALIVE_SECONDS:g}"
        )
    return seconds


def is_worth_another_try(error: RelayError) -> bool:
    """A refused login or an untrusted certificate will not change by itself, and may lock an account.

    A name that is not found may: an orchestrator takes it away while it restarts the server.
    """
    return error.failure.stage is not Stage.LOGIN and error.failure.reason not in (
        Reason.TLS_UNTRUSTED,
        Reason.DENIED,
        Reason.REDIRECTED,
        Reason.PORTAL,
        Reason.NOT_HTTP,
    )


def failure_of(peer: str, reason: Reason, detail: str) -> Failure:
    """A failure of stage `framework`."""
    return Failure(Stage.FRAMEWORK, reason, peer, detail)


def answer_lost(peer: str, why: str) -> AnswerLost:
    """A request that was sent, and whose answer will not come."""
    detail = f"did not answer before the connection died; the request may have been carried out ({why})"
    return AnswerLost(failure_of(peer, Reason.ANSWER_LOST, detail))


def what_ended(error: RelayError) -> Failure:
    """Beneath AnswerLost, which says what it means for the request: what happened to the connection."""
    beneath = error.__cause__
    if isinstance(error, AnswerLost) and isinstance(beneath, RelayError):
        return beneath.failure
    return error.failure


def not_empty(peer: str) -> PeerMisbehaved:
    """A ping that was answered by something else."""
    return PeerMisbehaved(
        failure_of(peer, Reason.MALFORMED, "answered a ping with a packet that is not empty")
    )


def closed_error(peer: str, *, is_sent: bool) -> RelayError:
    """A request of a client that was closed, before or after it was sent."""
    if is_sent:
        return answer_lost(peer, "this client was closed")
    return DialFailed(failure_of(peer, Reason.OTHER, "was not asked: this client is closed"))
