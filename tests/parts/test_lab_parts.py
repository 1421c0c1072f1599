"""The lab without namespaces: its data, its name server, its shim, its judgement."""

import struct
from pathlib import Path
from typing import Any

import pytest

import relay.lab.programs
from relay.failure import SettingsError
from relay.lab import peers
from relay.lab.matrix import accuracy_page, matrix, vectors
from relay.lab.nameserver import reply_to
from relay.lab.program import PROGRAMS
from relay.lab.runner import Tally
from relay.lab.scenario import Chain, Scenario, read_scenarios
from relay.lab.shim import RST, checksum, read_segment
from relay.lab.staging import ruleset
from relay.lab.trial import Outcome, judge

SCENARIOS = read_scenarios()


@pytest.mark.parametrize("scenario", SCENARIOS.values(), ids=SCENARIOS)
def test_a_scenario_is_whole(scenario: Scenario) -> None:
    """Its programs are in the catalogue, and no placeholder is left over."""
    assert set() == {program.run for program in scenario.programs} - set(PROGRAMS)
    told = " ".join(scenario.arguments())
    assert "{" not in told
    assert relay.lab.programs.__all__


def test_there_are_enough_of_them() -> None:
    """Seventy broken networks at the least, forty causes, and healthy ones."""
    broken = [one for one in SCENARIOS.values() if not one.is_healthy]
    assert 70 <= len(broken)
    assert 60 <= len({one.expect for one in broken})
    assert 20 <= len([one for one in SCENARIOS.values() if one.is_healthy])


WRONG = {
    'broken = "x"\nexpect = "no-such-cause"': "'no-such-cause' is no cause of the catalogue",
    'expect = "fw-drop-syn"': "broken: is missing",
    'broken = "x"\ncolour = "red"': "'colour': no such key",
    'broken = "x"\nspeed = "fast"': "speed: 'fast'; expected one of",
    'broken = "x"\nrun = [{ at = "moon", run = "squid" }]': "at: 'moon'; expected one of client",
    'broken = "x"\nrun = [{ at = "proxy" }]': "run: run: is missing",
    'broken = "x"\nnames = { a = 1 }': "names: a: 1; expected text in quotes",
}


@pytest.mark.parametrize("text", WRONG)
def test_a_scenario_that_is_none_is_told(text: str, tmp_path: Path) -> None:
    """File, table and key are named."""
    file = tmp_path / "mine.toml"
    file.write_text(f"[mine]\n{text}\n")
    with pytest.raises(SettingsError, match=r"mine\.toml: \[mine\]") as caught:
        read_scenarios([file])
    assert WRONG[text] in str(caught.value)


def test_a_name_is_taken_once(tmp_path: Path) -> None:
    """A user's scenario cannot stand in for one of ours."""
    file = tmp_path / "mine.toml"
    file.write_text('[drop]\nbroken = "x"\n')
    with pytest.raises(SettingsError, match=r"this name is taken by a scenario of firewall\.toml"):
        read_scenarios([file])


def test_rules_become_a_chain() -> None:
    """As nft(8) reads it, with addresses filled in."""
    text = ruleset(Chain("firewall", ("ip daddr {server} drop",)))
    assert "type filter hook forward priority 0; policy accept;\nip daddr 10.231.3.2 drop\n" in text


def query(name: str, kind: int = 1) -> bytes:
    labels = b"".join(bytes((len(one),)) + one.encode() for one in name.split("."))
    return b"\x12\x34\x01\x00\0\1\0\0\0\0\0\0" + labels + b"\0" + kind.to_bytes(2) + b"\0\1"


NAMES = {"a.lab": "10.0.0.1,fd00::1", "b.lab": "nodata", "c.lab": "servfail", "d.lab": "silent"}


@pytest.mark.parametrize(
    ("name", "kind", "code", "answers"),
    [("a.lab", 1, 0, 1), ("A.lab", 28, 0, 1), ("b.lab", 1, 0, 0), ("c.lab", 1, 2, 0), ("e.lab", 1, 3, 0)],
)
def test_the_name_server_answers_as_told(name: str, kind: int, code: int, answers: int) -> None:
    """Codes and numbers of answers of RFC 1035, in any case of letters."""
    reply = reply_to(query(name, kind), NAMES)
    assert reply is not None
    assert (b"\x12\x34", code, answers) == (reply[:2], reply[3] & 15, int.from_bytes(reply[6:8]))
    last = {1: bytes((10, 0, 0, 1)), 28: b"\xfd" + bytes(14) + b"\x01"}[kind]
    assert bool(answers) == reply.endswith(last)


def test_the_name_server_is_silent_when_told() -> None:
    """No answer at all."""
    assert None is reply_to(query("d.lab"), NAMES)


def test_an_injected_reset_is_a_right_segment() -> None:
    """Ports and addresses turned round, the sequence the client expects, and sums that are right."""
    tcp = struct.pack("!HHIIBBHHH", 1234, 5000, 100, 200, 0x50, 0x18, 500, 0, 0) + b"hello"
    head = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(tcp), 0, 0, 64, 6, 0, b"\1\2\3\4", b"\5\6\7\x08")
    segment = read_segment(head + tcp)
    assert segment is not None
    assert b"hello" == segment.payload
    answer = segment.answer(RST, 0)
    back = read_segment(answer)
    assert back is not None
    assert (segment.target, segment.source) == (back.source, back.target)
    assert (5000, 1234) == (back.source_port, back.target_port)
    assert (200, 105) == (back.sequence, back.acknowledged)
    pseudo = answer[12:20] + struct.pack("!BBH", 0, 6, len(answer) - 20)
    assert (0, 0) == (checksum(answer[:20]), checksum(pseudo + answer[20:]))


@pytest.mark.parametrize("packet", [b"", b"\x60" + bytes(60), b"\x45" + bytes(60)])
def test_what_is_no_tcp_is_left_alone(packet: bytes) -> None:
    """IPv6, other protocols, and scraps."""
    assert None is read_segment(packet)


def test_peers_misbehave_each_in_its_way() -> None:
    """Every mode is told, in one line."""
    assert 10 <= len(peers.MODES)
    assert [] == [name for name, play in peers.MODES.items() if not play.__doc__]


def report(
    *causes: str, status: int = 1, notices: tuple[str, ...] = (), seconds: float = 0.5
) -> dict[str, Any]:
    record = {"seconds": seconds, "connections": 3, "findings": [], "began": "", "target": "x:1", "hops": []}
    diagnosis = {
        "causes": [{"id": one} for one in causes], "notices": [{"id": one} for one in notices],
        "headline": "says 10.0.0.1", "sentence": "",
    }  # fmt: skip
    return {"diagnosis": diagnosis, "record": record, "status": status, "stderr": ""}


BROKEN = Scenario("broken", "kind", "a thing", expect="one", alike=("two",), also=("three",), never=("four",))
NOTED = Scenario("noted", "kind", "a habit", note="habit", notes=("other",), speed="healthy")
SAYING = Scenario("saying", "kind", "x", expect="one", says=("10.0.0.2",))
JUDGED = [
    (BROKEN, report("one", "three"), ""),
    (BROKEN, report("two", "one", "three"), ""),
    (BROKEN, report("two", "three"), "expected one"),
    (BROKEN, report("five", "one", "three"), "expected one"),
    (BROKEN, report("one"), "expected three as well"),
    (BROKEN, report("one", "three", "four"), "it cannot be four"),
    (BROKEN, report(status=0), "exit 0, expected 1"),
    (NOTED, report(status=0, notices=("habit",)), ""),
    (NOTED, report(status=0, notices=("habit", "other")), ""),
    (NOTED, report(status=0), "expected the note habit"),
    (NOTED, report(status=0, notices=("habit", "third")), "unexpected note third"),
    (NOTED, report("one"), "exit 1, expected 0"),
    (SAYING, report("one"), "it does not say '10.0.0.2'"),
]


@pytest.mark.parametrize(("scenario", "seen", "why"), JUDGED)
def test_a_verdict_is_compared(scenario: Scenario, seen: dict[str, Any], why: str) -> None:
    """Right only when the cause is first, or named beside one that looks the same."""
    trial = judge(scenario, {"reports": [seen]})
    assert (why, Outcome.WRONG if why else Outcome.RIGHT) == (trial.why, trial.outcome)


def test_one_wrong_run_of_many_is_wrong() -> None:
    """A false alarm in one of several runs of a healthy path counts."""
    good = report(status=0, notices=("habit",))
    trial = judge(NOTED, {"reports": [good, report("one"), good]})
    assert (Outcome.WRONG, ("one",)) == (trial.outcome, trial.named)


def test_what_all_trials_say() -> None:
    """The matrix tells what was mistaken for what, the page all; only what is right becomes a vector."""
    tally = Tally()
    tally.trials = [
        judge(BROKEN, {"reports": [report("two", seconds=4.0)]}),
        judge(NOTED, {"reports": [report(status=0, notices=("habit",))]}),
        judge(NOTED, {"impossible": "no nft"}),
    ]
    told, page = matrix(tally), accuracy_page(tally)
    assert "1 of 2 right" in told
    assert "expected one, named two: 1" in told
    assert "impossible here: noted: no nft" in told
    assert "slow: broken: 4.0 s" in told
    assert "| one | 0/1 | two instead | 1 |" in page
    assert "**wrong**" in page
    assert 1 == vectors(tally).count('"name"')
    assert [tally.trials[0]] == tally.doubtful()
