"""Rules as people write them, which tunnels they are meant for, and when they begin."""

from typing import Any

import pytest

from relay.failure import SettingsError
from relay.fault import Chunk, Direction, now
from relay.fault_plan import FaultPlan, begin_after, behind_head, wrap_of
from relay.fault_rule import FaultRule, TunnelFacts, rule_from_table, rule_from_text
from tests.parts.fault_play import END, HEAD, Played, Step, record, script
from tests.parts.virtual_time import in_virtual_time


def test_text_and_table_say_the_same() -> None:
    """The command line and TOML have the same keys, values and results."""
    text = rule_from_text(
        "latency:seconds=0.2,jitter_seconds=.1,direction=both,target=*.Example:5000,nth=1-2,probability=0.5,"
        "user=bob,client=10.*,after_bytes=100,after_seconds=2"
    )
    table = rule_from_table(
        {
            "name": "latency", "seconds": 0.2, "jitter_seconds": 0.1, "direction": "both",
            "target": "*.Example:5000", "nth": "1-2", "probability": 0.5, "user": "bob", "client": "10.*",
            "after_bytes": 100, "after_seconds": 2,
        }
    )  # fmt: skip
    assert text == table
    assert (Direction.UP, Direction.DOWN) == text.directions
    assert (range(1, 3), {"seconds": 0.2, "jitter_seconds": 0.1}) == (text.nth, dict(text.options))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("nonsense", "there is no fault 'nonsense'; expected one of answer_delay, "),
        ("", "there is no fault ''"),
        ("latency:seconds", "expected key=value, as in latency:seconds=0.2"),
        ("latency:secs=1", "unknown key 'secs'; expected seconds, jitter_seconds, direction,"),
        ("latency:seconds=soon", "latency.seconds: 'soon'; expected a number from 0 to 86400"),
        ("latency:seconds=-1", "expected a number from 0 to 86400"),
        ("latency:seconds=nan", "expected a number from 0 to 86400"),
        ("latency:seconds=inf", "expected a number from 0 to 86400"),
        ("latency:seconds=1,seconds=2", "'seconds' is there twice"),
        ("bandwidth", "bandwidth: bytes_per_second is missing"),
        ("bandwidth:bytes_per_second=1.5", "'1.5'; expected a whole number"),
        ("bandwidth:bytes_per_second=9999999999999999999999", "expected a whole number"),
        ("bandwidth:bytes_per_second=1,per=user", "'user'; expected tunnel or proxy"),
        ("reset:waits_for_bytes=maybe", "'maybe'; expected true or false"),
        ("latency:direction=left", "'left'; expected up or down or both"),
        ("latency:probability=1.1", "probability: 1.1; expected a number from 0 to 1"),
        ("latency:nth=0", "nth: '0'; expected a number from 1, or a range such as 1-2"),
        ("latency:nth=3-2", "expected a number from 1, or a range"),
        ("refuse:after_bytes=1", "it changes the proxy's answer; after_bytes, after_seconds and"),
        ("refuse:direction=up", "it changes the proxy's answer"),
        ("latency:target=" + "x" * 2000, "expected text"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_named(text: str, expected: str) -> None:
    """The message names flag, fault and key, and what was expected there."""
    with pytest.raises(SettingsError) as caught:
        rule_from_text(text)
    assert str(caught.value).startswith("--fault: ")
    assert expected in str(caught.value)


@pytest.mark.parametrize("value", [True, None, [], {}, "1e3x", 2**70])
def test_a_table_takes_no_wrong_types(value: Any) -> None:
    """TOML has types of its own; what is no number in range is refused."""
    with pytest.raises(SettingsError, match=r"bytes_per_second: .*; expected a whole number"):
        rule_from_table({"name": "bandwidth", "bytes_per_second": value})


FW = TunnelFacts("fw.example:5000", "bob", "10.1.2.3:4711")


@pytest.mark.parametrize(
    ("selector", "is_meant"),
    [
        ({}, True), ({"target": "fw.example:5000"}, True), ({"target": "FW.example"}, True),
        ({"target": "*.example:*"}, True), ({"target": "other"}, False), ({"target": "*:443"}, False),
        ({"user": "bob"}, True), ({"user": "alice"}, False), ({"client": "10.*"}, True),
        ({"client": "192.*"}, False),
    ],
)  # fmt: skip
def test_a_rule_is_meant_for_some(selector: dict[str, str], is_meant: bool) -> None:
    """Target with or without its port, user and client choose, by shell patterns."""
    assert is_meant is rule_from_table({"name": "latency", **selector}).matches(FW)


def bound(plan: FaultPlan, times: int) -> list[bool]:
    return [plan.bind(FW) is not None for _ in range(times)]


def test_nth_counts_the_tunnels_that_match() -> None:
    """"Fail the first two, then work": others in between do not count."""
    plan = FaultPlan([rule_from_text("reset:nth=1-2,target=fw.example")])
    assert None is plan.bind(TunnelFacts("other.example:5000"))
    assert [True, True, False, False] == bound(plan, 4)


def test_probability_is_drawn_for_each_tunnel_and_repeatable() -> None:
    """About half of the tunnels have it, the same ones with the same seed."""
    rules = [rule_from_text("reset:probability=0.5")]
    one, again, other = (bound(FaultPlan(rules, seed), 200) for seed in (1, 1, 2))
    assert one == again
    assert one != other
    assert 60 < sum(one) < 140
    assert [False] * 20 == bound(FaultPlan([rule_from_text("reset:probability=0")]), 20)


def test_a_plan_without_a_matching_rule_binds_nothing() -> None:
    """Such a tunnel takes the fast path."""
    assert None is FaultPlan([rule_from_text("latency:user=alice")]).bind(FW)


def test_what_changes_the_answer_stands_next_to_the_client() -> None:
    """Whatever the order in which they were written, faults in the tunnel see one whole head."""
    texts = ("answer_split:delay_seconds=0", "limit_data:limit_bytes=2")
    plan = FaultPlan([rule_from_text(text) for text in texts])
    faults = plan.bind(FW)
    assert faults is not None

    async def work() -> Played:
        chunks = script(((0.0, b"abcd"),), with_head=True)
        for wrap in faults.down:
            chunks = wrap(chunks)
        return await record(chunks)

    assert HEAD + b"ab" == in_virtual_time(work()).data


def through(rule: FaultRule, *steps: Step) -> Played:
    async def work() -> Played:
        return await record(wrap_of(rule, Direction.DOWN, "seed", {})(script(steps, with_head=True)))

    played: Played = in_virtual_time(work())
    return played


def test_after_bytes_leaves_exactly_so_many_alone() -> None:
    """The byte behind them is the first that the fault sees, also in the middle of a chunk."""
    rule = rule_from_text("black_hole:after_bytes=4,seconds=5")
    played = through(rule, (1.0, b"abc"), (1.0, b"def"), (2.0, END))
    assert (HEAD + b"abcd", 6.0) == (played.data, played.end_seconds)


def test_after_seconds_needs_no_bytes_to_come() -> None:
    """The fault begins at its time, also in a silent tunnel."""
    played = through(rule_from_text("reset:after_seconds=3"), (99.0, END))
    assert ("reset", 3.0) == (played.end, played.end_seconds)


def test_after_both_waits_for_both() -> None:
    """Enough bytes too early do not begin it, nor does the time without the bytes."""
    rule = rule_from_text("limit_data:limit_bytes=1,after_bytes=2,after_seconds=5")
    played = through(rule, (1.0, b"abcdef"), (6.0, b"gh"), (7.0, END))
    assert HEAD + b"abcdef" + b"g" == played.data


def test_nothing_comes_behind_a_refusal() -> None:
    """A tunnel that was refused is none: faults in it never begin, and do not hold it open."""

    async def refused() -> Any:
        yield Chunk(b"HTTP/1.1 403 no", now(), is_head=True, is_refusal=True)

    async def work() -> Played:
        wrap = wrap_of(rule_from_text("black_hole"), Direction.DOWN, "seed", {})
        return await record(wrap(refused()))

    played = in_virtual_time(work())
    assert (b"HTTP/1.1 403 no", "ended", 0.0) == (played.data, played.end, played.end_seconds)


def test_closing_reaches_every_generator() -> None:
    """A tunnel that is stopped leaves no generator behind that still waits."""
    closed = []

    async def source() -> Any:
        try:
            yield Chunk(b"a", now())
            await script(((0.0, "open"),), with_head=False).__anext__()
        finally:
            closed.append(True)

    async def work() -> None:
        chunks = source()
        wrapped = behind_head(begin_after(chunks, lambda inner: inner, 1, 0.0), lambda inner: inner)
        await anext(wrapped)
        await wrapped.aclose()
        await chunks.aclose()

    in_virtual_time(work())
    assert [True] == closed
