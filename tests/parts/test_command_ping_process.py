"""TMSS10Ping in a process of its own: signals, pipes that break, and what it loads to start."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading

import pytest

from relay.route import Endpoint
from tests.parts.beside import beside
from tests.parts.framework_peers import Conversed, ScriptedServer
from tests.parts.ping_lines import CLOSING, LINE, TIMES

# What a test of buffers must not be spared.
BUFFERED = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
PROGRAM = (sys.executable, "-c", "import sys; from relay.commands import tmss10ping; sys.exit(tmss10ping())")


class Process:
    """TMSS10Ping on two pipes."""

    def __init__(self, *arguments: object) -> None:
        self.popen = subprocess.Popen(
            [*PROGRAM, *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=BUFFERED,
        )

    def __enter__(self) -> "Process":
        return self

    def __exit__(self, *exc: object) -> None:
        self.popen.kill()
        self.popen.communicate()

    def line(self) -> str:
        assert self.popen.stdout is not None
        return self.popen.stdout.readline()

    def end(self, number: int) -> tuple[int, str, str]:
        """Send a signal and read the rest."""
        self.popen.send_signal(number)
        out, err = self.popen.communicate(timeout=10)
        return self.popen.returncode, out, err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_a_signal_between_pings_ends_with_the_statistics(server: Endpoint, number: int) -> None:
    """Each line is on the pipe when its answer came; a signal prints the statistics, and all is well: 0."""
    with Process("-i", 3600, "-c", 5, server) as process:
        assert re.fullmatch(LINE.format(address="127.0.0.1", seq=1, via=""), process.line())
        status, out, err = process.end(number)
    closing = CLOSING.format(address="127.0.0.1", packets="1 packets transmitted", times=TIMES)
    assert re.fullmatch(closing, out)
    assert (0, "") == (status, err)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_a_signal_while_an_answer_is_awaited(number: int) -> None:
    """A ping that was sent and not answered before the signal counts as lost: 1."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        with Process("-W", 3600, f"127.0.0.1:{silent.getsockname()[1]}") as process:
            with silent.accept()[0] as far:
                assert 44 == len(far.recv(44, socket.MSG_WAITALL))
                status, out, err = process.end(number)
    packets = "1 packets transmitted, 0 received, 100% packet loss"
    assert (1, f"--- 127.0.0.1 TMSS10Ping statistics ---\n{packets}\n", "") == (status, out, err)


def test_a_signal_while_it_connects() -> None:
    """Before anything was sent there is nothing to count; the status is not 0, for nothing was answered."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        proxy = f"127.0.0.1:{silent.getsockname()[1]}"
        with Process("-W", 3600, "-x", proxy, "192.0.2.1") as process:
            with silent.accept()[0] as far:
                assert far.recv(1000).startswith(b"CONNECT 192.0.2.1:5000 ")
                status, out, err = process.end(signal.SIGINT)
    assert (1, "--- 192.0.2.1 TMSS10Ping statistics ---\n0 packets transmitted\n", "") == (status, out, err)


def test_json_after_a_signal() -> None:
    """What was answered before the signal is in the object, which says that it was interrupted."""
    is_waiting = threading.Event()

    async def one(peer: Conversed) -> None:
        packet = await peer.receive()
        assert packet is not None
        await peer.send(packet)
        await peer.receive()
        is_waiting.set()
        await peer.receive()

    with beside(lambda: ScriptedServer(one)) as server:
        with Process("--json", "-i", "0.01", "-W", 3600, server.endpoint) as process:
            assert is_waiting.wait(10)
            status, out, err = process.end(signal.SIGINT)
    told = json.loads(out)
    assert (1, "", True) == (status, err, told["interrupted"])
    assert (2, 1, 1) == (told["transmitted"], told["received"], len(told["answers"]))


def test_an_impatient_person_sees_no_traceback() -> None:
    """A signal while the program still starts ends it with 130 and without a word."""
    stop = "import os, signal; os.kill(os.getpid(), signal.SIGINT)"
    program = f"import sys, relay.commands as c; c._run = lambda *a: exec({stop!r}); sys.exit(c.tmss10ping())"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (130, "", "") == (done.returncode, done.stdout, done.stderr)


def shell(line: str, endpoint: Endpoint) -> subprocess.CompletedProcess[str]:
    program = " ".join([sys.executable, "-c", f"'{PROGRAM[2]}'", "-i", "0.01", "-c", "3", str(endpoint)])
    return subprocess.run(
        ["bash", "-c", line.replace("PING", program)],
        capture_output=True,
        text=True,
        timeout=30,
        env=BUFFERED,
    )


def test_a_reader_that_goes_away(server: Endpoint) -> None:
    """`| head -1` ends it without a word and with 1, as there is nobody to give the statistics to."""
    done = shell("PING | head -1; echo ${PIPESTATUS[0]}", server)
    assert re.fullmatch(LINE.format(address="127.0.0.1", seq=1, via="") + "1\n", done.stdout)
    assert "" == done.stderr


def test_a_full_disk(server: Endpoint) -> None:
    """Output that cannot be written is one sentence and 1."""
    done = shell("PING > /dev/full; echo $?", server)
    assert ("1\n", "TMSS10Ping: cannot go on: No space left on device\n") == (done.stdout, done.stderr)


def test_no_output_at_all(server: Endpoint) -> None:
    """With stdout and stderr closed it still tells by its status."""
    assert "0\n" == shell("PING >&- 2>&-; echo $?", server).stdout
    assert "1\n" == shell("PING 2>/dev/full >/dev/null; echo $?", Endpoint("127.0.0.1", 1)).stdout


def test_starts_without_what_it_does_not_need(server: Endpoint) -> None:
    """A direct ping runs without asyncio, aiohttp, h11 and multiprocessing, to its end."""
    program = (
        "import sys; from relay.commands.ping import run; run(['-c', '1', sys.argv[1]], 'ping');"
        "print(*{'aiohttp', 'asyncio', 'h11', 'idna', 'urllib.request'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program, str(server)], capture_output=True, text=True)
    assert (0, "", "") == (done.returncode, done.stderr, done.stdout.splitlines()[-1])
