"""Faults on real sockets: seen by curl, by ncat and by our own client, through a running proxy."""

import contextlib
import socket
import subprocess
import time
from collections.abc import Iterator
from typing import Any

import pytest

from relay.blocking import open_tunnel
from relay.failure import Reason, RelayError
from relay.fault_plan import FaultPlan
from relay.fault_rule import rule_from_text
from relay.faults import FAULTS
from relay.route import Endpoint, Hop, Route
from tests.path.persona_targets import Targets
from tests.path.proxied import (
    SOON_SECONDS,
    Proxied,
    Target,
    connect_head,
    read_all,
    read_exactly,
    read_head,
    reset,
    status_of,
    tunnel,
    wait_until_delivered,
)
from tests.path.real import Tool

BLOCK = bytes(range(256)) * 16


@contextlib.contextmanager
def faulty(*faults: str, **options: Any) -> Iterator[Proxied]:
    plan = FaultPlan([rule_from_text(text) for text in faults], seed=1)
    with Proxied(faults=plan, **options) as proxied:
        yield proxied


def ask(proxied: Proxied, target: Target, tail: bytes = b"") -> socket.socket:
    return proxied.client(connect_head(target.authority) + tail)


CURL = {
    "refuse:status=403": (56, "response 403"),
    "answer_reset": (56, "reset by peer"),
    "answer_silence": (28, "timed out"),
    "answer_portal": (56, "response 302"),
    "answer_login_loop": (56, "response 407"),
    "answer_garbage": (56, ""),
    "answer_endless": (56, ""),
    "answer_page": (1, "HTTP/0.9"),
    "answer_early": (52, "Empty reply"),
    "answer_interim:status=102,count=3": (56, "response 102"),
}
"""What curl says to a fault of the answer, when it wants a tunnel to a target that refuses it."""


@pytest.mark.parametrize("fault", CURL)
def test_curl_meets_a_faulty_answer(tool: Tool, fault: str) -> None:
    """curl ends with the exit status that belongs to the fault."""
    status, words = CURL[fault]
    with faulty(fault) as proxied, socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}/"
        arguments = ["-q", "-sS", "--noproxy", "", "-p", "-x", f"http://127.0.0.1:{proxied.port}"]
        seconds = "3" if "silence" in fault else "30"
        ran = subprocess.run(
            [tool("curl", "curl"), *arguments, "--max-time", seconds, url],
            capture_output=True, text=True, errors="replace", timeout=50,
        )  # fmt: skip
    assert status == ran.returncode, ran.stderr
    assert words in ran.stderr


OURS = {
    "refuse:status=403": Reason.DENIED,
    "answer_reset": Reason.RESET,
    "answer_silence:seconds=1": Reason.CLOSED,
    "answer_portal": Reason.REDIRECTED,
    "answer_page": Reason.PORTAL,
    "answer_login_loop": Reason.LOGIN_REQUIRED,
    "answer_garbage": Reason.NOT_HTTP,
    "answer_endless": Reason.MALFORMED,
}


@pytest.mark.parametrize("fault", OURS)
def test_our_client_names_a_faulty_answer(fault: str) -> None:
    """The closed word of the failure is the one that belongs to the fault."""
    with faulty(fault) as proxied, Target() as target:
        route = Route(Endpoint.parse(target.authority), (Hop.parse(f"http://127.0.0.1:{proxied.port}"),))
        with pytest.raises(RelayError) as caught:
            open_tunnel(route, timeout_seconds=SOON_SECONDS)
        assert OURS[fault] is caught.value.failure.reason
        assert not target.was_called()


CURL_COPES = {
    "answer_split:delay_seconds=0": "HTTP/1.1 200 Connection established",
    "answer_length": "Content-Length: 0",
    "answer_length:field=chunked": "Transfer-Encoding: chunked",
    "answer_delay:seconds=0.3": "HTTP/1.1 200 Connection established",
    "answer_joined:seconds=0.1": "HTTP/1.1 200 Connection established",
}
"""What curl is told by an answer that it can live with."""


@pytest.mark.parametrize("fault", CURL_COPES)
def test_curl_copes(tool: Tool, fault: str) -> None:
    """curl gets its page through the tunnel, and shows what was odd about the answer."""
    with faulty(fault) as proxied, Targets() as targets:
        began = time.monotonic()
        ran = subprocess.run(
            [
                tool("curl", "curl"), "-q", "-sSv", "--noproxy", "", "-p", "-x",
                f"http://127.0.0.1:{proxied.port}", f"http://127.0.0.1:{targets.ports['http']}/",
            ],
            capture_output=True, text=True, timeout=50,
        )  # fmt: skip
    assert (0, "hello") == (ran.returncode, ran.stdout), ran.stderr
    assert CURL_COPES[fault] in ran.stderr
    assert "delay" not in fault or "seconds=0.3" not in fault or time.monotonic() - began >= 0.3


OURS_COPES = (
    "answer_interim:status=102,count=3", "answer_split:delay_seconds=0", "answer_length",
    "answer_delay:seconds=0.1", "answer_length:field=chunked", "answer_early", "answer_joined:seconds=0.1",
    "latency:seconds=0.01", "slicer:average_bytes=100", "slow_close",
)  # fmt: skip


@pytest.mark.parametrize("fault", OURS_COPES)
def test_our_client_copes(fault: str) -> None:
    """A tunnel opens and carries all bytes both ways in spite of it."""
    with faulty(fault) as proxied, Target() as target:
        route = Route(Endpoint.parse(target.authority), (Hop.parse(f"http://127.0.0.1:{proxied.port}"),))
        stream = open_tunnel(route, timeout_seconds=SOON_SECONDS)
        with target.accept() as far:
            far.sendall(BLOCK)
            received = b""
            while len(received) < len(BLOCK):
                received += stream.read()
            stream.write(BLOCK)
            assert (BLOCK, BLOCK) == (received, read_exactly(far, len(BLOCK)))
            stream.close()


def test_ncat_sees_a_limit(tool: Tool) -> None:
    """ncat gets exactly the bytes that the fault lets through, and a clean end."""
    with faulty("limit_data:limit_bytes=1000") as proxied, Target() as target:
        client = subprocess.Popen(
            [
                tool("ncat", "ncat"), "--proxy", f"127.0.0.1:{proxied.port}", "--proxy-type", "http",
                "127.0.0.1", str(target.port),
            ],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip
        with client, target.accept() as far:
            far.sendall(BLOCK)
            assert client.stdout is not None
            assert BLOCK[:1000] == client.stdout.read()


def test_a_reset_reaches_both_sides() -> None:
    """After so many bytes: they arrive, then RST, at the client and at the target."""
    with faulty("reset:after_bytes=1000") as proxied, tunnel(proxied) as (near, far):
        far.sendall(BLOCK)
        assert (BLOCK[:1000], "RST") == read_all(near)
        assert "RST" == read_all(far)[1]
        assert "fault-reset" == proxied.entry()["ended"]


def test_a_cut_reaches_both_sides_cleanly() -> None:
    """fin: both see FIN, although bytes are still on their way."""
    with faulty("fin:after_bytes=1000,direction=up") as proxied, tunnel(proxied) as (near, far):
        near.sendall(BLOCK)
        assert (BLOCK[:1000], "FIN") == read_all(far)
        assert (b"", "FIN") == read_all(near)
        assert "fault-closed" == proxied.entry()["ended"]


def test_who_still_sends_behind_a_cut_is_not_reset(loop: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A RST could destroy what is on its way to it: both sides are read from until they close."""
    # However busy this machine is
    monkeypatch.setattr("relay.refused.LINGER_IDLE_SECONDS", SOON_SECONDS)
    with faulty("limit_data:limit_bytes=1000", loop=loop) as proxied, tunnel(proxied) as (near, far):
        far.sendall(BLOCK)
        assert (b"", "FIN") == read_all(far)
        for side in (near, far, near, far):
            # Whoever has had a RST for the first can send no second
            side.sendall(BLOCK)
            wait_until_delivered(side)
        assert (BLOCK[:1000], "FIN") == read_all(near)
        near.close()
        far.close()
        assert "fault-closed" == proxied.entry()["ended"]


def test_latency_is_added_to_every_answer() -> None:
    """No answer comes earlier; the answers are whole and in order."""
    with faulty("latency:seconds=0.2") as proxied, tunnel(proxied) as (near, far):
        for _ in range(2):
            began = time.monotonic()
            far.sendall(BLOCK)
            assert BLOCK == read_exactly(near, len(BLOCK))
            assert time.monotonic() - began >= 0.2


def test_bandwidth_of_the_proxy_is_shared() -> None:
    """per=proxy: two tunnels together take as long as one with all the bytes."""
    with faulty("bandwidth:bytes_per_second=16384,per=proxy") as proxied:
        with tunnel(proxied) as (near, far), tunnel(proxied) as (near2, far2):
            began = time.monotonic()
            far.sendall(BLOCK)
            far2.sendall(BLOCK)
            assert (BLOCK, BLOCK) == (read_exactly(near, len(BLOCK)), read_exactly(near2, len(BLOCK)))
            assert time.monotonic() - began >= 2 * len(BLOCK) / 16384


def test_early_bytes_are_lost_late_ones_arrive() -> None:
    """drop_early: what was sent behind the head is gone; what follows the 200 is there."""
    with faulty("drop_early") as proxied, Target() as target, ask(proxied, target, b"early") as near:
        read_head(near)
        with target.accept() as far:
            near.sendall(b"late")
            near.shutdown(socket.SHUT_WR)
            assert (b"late", "FIN") == read_all(far)


def test_a_half_close_gets_lost() -> None:
    """lost_half_close: the target gets the bytes, no end, and can still answer."""
    with faulty("lost_half_close") as proxied, tunnel(proxied) as (near, far):
        near.sendall(b"question")
        near.shutdown(socket.SHUT_WR)
        assert b"question" == read_exactly(far, 8)
        far.sendall(b"answer")
        assert b"answer" == read_exactly(near, 6)
        far.settimeout(0.3)
        with pytest.raises(TimeoutError):
            far.recv(1)


def test_only_tls_gets_through_an_inspection() -> None:
    """inspect: a Framework packet is cut before a byte of it has passed, TLS passes."""
    with faulty("inspect") as proxied:
        with tunnel(proxied) as (near, far):
            near.sendall(b"\x00\x00\x00\x28")
            assert (b"", "FIN") == read_all(near)
            assert (b"", "FIN") == read_all(far)
        with tunnel(proxied) as (near, far):
            near.sendall(b"\x16\x03\x01")
            assert b"\x16\x03\x01" == read_exactly(far, 3)


def test_only_the_tunnels_that_are_meant_take_the_slow_path() -> None:
    """The second tunnel to this target is meant; the others are carried as without any fault."""
    with faulty("limit_data:limit_bytes=1,nth=2") as proxied, Target() as target:
        paths = []
        for expected in (BLOCK, BLOCK[:1], BLOCK):
            with ask(proxied, target) as near:
                read_head(near)
                with target.accept() as far:
                    far.sendall(BLOCK)
                    assert expected == read_exactly(near, len(expected))
            paths.append(proxied.entry()["path"])
        assert "faults" == paths[1]
        assert "faults" not in (paths[0], paths[2])


def test_a_refused_target_is_refused_with_faults_too() -> None:
    """The proxy's own refusal comes through the faults, and the connection ends."""
    with faulty("latency:seconds=0.05", "black_hole") as proxied:
        with Target() as target:
            pass
        with ask(proxied, target) as near:
            reply, end = read_all(near)
        assert (502, "FIN") == (status_of(reply), end)
        assert {"status": 502, "ended": "refused"}.items() <= proxied.entry().items()


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
@pytest.mark.parametrize("side", ["client", "target"])
def test_a_side_that_resets_ends_a_faulty_tunnel(loop: str, side: str) -> None:
    """RST passes as RST; what was sent before it arrives; nothing is left of the tunnel."""
    with faulty("latency:seconds=0.01,direction=both", loop=loop) as proxied:
        with tunnel(proxied) as (near, far):
            killer, other = (near, far) if side == "client" else (far, near)
            killer.sendall(BLOCK)
            assert BLOCK == read_exactly(other, len(BLOCK))
            reset(killer)
            assert (b"", "RST") == read_all(other)
        assert f"{side}-reset" == proxied.entry()["ended"]
        assert (0, 0, 0) == proxied.settled()


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_stopping_resets_tunnels_that_a_fault_holds(loop: str) -> None:
    """A proxy that stops does not wait for a black hole, nor for a silent answer."""
    with faulty("black_hole:direction=both,target=*:1", "answer_silence:nth=1", loop=loop) as proxied:
        with Target() as target, ask(proxied, target) as silent, tunnel(proxied) as (near, _):
            proxied.run(proxied.proxy.aclose())
            assert (b"", "RST") == read_all(silent)
            assert (b"", "RST") == read_all(near)


def test_many_chunks_in_both_directions_survive_faults() -> None:
    """8 MiB each way through three faults that change no byte: all arrive, in order."""
    size = 8 * 2**20
    blob = (b"0123456789abcdef" * 4096) * (size // 65_536)
    import threading

    faults = ("latency:seconds=0.005,direction=both", "buffering:hold_bytes=100000", "slow_close")
    with faulty(*faults) as proxied:
        with tunnel(proxied) as (near, far):

            def send(sock: socket.socket) -> None:
                sock.sendall(blob)
                sock.shutdown(socket.SHUT_WR)

            threads = [threading.Thread(target=send, args=(sock,)) for sock in (near, far)]
            for thread in threads:
                thread.start()
            got: dict[str, tuple[bytes, str]] = {}
            reader = threading.Thread(target=lambda: got.update(far=read_all(far)))
            reader.start()
            got["near"] = read_all(near)
            for thread in (*threads, reader):
                thread.join()
            assert {"near": (blob, "FIN"), "far": (blob, "FIN")} == got
        entry = proxied.entry()
        assert (size, size) == (entry["bytes_up"], entry["bytes_down"])


def test_the_manual_has_every_fault() -> None:
    """docs/faults.md lists each with what it is seen as."""
    from pathlib import Path

    text = (Path(__file__).parents[2] / "docs" / "faults.md").read_text()
    assert [] == [each.name for each in FAULTS.values() if f"| `{each.name}` |" not in text]
    assert [] == [each.name for each in FAULTS.values() if each.seen_as not in text]
