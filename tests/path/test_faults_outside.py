"""Every fault of a tunnel, as ncat and our own client see it from outside: bytes, end, and time."""

import select
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from relay.blocking import open_tunnel
from relay.fault_plan import FaultPlan
from relay.fault_rule import rule_from_text
from relay.faults import FAULTS
from relay.route import Endpoint, Hop, Route
from tests.path.persona_targets import LAST_WORD, Targets
from tests.path.proxied import Proxied
from tests.path.real import Tool

SILENCE_SECONDS = 2.0
"""Who has heard nothing for so long hears nothing more."""

WORDS = b"0123456789" * 40
ECHO = b"echo:" + WORDS


@dataclass(frozen=True)
class Seen:
    """What came through the tunnel, how it ended (FIN, RST, silence), and after how long."""

    data: bytes
    end: str
    seconds: float


def by_ncat(tool: Tool, proxy: int, target: int, data: bytes, *, is_held: bool) -> Seen:
    """ncat sends `data` and, unless the tunnel is held, says that this was all."""
    began = time.monotonic()
    process = subprocess.Popen(
        [tool("ncat", "ncat"), "--proxy", f"127.0.0.1:{proxy}", "--proxy-type", "http", "127.0.0.1",
         str(target)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    with process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdin.write(data)
        process.stdin.flush()
        if not is_held:
            process.stdin.close()
        came, end = b"", "silence"
        while select.select([process.stdout], [], [], SILENCE_SECONDS)[0]:
            fresh = process.stdout.read1()
            if not fresh:
                end = "FIN"
                break
            came += fresh
        seconds = time.monotonic() - began
        # It may wait for the end of its stdin, which is not to come
        process.kill()
        end = "RST" if end == "FIN" and b"reset" in process.stderr.read() else end
    return Seen(came, end, seconds)


def by_us(tool: Tool, proxy: int, target: int, data: bytes, *, is_held: bool) -> Seen:
    """The same with relay.blocking."""
    began = time.monotonic()
    route = Route(Endpoint("127.0.0.1", target), (Hop.parse(f"http://127.0.0.1:{proxy}"),))
    stream = open_tunnel(route)
    came, end = b"", "FIN"
    try:
        stream.write(data)
        if not is_held:
            stream.half_close()
        while True:
            stream.set_deadline(time.monotonic() + SILENCE_SECONDS)
            fresh = stream.read()
            if not fresh:
                break
            came += fresh
    except TimeoutError:
        end = "silence"
    except ConnectionError:
        end = "RST"
    finally:
        stream.close()
    return Seen(came, end, time.monotonic() - began)


Judge = Callable[[Seen], bool]
WHOLE = ECHO + LAST_WORD
# fault, what it leads to, whether the client keeps its side open, what must be seen of it
TUNNELS: tuple[tuple[str, str, bool, Judge], ...] = (
    ("bandwidth:bytes_per_second=800", "echo", False, lambda seen: seen.data == WHOLE and seen.seconds > 0.4),
    ("black_hole", "echo", True, lambda seen: (seen.data, seen.end) == (b"", "silence")),
    ("buffering:hold_bytes=100000,seconds=0.4", "echo", True,
     lambda seen: seen.data == ECHO and seen.seconds > 0.4),
    ("corrupt", "echo", False, lambda seen: len(seen.data) == len(WHOLE) and seen.data != WHOLE),
    ("duplicate", "echo", False, lambda seen: len(seen.data) >= 2 * len(ECHO)),
    ("fin", "echo", True, lambda seen: (seen.data, seen.end) == (b"", "FIN")),
    ("idle_timeout:seconds=0.3", "echo", True, lambda seen: (seen.data, seen.end) == (ECHO, "FIN")),
    ("idle_timeout:seconds=0.3,ends=reset", "echo", True,
     lambda seen: (seen.data, seen.end) == (ECHO, "RST")),
    ("inspect", "echo", True, lambda seen: (seen.data, seen.end) == (b"", "FIN")),
    ("inspect:allow=http", "echo", True, lambda seen: (seen.data, seen.end) == (b"", "FIN")),
    ("intercept", "echo", True, lambda seen: (seen.data, seen.end) == (b"", "FIN")),
    ("latency:seconds=0.4", "echo", False, lambda seen: seen.data == WHOLE and seen.seconds > 0.4),
    ("lifetime:seconds=0.5", "echo", True, lambda seen: (seen.data, seen.end) == (ECHO, "FIN")),
    ("lifetime:seconds=0.5,ends=silence", "echo", True,
     lambda seen: (seen.data, seen.end) == (ECHO, "silence")),
    ("limit_data:limit_bytes=100", "echo", True, lambda seen: (seen.data, seen.end) == (ECHO[:100], "FIN")),
    ("lost_half_close", "echo", False, lambda seen: (seen.data, seen.end) == (ECHO, "silence")),
    ("no_half_close", "echo", False, lambda seen: LAST_WORD not in seen.data and seen.end == "FIN"),
    ("reset:waits_for_bytes=true", "echo", True, lambda seen: (seen.data, seen.end) == (b"", "RST")),
    ("reset_as_fin", "resets_later", True, lambda seen: (seen.data, seen.end) == (b"", "FIN")),
    ("slicer:average_bytes=20,delay_seconds=0.02", "echo", False,
     lambda seen: seen.data == WHOLE and seen.seconds > 0.3),
    ("slow_close:seconds=0.4", "echo", False, lambda seen: seen.data == WHOLE and seen.seconds > 0.4),
)  # fmt: skip


@pytest.mark.parametrize("client", [by_ncat, by_us])
@pytest.mark.parametrize(
    ("fault", "leads_to", "is_held", "is_seen"), TUNNELS, ids=[row[0] for row in TUNNELS]
)
def test_a_fault_is_seen_from_outside(
    tool: Tool, fault: str, leads_to: str, is_held: bool, is_seen: Judge, client: Callable[..., Seen]
) -> None:
    """What the catalogue says is what a real client, and ours, observe; without the fault they do not."""
    with Targets() as targets:
        port = targets.ports[leads_to]
        with Proxied(faults=FaultPlan([rule_from_text(fault)], seed=1)) as proxied:
            seen = client(tool, proxied.port, port, WORDS, is_held=is_held)
        assert is_seen(seen), seen


ELSEWHERE = {"drop_early"}
"""Neither client sends before it has its answer: tests/path/test_faults.py does it by hand."""


def test_no_fault_is_left_out() -> None:
    """Each of the catalogue is asked here, or at the connect stage by curl and by us (test_faults.py)."""
    from tests.path.test_faults import CURL, CURL_COPES, OURS, OURS_COPES

    here = {row[0].partition(":")[0] for row in TUNNELS} | ELSEWHERE
    by_curl = {text.partition(":")[0] for text in (*CURL, *CURL_COPES)}
    ours = {text.partition(":")[0] for text in (*OURS, *OURS_COPES)}
    assert set(FAULTS) == here | {each.name for each in FAULTS.values() if each.at_connect}
    at_connect = {each.name for each in FAULTS.values() if each.at_connect}
    assert (set(), set()) == (at_connect - by_curl, at_connect - ours)
