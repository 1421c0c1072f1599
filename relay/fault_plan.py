"""FaultPlan: the rules of a proxy; binds faults to a tunnel when it opens."""

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, Protocol

from relay.fault import Ahead, Chunk, Chunks, Direction, close, now
from relay.fault_rule import FaultRule, TunnelFacts
from relay.interception import Interception, ThrowAwayAuthority

Wrap = Callable[[Chunks], Chunks]


@dataclass(frozen=True)
class BoundFaults:
    """The faults of one tunnel, each direction's from the source on.

    changes_answer: one of them is at the connect stage, and may answer before, or without, a dial.
    interception: stands before the target, in place of work on chunks.
    """

    up: tuple[Wrap, ...] = ()
    down: tuple[Wrap, ...] = ()
    changes_answer: bool = False
    interception: Interception | None = None


class Binder(Protocol):
    """What knows the faults of a tunnel that opens."""

    def bind(self, tunnel: TunnelFacts) -> BoundFaults | None: ...


def bound(plan: Binder | None, tunnel: TunnelFacts) -> BoundFaults | None:
    """The faults of a tunnel that opens now, also where there is no plan."""
    return plan.bind(tunnel) if plan is not None else None


class FaultPlan:
    """Rules, and what is counted for them.

    Args: seed: the same seed, rules and order of tunnels make the same faults; None takes a random one.
    """

    def __init__(self, rules: Sequence[FaultRule] = (), seed: int | None = None) -> None:
        self.rules = tuple(rules)
        self.seed = secrets.randbits(32) if seed is None else seed
        self._seen = [0] * len(self.rules)
        self._shared: list[dict[str, Any]] = [{} for _ in self.rules]

    def bind(self, tunnel: TunnelFacts) -> BoundFaults | None:
        """The faults of a tunnel that opens now; None when it has none."""
        interception: Interception | None = None
        wraps: dict[Direction, list[tuple[bool, Wrap]]] = {Direction.UP: [], Direction.DOWN: []}
        for index, rule in enumerate(self.rules):
            if not rule.matches(tunnel):
                continue
            self._seen[index] += 1
            if rule.nth is not None and self._seen[index] not in rule.nth:
                continue
            name = f"{self.seed}:{index}:{self._seen[index]}"
            if Random(name).random() >= rule.probability:  # noqa: S311 - wants a seed, not secrecy
                continue
            if rule.fault.intercepts:
                interception = interception or _intercepted(rule, tunnel, self._shared[index])
                continue
            for direction in rule.directions:
                wrap = wrap_of(rule, direction, name, self._shared[index])
                wraps[direction].append((rule.fault.at_connect, wrap))
        if interception is None and not any(wraps.values()):
            return None
        # What changes the answer stands last, next to the client: the others see one head, whole
        ordered = {way: sorted(found, key=lambda each: each[0]) for way, found in wraps.items()}
        up, down = ordered[Direction.UP], ordered[Direction.DOWN]
        changes_answer = any(at_connect for at_connect, _ in down)
        return BoundFaults(
            tuple(wrap for _, wrap in up), tuple(wrap for _, wrap in down), changes_answer, interception
        )


class JoinedFaults:
    """Several plans as one; None among them has no faults."""

    def __init__(self, *plans: Binder | None) -> None:
        self._plans = [plan for plan in plans if plan is not None]

    def bind(self, tunnel: TunnelFacts) -> BoundFaults | None:
        """The faults of all."""
        found = [one for plan in self._plans if (one := plan.bind(tunnel)) is not None]
        if not found:
            return None
        return BoundFaults(
            tuple(wrap for each in found for wrap in each.up),
            tuple(wrap for each in found for wrap in each.down),
            any(each.changes_answer for each in found),
            next((each.interception for each in found if each.interception is not None), None),
        )


def _intercepted(rule: FaultRule, tunnel: TunnelFacts, shared: dict[str, Any]) -> Interception:
    """One authority for all tunnels of a rule."""
    if "authority" not in shared:
        defaults = {option.name: option.default for option in rule.fault.options}
        shared["authority"] = ThrowAwayAuthority({**defaults, **dict(rule.options)}["authority"])
    return Interception(shared["authority"], tunnel.target.rpartition(":")[0].strip("[]"))


def wrap_of(rule: FaultRule, direction: Direction, name: str, shared: dict[str, Any]) -> Wrap:
    """The rule's fault with its options, ready for one direction of one tunnel."""
    wrap = bare_wrap_of(rule, direction, name, shared)
    is_late = bool(rule.after_bytes or rule.after_seconds)
    if is_late:
        wrap = _late(wrap, rule)
    if direction is Direction.DOWN and (is_late or not rule.fault.sees_head):
        return _behind(wrap)
    return wrap


def bare_wrap_of(rule: FaultRule, direction: Direction, name: str, shared: dict[str, Any]) -> Wrap:
    """The fault with its options alone: from the first chunk on, the proxy's reply included."""
    given = dict(rule.options)
    if "rng" in rule.fault.ambient:
        given["rng"] = Random(f"{name}:{direction}")  # noqa: S311 - wants a seed, not secrecy
    if "shared" in rule.fault.ambient:
        given["shared"] = shared
    return lambda chunks: rule.fault(chunks, **given)


def _late(wrap: Wrap, rule: FaultRule) -> Wrap:
    return lambda chunks: begin_after(chunks, wrap, rule.after_bytes, rule.after_seconds)


def _behind(wrap: Wrap) -> Wrap:
    return lambda chunks: behind_head(chunks, wrap)


async def begin_after(chunks: Chunks, wrap: Wrap, after_bytes: int, after_seconds: float) -> Chunks:
    """Leave the tunnel alone until so many bytes have passed, and so many seconds; a fault takes the rest."""
    ahead = Ahead(chunks)
    begin_seconds, left_bytes = now() + after_seconds, after_bytes
    rest: Chunks | None = None
    try:
        over: Chunk | None = None
        while left_bytes > 0 or now() < begin_seconds:
            try:
                chunk = await ahead.next(None if left_bytes > 0 else begin_seconds)
            except TimeoutError:
                break
            if chunk is None:
                return
            size = len(chunk.data)
            if left_bytes and size > left_bytes and now() >= begin_seconds:
                over = chunk.with_data(chunk.data[left_bytes:])
                chunk = chunk.with_data(chunk.data[:left_bytes])
            left_bytes = max(0, left_bytes - size)
            yield chunk
        rest = wrap(_then(over, ahead))
        async for chunk in rest:
            yield chunk
    finally:
        if rest is not None:
            await close(rest)
        await ahead.aclose()


async def _then(first: Chunk | None, ahead: Ahead) -> Chunks:
    if first is not None:
        yield first
    while (chunk := await ahead.next()) is not None:
        yield chunk


async def behind_head(chunks: Chunks, wrap: Wrap) -> Chunks:
    """Let the proxy's reply pass; a fault takes what comes behind it, and nothing comes behind a refusal."""
    async for chunk in chunks:
        yield chunk
        if chunk.is_refusal:
            return
        if chunk.is_head:
            break
    rest = wrap(chunks)
    try:
        async for chunk in rest:
            yield chunk
    finally:
        await close(rest)
