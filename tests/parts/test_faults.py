"""Each fault alone, in virtual time: what goes in, what comes out, when, and how it ends."""

import sys
from pathlib import Path

import pytest

import relay.faults
from relay.fault import HOLD_SECONDS
from relay.faults import FAULTS
from relay.faults.inspect import looks_like
from tests.parts.fault_play import END, HEAD, OPEN, RESET, play


def test_the_folder_is_the_catalogue() -> None:
    """Every file of relay/faults is a fault of that name, and each says what it does and looks like."""
    files = {path.stem for path in Path(relay.faults.__file__).parent.glob("*.py")} - {"__init__"}
    assert files == set(FAULTS)
    assert [] == [each.name for each in FAULTS.values() if not (each.summary and each.seen_as)]


def test_options_have_their_unit_in_the_name() -> None:
    """An option that is a time or a size says so: people write these into files."""
    floats = {option.name for each in FAULTS.values() for option in each.options if option.kind is float}
    assert set() == {name for name in floats if not name.endswith("seconds")} - {"chance"}


def test_latency_delays_and_does_not_throttle() -> None:
    """Each chunk comes `seconds` after it was received, although they come faster than that."""
    played = play("latency", (0.0, b"a"), (0.1, b"b"), (0.2, b"c"), (0.2, END), seconds=1.0)
    assert [(1.0, b"a"), (1.1, b"b"), (1.2, b"c")] == played.chunks
    assert "ended" == played.end


def test_jitter_keeps_the_order_and_its_bounds() -> None:
    """With jitter no chunk overtakes another, and each is delayed by seconds plus or minus the jitter."""
    sent = [(n / 100, bytes([n])) for n in range(50)]
    played = play("latency", *sent, (1.0, END), seconds=1.0, jitter_seconds=0.5)
    assert [data for _, data in sent] == [data for _, data in played.chunks]
    delays = [out - came for (out, _), (came, _) in zip(played.chunks, sent, strict=True)]
    assert min(delays) >= 0.5
    assert max(delays) <= 1.5
    assert len(set(delays)) > 10


def test_the_same_seed_makes_the_same_jitter() -> None:
    """A fault is repeatable: what was random is the same again with the same seed, another with another."""
    steps = [(n / 10, b"x") for n in range(5)]
    one, again, other = (
        play("latency", *steps, (1.0, END), seconds=1.0, jitter_seconds=0.5, seed=seed) for seed in (1, 1, 2)
    )
    assert one == again
    assert one != other


def test_bandwidth_takes_time_in_proportion() -> None:
    """1000 bytes at 1000 bytes a second take a second, whatever the pieces."""
    played = play("bandwidth", (0.0, b"x" * 1000), (0.0, END), bytes_per_second=1000)
    assert 1000 == len(played.data)
    assert 1.0 == played.chunks[-1][0]
    assert len(played.chunks) > 5


def test_a_line_that_was_idle_saves_nothing_up() -> None:
    """After a pause a narrow line is as narrow as before."""
    played = play("bandwidth", (0.0, b"x" * 100), (5.0, b"y" * 1000), (5.0, END), bytes_per_second=1000)
    assert 6.0 == played.chunks[-1][0]


def test_bandwidth_of_nothing_passes_nothing() -> None:
    """0 bytes a second is a line that is down; it ends after the hold, not at once."""
    played = play("bandwidth", (0.0, b"x"), (0.0, END), bytes_per_second=0)
    assert ([], HOLD_SECONDS) == (played.chunks, played.end_seconds)


def test_slicer_cuts_and_spaces() -> None:
    """Five bytes in pieces of two come at 0, 1 and 2 seconds."""
    played = play("slicer", (0.0, b"abcde"), (0.0, END), average_bytes=2, delay_seconds=1.0)
    assert [(0.0, b"ab"), (1.0, b"cd"), (2.0, b"e")] == played.chunks


@pytest.mark.parametrize("limit", [0, 1, 4, 5])
def test_limit_data_passes_so_many_bytes(limit: int) -> None:
    """Exactly the limit arrives, however it is cut, and then it ends, with the source still open."""
    played = play("limit_data", (0.0, b"abc"), (0.0, b"def"), (0.0, OPEN), limit_bytes=limit)
    assert (b"abcdef"[:limit], "ended", 0.0) == (played.data, played.end, played.end_seconds)


def test_idle_timeout_counts_from_the_last_bytes() -> None:
    """Bytes keep it open; a silence of `seconds` ends it."""
    played = play("idle_timeout", (1.0, b"a"), (2.5, b"b"), (2.5, OPEN), seconds=2.0)
    assert ([(1.0, b"a"), (2.5, b"b")], "ended", 4.5) == (played.chunks, played.end, played.end_seconds)


def test_lifetime_cuts_a_busy_connection() -> None:
    """At its age the connection ends, although bytes were passing all the time."""
    steps = [(n / 2, b"x") for n in range(10)]
    played = play("lifetime", *steps, (9.0, END), seconds=2.0)
    assert (4, "ended", 2.0) == (len(played.data), played.end, played.end_seconds)


@pytest.mark.parametrize("name", ["idle_timeout", "lifetime"])
@pytest.mark.parametrize(("ends", "end"), [("fin", "ended"), ("reset", "reset"), ("silence", "ended")])
def test_time_limits_end_in_three_ways(name: str, ends: str, end: str) -> None:
    """FIN and RST come at the time; silence comes to an end only after the hold."""
    played = play(name, (0.0, OPEN), seconds=1.0, ends=ends)
    assert (end, 1.0 + (HOLD_SECONDS if ends == "silence" else 0)) == (played.end, played.end_seconds)


@pytest.mark.parametrize(("name", "end"), [("reset", "reset"), ("fin", "cut")])
def test_reset_and_fin_end_after_their_time(name: str, end: str) -> None:
    """Bytes pass until then; also a source that has ended does not end it earlier."""
    played = play(name, (0.5, b"a"), (2.0, b"late"), (2.0, OPEN), seconds=1.0)
    assert ([(0.5, b"a")], end, 1.0) == (played.chunks, played.end, played.end_seconds)
    assert (end, 1.0) == ((ended := play(name, (0.1, END), seconds=1.0)).end, ended.end_seconds)
    assert (end, 0.0) == ((at_once := play(name, (0.0, b"x"), (0.0, OPEN))).end, at_once.end_seconds)


def test_reset_can_wait_for_the_first_bytes() -> None:
    """As toxiproxy's reset_peer: nothing happens before bytes come, and those are swallowed."""
    played = play("reset", (3.0, b"a"), (3.0, OPEN), seconds=1.0, waits_for_bytes=True)
    assert ([], "reset", 4.0) == (played.chunks, played.end, played.end_seconds)


def test_black_hole_swallows_everything_and_the_end() -> None:
    """Nothing comes out; it ends at its time, not when the source does."""
    played = play("black_hole", (0.1, b"a"), (0.2, END), seconds=3.0)
    assert ([], "cut", 3.0) == (played.chunks, played.end, played.end_seconds)
    assert HOLD_SECONDS == play("black_hole", (0.1, b"a"), (0.2, OPEN)).end_seconds


def test_corrupt_flips_the_bits_it_was_told() -> None:
    """Length and count of chunks stay; exactly so many bits differ in each."""
    sent = b"\x00" * 100
    played = play("corrupt", (0.0, sent), (0.0, sent), (0.0, END), bits=3)
    assert [3, 3] == [sum(byte.bit_count() for byte in data) for _, data in played.chunks]
    assert [100, 100] == [len(data) for _, data in played.chunks]
    assert sent == play("corrupt", (0.0, sent), (0.0, END), chance=0.0).data


def test_duplicate_repeats() -> None:
    """Every chunk comes twice in a row."""
    assert b"aabb" == play("duplicate", (0.0, b"a"), (0.0, b"b"), (0.0, END)).data


def test_drop_early_loses_only_what_came_before_the_reply() -> None:
    """Early bytes are gone, later ones are there."""
    assert b"late" == play("drop_early", (0.0, b"late"), (0.0, END), early=b"early").data


def test_lost_half_close_passes_bytes_and_no_end() -> None:
    """All bytes arrive, the FIN does not."""
    played = play("lost_half_close", (0.0, b"a"), (1.0, END))
    assert (b"a", 1.0 + HOLD_SECONDS) == (played.data, played.end_seconds)


def test_no_half_close_cuts_at_the_first_end() -> None:
    """The source's FIN ends both ways."""
    assert ("cut", 1.0) == ((played := play("no_half_close", (1.0, END))).end, played.end_seconds)


def test_reset_as_fin_hides_a_reset() -> None:
    """A RST of the source becomes a clean end, a clean end stays one."""
    assert (b"a", "cut") == ((hidden := play("reset_as_fin", (0.0, b"a"), (0.0, RESET))).data, hidden.end)
    assert "ended" == play("reset_as_fin", (0.0, END)).end


def test_slow_close_delays_the_end_only() -> None:
    """Bytes come at once, the end comes late."""
    played = play("slow_close", (1.0, b"a"), (1.0, END), seconds=2.0)
    assert ([(1.0, b"a")], 3.0) == (played.chunks, played.end_seconds)


def test_buffering_waits_for_bytes_or_time() -> None:
    """Bytes come out when enough are there, when their time is up, and at the end."""
    steps = [(0.0, b"ab"), (1.0, b"cd"), (2.0, b"e"), (9.0, b"f"), (9.5, END)]
    played = play("buffering", *steps, hold_bytes=4, seconds=3.0)
    assert [(1.0, b"abcd"), (5.0, b"e"), (9.5, b"f")] == played.chunks


@pytest.mark.parametrize(
    ("data", "allow", "verdict"),
    [
        (b"\x16\x03\x01", "tls", True), (b"\x16", "tls", None), (b"\x16\x02", "tls", False),
        (b"GET / HTTP/1.1", "tls", False), (b"GET / HTTP/1.1", "http", True), (b"GE", "http", None),
        (b"GEX ", "http", False), (b"\x00\x00\x00\x28", "http", False),
    ],
)  # fmt: skip
def test_first_bytes_are_told_apart(data: bytes, allow: str, verdict: bool | None) -> None:
    """A verdict is given as early as the bytes allow one, not earlier."""
    assert verdict is looks_like(data, allow)


def test_inspection_passes_tls_whole_and_cuts_the_rest() -> None:
    """TLS in single bytes arrives whole; anything else ends before one byte has passed."""
    assert b"\x16\x03\x01x" == play("inspect", *[(0.0, b"%c" % b) for b in b"\x16\x03\x01x"], (0.0, END)).data
    cut = play("inspect", (0.0, b"\x00\x00\x00\x28"), (0.0, OPEN))
    assert (b"", "ended", 0.0) == (cut.data, cut.end, cut.end_seconds)
    assert "reset" == play("inspect", (0.0, b"x"), (0.0, OPEN), ends="reset").end


@pytest.mark.parametrize(
    ("name", "options", "begin"),
    [
        ("refuse", {"status": 503}, b"HTTP/1.1 503 Service Unavailable\r\n"),
        ("refuse", {}, b"HTTP/1.1 403 Forbidden\r\n"),
        ("answer_portal", {"location": "http://p/"}, b"HTTP/1.1 302 Found\r\nLocation: http://p/\r\n"),
        ("answer_login_loop", {}, b"HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authent"),
        ("answer_page", {"words": "no"}, b"HTTP/1.1 200 OK\r\nContent-Type: text/html"),
    ],
)  # fmt: skip
def test_answers_in_place_of_the_target(name: str, options: dict[str, object], begin: bytes) -> None:
    """These answer by themselves, say how long the answer is, close, and never ask for the real reply."""
    played = play(name, (0.0, b"never"), **options)
    assert played.data.startswith(begin)
    assert b"never" not in played.data
    assert "ended" == played.end


def test_an_answer_cannot_be_made_to_inject_a_field() -> None:
    """A line break in an option stays within its field."""
    played = play("answer_portal", location="http://x/\r\nSet-Cookie: a=b")
    assert b"\r\nLocation: http://x/??Set-Cookie: a=b\r\n" in played.data


def test_silence_and_reset_in_place_of_an_answer() -> None:
    """Nothing is said; the end comes at its time."""
    assert ([], "ended", 7.0) == _outcome("answer_silence", seconds=7.0)
    assert ([], "reset", 2.0) == _outcome("answer_reset", seconds=2.0)


def test_a_delayed_answer_delays_nothing_else() -> None:
    """The head comes late, what is behind it is not delayed any further."""
    played = play("answer_delay", (4.0, b"later"), (4.0, END), seconds=3.0)
    assert [(3.0, HEAD), (4.0, b"later")] == played.chunks


def test_heads_are_mangled_and_the_tunnel_is_not() -> None:
    """What comes behind the head is untouched by faults of the head."""
    split = play("answer_split", (9.0, b"abc"), (9.0, END), piece_bytes=10, delay_seconds=1.0)
    assert [HEAD[:10], HEAD[10:20], HEAD[20:30], HEAD[30:39], b"abc"] == [data for _, data in split.chunks]
    assert [0.0, 1.0, 2.0, 3.0, 9.0] == [seconds for seconds, _ in split.chunks]
    length = play("answer_length", (0.0, b"abc"), (0.0, END)).data
    assert b"HTTP/1.1 200 Connection established\r\nContent-Length: 0\r\n\r\nabc" == length
    interim = play("answer_interim", (0.0, b"abc"), (0.0, END), status=102, count=2).data
    assert b"HTTP/1.1 102 Interim\r\n\r\n" * 2 + HEAD + b"abc" == interim
    assert HEAD + b"abc" == play("answer_early", (0.0, b"abc"), (0.0, END)).data


def test_the_head_waits_for_the_first_words() -> None:
    """answer_joined: both in one piece when the target speaks in time; else the head goes alone."""
    joined = play("answer_joined", (0.2, b"hello"), (0.3, b"more"), (0.3, END), seconds=1.0)
    assert [(0.2, HEAD + b"hello"), (0.3, b"more")] == joined.chunks
    alone = play("answer_joined", (5.0, b"hello"), (5.0, END), seconds=1.0)
    assert [(1.0, HEAD), (5.0, b"hello")] == alone.chunks
    assert [(0.0, HEAD)] == play("answer_joined", (0.0, END), seconds=1.0).chunks


def test_garbage_is_repeatable_and_bounded() -> None:
    """So many random bytes, the same with the same seed, never more than 1 MiB."""
    one, again = (play("answer_garbage", size_bytes=100) for _ in range(2))
    assert (100, one.data) == (len(one.data), again.data)
    assert 2**20 == len(play("answer_garbage", size_bytes=2**40).data)


def test_an_endless_head_has_no_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """A status line and fields of the size that was asked for, none of them empty; some day it is enough."""
    # The package has the fault under the name of its module
    monkeypatch.setattr(sys.modules["relay.faults.answer_endless"], "MAX_FIELDS", 1000)
    played = play("answer_endless", field_bytes=1000, delay_seconds=1.0)
    assert 1_001 == len(played.chunks)
    assert {1000} == {len(data) for _, data in played.chunks[1:]}
    assert b"\r\n\r\n" not in played.data


def _outcome(name: str, **options: object) -> tuple[list[tuple[float, bytes]], str, float]:
    played = play(name, **options)
    return played.chunks, played.end, played.end_seconds
