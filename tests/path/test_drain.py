"""A proxy that drains: who came before the end of its listeners is served, whoever accepts there."""

import asyncio
import ipaddress
import socket
import ssl
from pathlib import Path
from typing import Any

import pytest

from relay import proxy
from relay.listener import Listener
from relay.persona import load
from relay.route import Endpoint
from relay.tls_listen import TlsListen
from tests.path.proxied import SOON_SECONDS, Proxied, Target, connect_head, read_all, read_head, status_of

CLIENTS = 5
LOOPBACK = Endpoint("127.0.0.1", 0)
KINDS = ("express lane", "HTTP server", "TLS")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("when", ["with its request", "without a word yet"])
def test_who_has_come_is_served(
    loop: str, kind: str, when: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel has accepted them, the proxy has not: the end of a listener would reset them (listen(2))."""
    # However busy this machine is
    monkeypatch.setattr(proxy, "LAST_WORDS_SECONDS", SOON_SECONDS)
    ca = tmp_path / "ca.pem"
    with Target() as target, Proxied(loop, **_listening(kind, tmp_path)) as proxied:
        head = connect_head(target.authority)
        said = head if when == "with its request" and kind != "TLS" else b""

        async def come_and_drain() -> "tuple[list[socket.socket], asyncio.Task[None]]":
            # The loop does not turn meanwhile, so nobody accepts
            clients = [proxied.client(said) for _ in range(CLIENTS)]
            return clients, asyncio.create_task(proxied.proxy.drain(2 * SOON_SECONDS))

        clients, draining = proxied.run(come_and_drain())
        proxied.reaches(lambda running: not running.endpoints)
        for client in clients:
            near = client
            if kind == "TLS":
                near = ssl.create_default_context(cafile=ca).wrap_socket(client, server_hostname="localhost")
            if not said:
                near.sendall(head)
            assert 200 == status_of(read_head(near))
            with target.accept() as far:
                far.sendall(b"served")
                assert b"served" == near.recv(6)
            near.close()
        with pytest.raises(ConnectionRefusedError):
            proxied.client()
        # The last one's end is the end of the wait
        proxied.reaches(lambda _: draining.done())


@pytest.mark.parametrize("kind", [*KINDS, "PROXY protocol"])
def test_the_silent_keep_nobody_waiting(loop: str, kind: str, tmp_path: Path) -> None:
    """A connection that has not come to a request is closed; then the drain is over."""
    with Proxied(loop, **_listening(kind, tmp_path)) as proxied, proxied.client() as silent:
        proxied.reaches(lambda running: running.connections == 1)
        proxied.run(proxied.proxy.drain(2 * SOON_SECONDS))
        assert read_all(silent)[0] == b""


def test_who_has_had_an_answer_keeps_nobody_waiting(loop: str) -> None:
    """Its connection may be kept by it as long as it likes, were it not for the drain."""
    with Proxied(loop) as proxied, proxied.client(connect_head("127.0.0.1:0")) as answered:
        assert 400 == status_of(read_head(answered))
        proxied.run(proxied.proxy.drain(2 * SOON_SECONDS))


def _listening(kind: str, folder: Path) -> dict[str, Any]:
    behind = Listener(LOOPBACK, proxy_from=(ipaddress.ip_network("127.0.0.0/8"),))
    options: dict[str, dict[str, Any]] = {
        "express lane": {},
        "HTTP server": {"persona": load("squid-5")},
        "TLS": {"listen": (), "listeners": (Listener(LOOPBACK, TlsListen(new_ca=str(folder / "ca.pem"))),)},
        "PROXY protocol": {"listen": (), "listeners": (behind,)},
    }
    return options[kind]
