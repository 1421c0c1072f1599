"""Personas answer as the proxies do: as they were recorded, and side by side with installed ones."""

import json
import re
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from relay.access import Access, parse_ports
from relay.persona import load, names
from tests.path import persona_peers
from tests.path.persona_compare import (
    LAB,
    Addresses,
    Policy,
    as_in_the_lab,
    ask,
    differing,
    personated,
)
from tests.path.persona_known import (
    LEAST_AGREEMENT,
    LIVE_CASES,
    LIVE_DIFFERS,
    NEEDED,
    NOT_COMPARED,
    RECORDED_DIFFERS,
    agreement,
    unexpected,
)
from tests.path.persona_targets import Lab, Targets
from tests.path.proxied import Proxied, Target, connect_head, read_all, read_exactly, read_head
from tests.path.real import Tool

RECORDED: dict[str, dict[str, Any]] = json.loads(
    Path(__file__).with_name("persona_recorded.json").read_text()
)
"""What real proxies answered to the same requests, in a network and on ports of their own."""

PAGE = Path(__file__).parents[2] / "docs" / "personas.md"


@pytest.fixture
def targets() -> Iterator[Targets]:
    """What all cases lead to."""
    with Targets() as running:
        yield running


@pytest.mark.timeout(180)
@pytest.mark.parametrize("persona", RECORDED)
def test_a_persona_answers_as_it_was_recorded(
    persona: str, targets: Targets, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Status line, telling fields, what becomes of bytes and connection: the same but for the known."""
    wanted = RECORDED[persona]
    as_in_the_lab(monkeypatch, targets)
    with personated(load(persona), Policy.of(LAB, wanted)) as where:
        found = differing(wanted, ask(where, wanted, LAB, targets, wanted))
    assert set() == unexpected(persona, found, RECORDED_DIFFERS), found
    assert persona not in NEEDED or 1 - len(found) / len(wanted) >= LEAST_AGREEMENT, found


REAL_SECONDS = 12.0
"""A real proxy that has said nothing by then is silent; its own patience ends long before."""

REAL: dict[str, Callable[[Tool, Lab], AbstractContextManager[Addresses]]] = {
    "squid-5": persona_peers.squid,
    "tinyproxy": persona_peers.tinyproxy,
    "apache": persona_peers.apache,
    "privoxy": persona_peers.privoxy,
    "mitmproxy": persona_peers.mitmproxy,
    "proxy.py": persona_peers.proxy_py,
}


@pytest.mark.timeout(180)
@pytest.mark.parametrize("name", REAL)
def test_a_persona_answers_as_the_installed_proxy(name: str, tool: Tool, targets: Targets) -> None:
    """The same requests, to the real proxy and to the persona, on the same targets."""
    persona = squid_persona(tool) if name == "squid-5" else name
    lab = targets.lab(name="localhost", missing="nx.invalid", denied_name="denied.invalid")
    with REAL[name](tool, lab) as real:
        wanted = ask(real, LIVE_CASES, lab, targets, RECORDED[persona], REAL_SECONDS)
    with personated(load(persona), Policy.of(lab, wanted)) as where:
        found = differing(wanted, ask(where, wanted, lab, targets, wanted))
    print(f"{persona}: {len(wanted) - len(found)} of {len(wanted)} cases agree")
    assert set() == unexpected(persona, found, LIVE_DIFFERS), found
    assert 1 - len(found) / len(wanted) >= LEAST_AGREEMENT, found


def squid_persona(tool: Tool) -> str:
    """The persona of the squid that is installed."""
    said = subprocess.run([tool("squid", "squid"), "-v"], capture_output=True, text=True, check=True).stdout
    version = re.search(r"Version ([0-9]+)", said)
    return f"squid-{version[1] if version else 5}"


def test_the_manual_has_the_agreement() -> None:
    """docs/personas.md has the table as it is made here, and what is not compared, with the reason."""
    text = PAGE.read_text("utf-8")
    table = "\n".join(agreement(RECORDED))
    assert table in text, table
    assert [] == [case for case, why in NOT_COMPARED.items() if f"| {case} | {why} |" not in text]


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
