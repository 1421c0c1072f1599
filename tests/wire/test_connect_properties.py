"""ConnectHandshake under any bytes and any split."""

from hypothesis import example, given, settings
from hypothesis import strategies as st

from protocol.connect import MAX_BODY_BYTES, MAX_HEAD_BYTES, MAX_INTERIM
from protocol.errors import HeadMalformed
from protocol.schemes import Basic
from tests.corpus import OTHER_LINES, STATUS_LINES
from tests.outcome import cut, outcome_of

ENDS = st.sampled_from([b"\r\n", b"\r\n", b"\r\n", b"\n", b"\r", b""])
HEADS = st.builds(
    lambda status, lines, tail: status + b"\r\n" + b"".join(line + end for line, end in lines) + tail,
    st.sampled_from(STATUS_LINES),
    st.lists(st.tuples(st.sampled_from(STATUS_LINES + OTHER_LINES), ENDS)),
    st.sampled_from([b"", b"\r\n", b"\n\n", b"\r\n\r\nbehind"]),
)
WIRES = (
    st.binary() | st.builds(b"".join, st.lists(HEADS, max_size=3)) | st.binary().map(b"HTTP/1.1 200".__add__)
)
PLACES = st.lists(st.integers(0, 10_000), max_size=8)
VISIBLE = st.text(st.characters(min_codepoint=32, max_codepoint=126)).map(str.encode)


@settings(max_examples=400, deadline=None)
@given(WIRES, WIRES, PLACES, st.booleans(), st.booleans())
@example(b"HTTP/1.1 407 P\r\nProxy-Authenticate: Basic\r\nContent-Length: 0\r\n\r\nx", b"", [63], False, True)
def test_no_split_changes_anything(
    wire: bytes, answer: bytes, places: list[int], is_ended: bool, has_login: bool
) -> None:
    """Any bytes, cut anywhere, come to the same; nothing but a WireError is raised; the limits hold."""

    def outcome(*splits: list[int]) -> object:
        first, second = (cut(data, split) for data, split in zip((wire, answer), splits, strict=True))
        schemes = [Basic("user", "pass")] if has_login else []
        return outcome_of(first, is_ended=is_ended, schemes=schemes, answers=[second])

    whole = outcome([], [])
    assert whole == outcome(places, places)
    assert whole == outcome(list(range(len(wire))), list(range(len(answer))))


@settings(deadline=None)
@given(WIRES, st.booleans())
def test_nothing_is_lost_and_nothing_is_kept_beyond_the_limits(wire: bytes, is_ended: bool) -> None:
    """Behind a 2xx head every byte is the tunnel's, before it every byte is a head's."""
    outcome = outcome_of([wire], is_ended=is_ended)
    assert outcome.interim_replies <= MAX_INTERIM + 1
    if outcome.reply is None:
        assert b"" == outcome.leftover
        return
    assert len(outcome.reply.raw_head) <= MAX_HEAD_BYTES
    assert len(outcome.reply.body) <= MAX_BODY_BYTES
    if outcome.reply.is_success:
        assert wire.endswith(outcome.reply.raw_head + outcome.leftover)
        assert bool(outcome.interim_replies) == (len(wire) > len(outcome.reply.raw_head + outcome.leftover))
    else:
        assert b"" == outcome.leftover


@settings(deadline=None)
@given(VISIBLE, st.lists(VISIBLE, max_size=5), st.binary())
def test_any_visible_head_is_read_or_refused(reason: bytes, lines: list[bytes], early: bytes) -> None:
    """A head of visible characters is read, its reason and the bytes behind it intact, or refused."""
    head = b"".join(line + b"\r\n" for line in [b"HTTP/1.1 200 " + reason, *filter(None, lines)]) + b"\r\n"
    outcome = outcome_of([head + early])
    assert outcome.error in (None, HeadMalformed)
    if outcome.reply is not None:
        assert (head, early) == (outcome.reply.raw_head, outcome.leftover)
        assert reason.decode() == outcome.reply.reason
