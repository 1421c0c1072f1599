"""Personas answer as the proxies do: as they were recorded, and side by side with installed ones."""

import json
import re
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Any

import pytest

from relay.access import Access, parse_ports
from relay.persona import load, names
from tests.path import peers
from tests.path.persona_cases import observe, requests
from tests.path.proxied import Proxied, Target, connect_head, read_all, read_exactly, read_head
from tests.path.real import Daemon, Tool

RECORDED: dict[str, dict[str, Any]] = json.loads(
    Path(__file__).with_name("persona_recorded.json").read_text()
)
"""What real proxies answered to the same requests, on ports 5000 (open) and 5099 (closed)."""

SILENCE_SECONDS = 1.0
"""How long nothing must come where nothing is to come; a slow machine makes this no harder."""

HEAD_SECONDS = 5.0
"""After so long a persona ends a silence, if it is one that does."""

KNOWN: dict[str, dict[str, str]] = {
    "3proxy": {"96_expect": "it sends 100 Continue before the 200"},
    "ats": {
        "03_ok_http10": "it answers HTTP/1.0 in its own version",
        "12_dns_nxdomain": "it looks names up before its early 200, and connects after it",
    },
    "proxy.py": {"41_method_lower": "it forwards the method that it does not know to the target"},
    "tinyproxy": {
        "52_port_0": "port 443 was open where it was recorded",
        "59_ipv6_bare": "the port of ::1 was open where it was recorded",
        "60_absolute_uri": "it forwards the CONNECT to the target",
    },
}
"""Cases in which a persona differs from the recording, and why."""

LEAST_AGREEMENT = 0.92


class Echo:
    """Sends back all that comes, on 127.0.0.1; and a port that is closed."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._closed = socket.socket()
        self._closed.bind(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.closed_port: int = self._closed.getsockname()[1]
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def _accept(self) -> None:
        while True:
            sock, _ = self._listener.accept()
            if self._is_stopping:
                sock.close()
                return
            self._threads.append(threading.Thread(target=self._answer, args=(sock,)))
            self._threads[-1].start()

    _is_stopping = False

    def _answer(self, sock: socket.socket) -> None:
        with sock:
            sock.settimeout(60)
            try:
                while data := sock.recv(65_536):
                    sock.sendall(b"echo:" + data)
            except OSError:
                return

    def close(self) -> None:
        """All connections must have ended."""
        self._is_stopping = True
        socket.create_connection(("127.0.0.1", self.port)).close()
        for thread in self._threads:
            thread.join(20)
        self._listener.close()
        self._closed.close()


@pytest.fixture
def echo() -> Iterator[Echo]:
    """The target of all cases."""
    running = Echo()
    try:
        yield running
    finally:
        running.close()


def differing(
    persona: str, wanted: dict[str, dict[str, Any]], echo: Echo, *, has_ports: bool
) -> dict[str, tuple[Any, Any]]:
    """Ask a persona all that is wanted; return what differs: wanted and got."""
    access = Access(parse_ports([f"443,{echo.port},{echo.closed_port}"]) if has_ports else ())
    found = {}
    with Proxied(persona=load(persona), access=access, head_timeout_seconds=HEAD_SECONDS) as proxied:
        address = ("127.0.0.1", proxied.port)
        for case, request in requests(echo.port, echo.closed_port, 25 if has_ports else echo.port).items():
            if case not in wanted:
                continue
            limit = {"seconds": SILENCE_SECONDS} if wanted[case]["then"] == "nothing" else {}
            got = observe(address, request, in_pieces=case == "98_split_head", **limit).as_dict()
            if got != wanted[case]:
                found[case] = wanted[case], got
    return found


@pytest.mark.parametrize("persona", RECORDED)
def test_a_persona_answers_as_it_was_recorded(persona: str, echo: Echo) -> None:
    """Status line, telling fields, and whether the connection goes on: the same but for what is known."""
    wanted = {case: seen for case, seen in RECORDED[persona].items() if not case.startswith("3")}
    # Three of them have no list of ports, or it was not set when they were recorded
    has_ports = wanted["10_port_denied"]["then"] != "tunnel"
    found = differing(persona, wanted, echo, has_ports=has_ports)
    assert set(KNOWN.get(persona, {})) == set(found), found
    assert 1 - len(found) / len(wanted) >= LEAST_AGREEMENT


def squid_persona(tool: Tool) -> str:
    """The persona of the squid that is installed."""
    said = subprocess.run([tool("squid", "squid"), "-v"], capture_output=True, text=True, check=True).stdout
    version = re.search(r"Version ([0-9]+)", said)
    return f"squid-{version[1] if version else 5}"


def _spaced(echo: Echo) -> str:
    return f"443 {echo.port} {echo.closed_port}"


REAL: dict[str, Callable[[Tool, Echo], AbstractContextManager[Daemon]]] = {
    "squid": lambda tool, echo: peers.squid(tool, allow_ports=_spaced(echo)),
    "tinyproxy": lambda tool, echo: peers.tinyproxy(tool, allow_ports=(443, echo.port, echo.closed_port)),
    "apache": lambda tool, echo: peers.apache(tool, allow_ports=_spaced(echo)),
    "privoxy": lambda tool, echo: peers.privoxy(tool, allow_ports=_spaced(echo).replace(" ", ",")),
}

KNOWN_SIDE_BY_SIDE: dict[str, dict[str, str]] = {
    "tinyproxy": {
        "41_method_lower": "it answers in several ways, depending on what the target says to a plain request",
        "60_absolute_uri": "it forwards the CONNECT to the target",
    },
    "privoxy": {"94_content_length": "it takes as many bytes of the tunnel for a body"},
}


@pytest.mark.timeout(180)
@pytest.mark.parametrize("name", REAL)
def test_a_persona_answers_as_the_installed_proxy(name: str, tool: Tool, echo: Echo) -> None:
    """The same requests, to the real proxy and to the persona, on the same targets at the same time."""
    persona = squid_persona(tool) if name == "squid" else name
    with ExitStack() as stack:
        real = stack.enter_context(REAL[name](tool, echo))
        address = (real.endpoint.host, real.endpoint.port)
        wanted = {
            case: observe(address, request, in_pieces=case == "98_split_head").as_dict()
            for case, request in requests(echo.port, echo.closed_port).items()
        }
        found = differing(persona, wanted, echo, has_ports=True)
    # Some of the known ones are a matter of luck
    assert set() == set(found) - set(KNOWN_SIDE_BY_SIDE.get(name, {})), found
    assert 1 - len(found) / len(wanted) >= 0.95


@pytest.mark.parametrize("persona", names())
def test_every_persona_carries_a_tunnel(persona: str) -> None:
    """Whatever its words are, bytes pass both ways behind its 200, TLS-looking ones at least."""
    hello = b"\x16\x03\x01 looks like TLS"
    with Proxied(persona=load(persona)) as proxied, Target() as target:
        with proxied.client(connect_head(target.authority)) as near:
            assert b" 200 " in read_head(near)
            with target.accept() as far:
                near.sendall(hello)
                assert hello == read_exactly(far, len(hello))
                far.sendall(b"back")
                assert b"back" == read_exactly(near, 4)


@pytest.mark.parametrize(("persona", "answer"), [("squid-5", b""), ("apache", b"answer")])
def test_half_close_is_as_in_the_original(persona: str, answer: bytes) -> None:
    """squid cuts both ways at the first FIN, and the answer is lost; Apache passes it."""
    with Proxied(persona=load(persona)) as proxied, Target() as target:
        with proxied.client(connect_head(target.authority)) as near:
            read_head(near)
            with target.accept() as far:
                near.sendall(b"question")
                near.shutdown(socket.SHUT_WR)
                assert (b"question", "FIN") == read_all(far)
                if answer:
                    far.sendall(answer)
                far.close()
                assert (answer, "FIN") == read_all(near)


def test_a_refused_connect_may_be_followed_by_another() -> None:
    """squid keeps the connection after a 403; the next CONNECT on it gets its tunnel."""
    with Proxied(persona=load("squid-5"), access=Access(parse_ports(["1000-65535"]))) as proxied:
        with Target() as target, proxied.client(connect_head("127.0.0.1:25")) as near:
            head = read_head(near)
            assert head.startswith(b"HTTP/1.1 403 Forbidden\r\n")
            size = re.search(rb"Content-Length: ([0-9]+)", head)
            assert size is not None
            read_exactly(near, int(size[1]))
            near.sendall(connect_head(target.authority))
            assert b"HTTP/1.1 200 Connection established\r\n\r\n" == read_head(near)
            with target.accept() as far:
                far.sendall(b"hello")
                assert b"hello" == read_exactly(near, 5)
        statuses = [(proxied.entry()["status"]) for _ in range(2)]
    assert [403, 200] == statuses
