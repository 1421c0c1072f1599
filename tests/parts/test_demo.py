"""`relay demo`: the main job, embedded and on what is there already."""

import asyncio
import subprocess
import sys

import pytest

from relay.access import Access
from relay.commands import guarded
from relay.demo import demonstrate, demonstrate_embedded
from relay.emulator import EmulatedServer
from relay.proxy import ConnectProxy
from relay.route import Endpoint, Hop, Route

FREE = (Endpoint("127.0.0.1", 0),)
# The README promises less than 5 s; the margin is for a busy machine.
DEMO_SECONDS = 30


async def test_the_embedded_demo_proves_every_step():
    """Five steps, all ok, nothing missed."""
    told: list[str] = []
    assert [] == await demonstrate_embedded(told.append)
    lines = "\n".join(told)
    assert 5 == lines.count("   ok    ")
    assert 8 == lines.count("   44 bytes from 127.0.0.1: seq=")
    assert 4 == lines.count("(via http://127.0.0.1:")
    assert "answered 403 Forbidden" in lines


def test_no_direct_is_for_a_server_of_yours(capsys: pytest.CaptureFixture[str]) -> None:
    """It is not left out in silence where the embedded server is asked for."""
    assert 2 == guarded("demo", ["--no-direct"], "relay demo")
    assert "--no-direct: expected --server and -x" in capsys.readouterr().err


async def test_a_direct_way_that_is_open_is_not_proven():
    """`--no-direct` fails with the reason when the server can be reached without the proxy."""
    async with EmulatedServer(FREE) as server, ConnectProxy(FREE) as proxy:
        route = Route(server.endpoint, (Hop(proxy.endpoint),))
        missed = await demonstrate(
            route, server.key, direct_must_fail=True, timeout_seconds=5, say=lambda _: None
        )
    why = f"{route.target} can be reached without the proxy"
    assert [f"The direct way must be closed: {why}"] == missed


async def test_a_proxy_that_refuses_is_not_proven():
    """The reason is the proxy's own answer; the steps that need the tunnel are not tried."""
    strict = Access(allow_ports=(range(443, 444),))
    async with EmulatedServer(FREE) as server, ConnectProxy(FREE, access=strict) as proxy:
        route = Route(server.endpoint, (Hop(proxy.endpoint),))
        missed = await demonstrate(
            route, server.key, direct_must_fail=False, timeout_seconds=5, say=lambda _: None
        )
    assert 1 == len(missed)
    assert f"answered 403 Forbidden to CONNECT {route.target}" in missed[0]


async def test_no_proxy_in_between_is_seen():
    """A "proxy" that is none cannot be proven: the server saw our own end."""
    async with EmulatedServer(FREE) as server:
        missed = await demonstrate(
            Route(server.endpoint), server.key, direct_must_fail=False, timeout_seconds=5, say=lambda _: None
        )
    assert 1 == len(missed)
    assert "no proxy stands between" in missed[0]


async def test_the_command_exits_0_and_1():
    """`relay demo` in a process of its own: 0 proven, 1 with the reason, 2 for half a question."""
    good = await _relay("demo")
    assert (0, "PROVEN in") == (good.returncode, good.stdout.splitlines()[-1][:9])
    async with EmulatedServer(FREE) as server:
        closed = f"http://{server.endpoint}"
        bad = await _relay("demo", "--server", str(server.endpoint), "-x", closed, "--timeout", "5")
    assert 1 == bad.returncode
    assert "NOT PROVEN" in bad.stdout
    assert f"proxy: {closed}" in bad.stdout
    half = await _relay("demo", "--server", "127.0.0.1:5000")
    assert (2, "") == (half.returncode, half.stdout)
    assert "--server and -x go together" in half.stderr


async def _relay(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command line without holding up the loop that serves it."""
    code = "import sys; from relay.commands import main; sys.exit(main())"
    return await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        timeout=DEMO_SECONDS,
    )
