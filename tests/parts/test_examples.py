"""Every file in examples/ runs and prints what it promises."""

import asyncio
import subprocess
import sys
from pathlib import Path

from relay.emulator import EmulatedServer
from relay.proxy import ConnectProxy
from relay.route import Endpoint

EXAMPLES = Path(__file__).parents[2] / "examples"
FREE = (Endpoint("127.0.0.1", 0),)


def test_every_example_has_a_test_here():
    """A new example without a test is found."""
    here = Path(__file__).read_text(encoding="utf-8")
    assert [] == [file.name for file in EXAMPLES.glob("*.py") if f'"{file.name}"' not in here]


async def test_ping_through_proxy():
    """It prints the route and a time, and 1 with the failure's words when the proxy says no."""
    async with EmulatedServer(FREE) as server, ConnectProxy(FREE) as proxy:
        good = await _run("ping_through_proxy.py", str(server.endpoint), f"http://{proxy.endpoint}")
        closed, route = f"http://{proxy.endpoint}", f"http://{proxy.endpoint} -> {server.endpoint}"
    assert (0, "") == (good.returncode, good.stderr)
    assert good.stdout.startswith(f"{route} answered in ")
    bad = await _run("ping_through_proxy.py", "127.0.0.1:5000", closed)
    assert 1 == bad.returncode
    assert "connect refused: connect: http://127.0.0.1:" in bad.stdout


async def test_raw_tunnel_in_a_thread():
    """What the far end sends comes out on stdout; here an HTTP server's answer to plain bytes."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"got " + await reader.read())
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as far, ConnectProxy(FREE) as proxy:
        port = far.sockets[0].getsockname()[1]
        done = await _run(
            "raw_tunnel_in_a_thread.py", f"127.0.0.1:{port}", f"http://{proxy.endpoint}", stdin="last word"
        )
    assert (0, "got last word", "") == (done.returncode, done.stdout, done.stderr)


async def test_client_under_test():
    """The refusal is seen with its status and reason."""
    done = await _run("client_under_test.py")
    assert 0 == done.returncode
    assert done.stdout.startswith("as expected: 403, framework-relay; error=http_request_denied")


async def test_survive_a_restart():
    """The request is answered on the second connection."""
    done = await _run("survive_a_restart.py")
    assert 0 == done.returncode
    assert "still here, on connection 2" == done.stdout.splitlines()[-1]


async def test_test_a_client():
    """All its tests pass, without any settings for pytest."""
    lean = ("-pno:cacheprovider", "-pno:xdist", "-pno:_cov", "-c", "/dev/null")
    done = await _run("-m", "pytest", *lean, "test_a_client.py")
    assert 0 == done.returncode, done.stdout
    assert "7 passed" in done.stdout


async def _run(*words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    return await asyncio.to_thread(
        subprocess.run,
        [sys.executable, *(str(EXAMPLES / word) if word.endswith(".py") else word for word in words)],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=30,
    )
