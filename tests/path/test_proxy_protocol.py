"""The PROXY protocol in and out, with haproxy and curl as peers."""

import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from protocol.proxy_protocol import proxy_header
from relay.access_networks import IpNetwork
from relay.listener import Listener
from relay.outbound import Ways
from relay.profile import read_profile
from relay.profile_listeners import networks_of
from relay.route import Endpoint
from tests.path.proxied import (
    LOOPS,
    SOON_SECONDS,
    Proxied,
    Target,
    connect_head,
    read_all,
    read_exactly,
    read_head,
    status_of,
)
from tests.path.real import Daemon, Tool, daemon, folder, free_endpoint

LOOPBACK = Endpoint("127.0.0.1", 0)
SOURCE, HERE = ("192.0.2.9", 4444), ("127.0.0.1", 3128)


def from_(*networks: str) -> tuple[IpNetwork, ...] | None:
    return networks_of(networks, "test")


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("version", [1, 2])
def test_the_clients_address_comes_from_the_header(loop: str, version: int, tmp_path: Path) -> None:
    """Log and rules have it; the tunnel takes the fast path, with what came behind the header."""
    (tmp_path / "p.toml").write_text(
        '[[access.rule]]\naction = "deny"\nclient = "192.0.2.66"\nreason = "not this one"\n'
    )
    access = read_profile(tmp_path / "p.toml").access
    listeners = (Listener(LOOPBACK, None, from_("127.0.0.0/8")),)
    with Proxied(loop, listen=(), listeners=listeners, access=access) as proxied, Target() as target:
        head = proxy_header(version, SOURCE, HERE) + connect_head(target.authority) + b"early"
        with proxied.client(head) as near, target.accept() as far:
            assert 200 == status_of(read_head(near))
            assert b"early" == read_exactly(far, 5)
        entry = proxied.entry()
        assert ("192.0.2.9:4444", "splice") == (entry["client"], entry["path"])
        denied = proxy_header(version, ("192.0.2.66", 1), HERE) + connect_head(target.authority)
        with proxied.client(denied) as near:
            assert 403 == status_of(read_all(near)[0])
        assert (0, 0, 0) == proxied.settled()


@pytest.mark.parametrize(
    ("data", "trusted", "words"),
    [
        (b"CONNECT a:1 HTTP/1.1\r\n\r\n", "127.0.0.0/8", "does not begin with a PROXY header"),
        (b"PROXY TCP4 1 2 3 4\r\n", "127.0.0.0/8", "address"),
        (proxy_header(1, SOURCE, HERE), "192.0.2.0/24", "not taken from this address"),
    ],
)
def test_a_bad_header_closes(data: bytes, trusted: str, words: str) -> None:
    """Without a reply: what listens there may not speak HTTP. The log has the reason."""
    listeners = (Listener(LOOPBACK, None, from_(trusted)),)
    with Proxied(listen=(), listeners=listeners) as proxied:
        with proxied.client(data) as near:
            assert b"" == read_all(near)[0]
        assert words in proxied.entry()["words"]
        assert (0, 0, 0) == proxied.settled()


@contextmanager
def haproxy(tool: Tool, before: Endpoint, sends: str = "", accepts: str = "") -> Iterator[Daemon]:
    """haproxy as a TCP load balancer before `before`."""
    program = tool("haproxy", "haproxy")
    endpoint = free_endpoint()
    with folder() as place:
        (place / "haproxy.cfg").write_text(
            "defaults\n mode tcp\n timeout connect 10s\n timeout client 1m\n timeout server 1m\n"
            f"frontend in\n bind {endpoint} {accepts}\n default_backend out\n"
            f"backend out\n server one {before} {sends}\n"
        )
        with daemon([program, "-db", "-f", f"{place}/haproxy.cfg"], endpoint, place) as running:
            yield running


@pytest.mark.parametrize("sends", ["send-proxy", "send-proxy-v2"])
def test_behind_haproxy(sends: str, tool: Tool) -> None:
    """The log has the client's own address, not haproxy's."""
    listeners = (Listener(LOOPBACK, None, from_("127.0.0.0/8")),)
    with Proxied(listen=(), listeners=listeners) as proxied, Target() as target:
        with haproxy(tool, Endpoint("127.0.0.1", proxied.port), sends) as balancer:
            place = (balancer.endpoint.host, balancer.endpoint.port)
            with socket.create_connection(place, SOON_SECONDS, source_address=("127.0.0.7", 0)) as near:
                near.sendall(connect_head(target.authority))
                with target.accept():
                    assert 200 == status_of(read_head(near))
                ours = near.getsockname()
            while (entry := proxied.entry())["method"] != "CONNECT":
                # Of those who looked whether haproxy listens
                assert entry["client"].startswith("127.")
            assert f"127.0.0.7:{ours[1]}" == entry["client"]


@pytest.mark.parametrize("version", [1, 2])
def test_a_target_behind_haproxy_is_told(version: int, tool: Tool, tmp_path: Path) -> None:
    """haproxy takes our header, and passes the client's address on in one of its own."""
    (tmp_path / "p.toml").write_text(f'[[proxy_protocol]]\nversion = {version}\nnetwork = "127.0.0.0/8"\n')
    ways = Ways(headers=read_profile(tmp_path / "p.toml").headers)
    with Target() as target, Proxied(ways=ways) as proxied:
        with haproxy(tool, Endpoint(*target.listener.getsockname()), "send-proxy", "accept-proxy") as far_end:
            with proxied.client(connect_head(str(far_end.endpoint)) + b"early") as near:
                read_head(near)
                with accepted(target) as (far, line):
                    ours = near.getsockname()
                    assert line.split()[:3] == ["PROXY", "TCP4", "127.0.0.1"]
                    assert str(ours[1]) == line.split()[4]
                    assert b"early" == read_exactly(far, 5)


@contextmanager
def accepted(target: Target) -> Iterator[tuple[socket.socket, str]]:
    """The next connection that says anything, behind its PROXY line."""
    while True:
        with target.accept() as far:
            line = b""
            while not line.endswith(b"\r\n") and (fresh := far.recv(1)):
                line += fresh
            if line:
                yield far, line.decode()
                return


def test_curl_speaks_it_to_us(tool: Tool, tmp_path: Path) -> None:
    """curl --haproxy-protocol is for the origin; through a Unix socket it is our listener that reads it."""
    path = tmp_path / "relay.sock"
    with Proxied(listen=(), listeners=(Listener(path, None, from_("127.0.0.1")),)) as proxied:
        command = [tool("curl", "curl"), "-s", "--haproxy-protocol", "--unix-socket", path, "http://x.invalid/"]
        done = subprocess.run(command, capture_output=True, timeout=SOON_SECONDS)
        assert b"405" in done.stdout
        assert 405 == proxied.entry()["status"]
