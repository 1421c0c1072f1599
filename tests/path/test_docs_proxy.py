"""docs/proxy.md: its profiles are read, and its commands print what it says."""

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TextIO

import pytest

from relay.access_conditions import CONDITIONS
from relay.failure import SettingsError
from relay.limits import Limits
from relay.login_hashes import digest_verifiers, nt_verifier
from relay.profile import read_profile
from tests.path.real import Tool

TEXT = (Path(__file__).parents[2] / "docs" / "proxy.md").read_text("utf-8")
BLOCKS = re.findall(r"(?ms)^```(toml|console)\n(.*?)^```$", TEXT)
PROFILES = [text for kind, text in BLOCKS if kind == "toml"]
DIALOGUES = [text for kind, text in BLOCKS if kind == "console"]
PATIENCE_SECONDS = 30.0
USER = "alice:$scrypt$ln=14,r=8,p=1$6FBnaPeaXWSe+T/sau0mZA$3AHrH6SMG2UVGCvBUNaJzQJnb1qI7FmnzFfDZREGIvs\n"
PORTS = ("3128", "3129", "3130", "3131", "9128", "5000")
"""What the page has in its examples; here each becomes a port that is free."""


@contextmanager
def free_ports(count: int) -> Iterator[list[str]]:
    """Ports that nobody else gets meanwhile: they are bound, and let others bind them that allow it too."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for sock in sockets:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind(("127.0.0.1", 0))
        yield [str(sock.getsockname()[1]) for sock in sockets]


def page(text: str, ports: dict[str, str]) -> str:
    return re.sub(r"\b(" + "|".join(PORTS) + r")\b", lambda match: ports[match[1]], text)


@pytest.mark.parametrize("number", range(len(PROFILES)))
def test_profiles(
    number: int, tmp_path: Path, certificate: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each is a profile, with the files beside it that it names."""
    for name in ("proxy.pem", "proxy.key", "clients.pem"):
        (tmp_path / name).write_bytes(certificate)
    (tmp_path / "parent-login").write_text("relay:secret\n")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name)  # whether Kerberos is installed or not
    made = [*digest_verifiers("alice", "Example Corp", "x"), nt_verifier("x")]
    (tmp_path / "users.txt").write_text(":".join((USER.rstrip(), *made)))
    (tmp_path / "proxy.keytab").write_bytes(b"\x05\x02")
    (tmp_path / "allowed-domains.txt").write_text("# ours\nexample.com\n")
    (tmp_path / "p.toml").write_text(PROFILES[number])
    read_profile(tmp_path / "p.toml")


def test_every_key_is_told() -> None:
    """Conditions of rules and limits that the page forgets are found."""
    keys = [*CONDITIONS, *Limits.__dataclass_fields__, *listener_keys(), *upstream_keys()]
    assert [] == [key for key in keys if f"`{key}`" not in TEXT]


def listener_keys() -> list[str]:
    return keys_of('[[listener]]\nnone = 1\non = "x:1"\n')


def upstream_keys() -> list[str]:
    return keys_of('[[upstream]]\nnone = 1\nproxy = "direct"\n')


def keys_of(profile: str) -> list[str]:
    """What the error about a key that there is not names instead."""
    with TemporaryDirectory() as folder:
        (Path(folder) / "p.toml").write_text(profile)
        with pytest.raises(SettingsError) as caught:
            read_profile(Path(folder) / "p.toml")
    return str(caught.value).partition("expected one of ")[2].split(", ")


class Shell:
    """Runs the commands of one dialogue in a folder, and compares what they print."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self._folder = folder
        self._stack = stack
        self._jobs: list[tuple[subprocess.Popen[str], TextIO]] = []
        scripts = str(Path(sys.executable).parent)
        self._environment = {**os.environ, "PATH": f"{scripts}:{os.environ['PATH']}", "NO_PROXY": ""}

    def run(self, command: str, expected: list[str]) -> None:
        if command.endswith("&"):
            self._begin(command.removesuffix("&"))
            self._heard(expected)
        elif found := re.fullmatch(r"kill -HUP %(\d)", command):
            self._jobs[int(found[1]) - 1][0].send_signal(signal.SIGHUP)
            self._heard(expected, int(found[1]) - 1)
        else:
            done = subprocess.run(
                ["bash", "-c", command], cwd=self._folder, env=self._environment, text=True,
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=PATIENCE_SECONDS,
            )  # fmt: skip
            pattern = "\n".join(map(as_pattern, expected))
            assert re.fullmatch(pattern, done.stdout.rstrip("\n"), re.DOTALL), done.stdout

    def _begin(self, command: str) -> None:
        popen = subprocess.Popen(
            command.split(), cwd=self._folder, env=self._environment, text=True,
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        )  # fmt: skip
        assert popen.stderr is not None
        self._stack.callback(self._end, popen)
        self._jobs.append((popen, popen.stderr))

    def _end(self, popen: subprocess.Popen[str]) -> None:
        popen.terminate()
        popen.communicate(timeout=PATIENCE_SECONDS)

    def _heard(self, expected: list[str], job: int = -1) -> None:
        for line in expected:
            assert line == self._jobs[job][1].readline().rstrip("\n")


def as_pattern(line: str) -> str:
    return re.escape(line).replace(re.escape("..."), ".*")


@pytest.mark.parametrize("number", range(len(DIALOGUES)))
def test_dialogues(number: int, tmp_path: Path, tool: Tool) -> None:
    """Each command prints what stands below it, in which three dots are anything."""
    if "curl" in DIALOGUES[number]:
        tool("curl", "curl")
    with ExitStack() as stack:
        free = stack.enter_context(free_ports(len(PORTS)))
        ports = dict(zip(PORTS, free, strict=True))
        (tmp_path / "company.toml").write_text(page(PROFILES[0], ports))
        (tmp_path / "login.toml").write_text(PROFILES[1])
        (tmp_path / "logins.toml").write_text(PROFILES[2])
        shell = Shell(tmp_path, stack)
        for step in re.split(r"(?m)^\$ ", adjusted(page(DIALOGUES[number], ports), ports))[1:]:
            command, *expected = step.rstrip("\n").split("\n")
            shell.run(command, expected)


def adjusted(text: str, ports: dict[str, str]) -> str:
    """TMSS10Ping takes port 5000 unless told otherwise."""
    return text.replace("TMSS10Ping -c", f"TMSS10Ping -P {ports['5000']} -c")
