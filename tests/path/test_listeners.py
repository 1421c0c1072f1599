"""Listeners that are more than plain TCP: TLS, client certificates, Unix sockets."""

import contextlib
import socket
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from relay import reception
from relay.blocking import open_tunnel
from relay.listener import Listener
from relay.profile import read_profile
from relay.proxy import ConnectProxy
from relay.route import Endpoint, Hop, Route
from relay.tls_listen import TlsListen
from tests.path.proxied import (
    LOOPS,
    SOON_SECONDS,
    Proxied,
    Target,
    connect_head,
    get_head,
    read_all,
    read_exactly,
    read_head,
    reset,
    status_of,
)
from tests.path.real import Tool

LOOPBACK = Endpoint("127.0.0.1", 0)
RULES = '[[access.rule]]\naction = "deny"\ncertificate = "CN=alice*"\n'


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory, authority: trustme.CA, certificate: bytes) -> Path:
    """A folder with ours.pem, ca.pem, and alice.pem, a client's."""
    folder = tmp_path_factory.mktemp("listeners")
    (folder / "ours.pem").write_bytes(certificate)
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    client = authority.issue_cert("alice@example.com", common_name="alice")
    pem = client.private_key_pem.bytes() + b"".join(blob.bytes() for blob in client.cert_chain_pems)
    (folder / "alice.pem").write_bytes(pem)
    return folder


def tls_listener(files: Path, **more: object) -> Listener:
    return Listener(LOOPBACK, TlsListen(str(files / "ours.pem"), **more))  # type: ignore[arg-type]


@pytest.fixture(params=LOOPS)
def in_tls(request: pytest.FixtureRequest, files: Path) -> Iterator[Proxied]:
    """A proxy with a TLS listener only, on every event loop."""
    with Proxied(request.param, listen=(), listeners=(tls_listener(files, http2=False),)) as proxied:
        yield proxied


def wrapped(proxied: Proxied, files: Path, data: bytes = b"", client: str | None = None) -> ssl.SSLSocket:
    """A connection in TLS; `data` is sent in one call."""
    context = ssl.create_default_context(cafile=str(files / "ca.pem"))
    if client is not None:
        context.load_cert_chain(files / client)
    sock = context.wrap_socket(proxied.client(), server_hostname="127.0.0.1")
    if data:
        sock.sendall(data)
    return sock


def test_a_tunnel_through_tls(in_tls: Proxied, files: Path) -> None:
    """Bytes pass both ways, early ones too; FIN comes as FIN; the log says that it is the chunk path."""
    with Target() as target, wrapped(in_tls, files, connect_head(target.authority) + b"early") as near:
        with target.accept() as far:
            assert 200 == status_of(read_head(near))
            assert b"early" == read_exactly(far, 5)
            block = b"x" * 300_000
            near.sendall(b"more")
            assert b"more" == read_exactly(far, 4)
            far.sendall(block)
            far.shutdown(socket.SHUT_WR)
            assert (block, "FIN") == read_all(near)
            near.unwrap()
            assert (b"", "FIN") == read_all(far)
    entry = in_tls.entry()
    assert ("chunks", 200, 9, 300_000) == tuple(
        entry[key] for key in ("path", "status", "bytes_up", "bytes_down")
    )
    assert (0, 0, 0) == in_tls.settled()


def test_a_reset_passes_through_tls(in_tls: Proxied, files: Path) -> None:
    """RST of the target comes as RST, and RST of the client goes to the target."""
    for breaks in ("near", "far"):
        with Target() as target, wrapped(in_tls, files, connect_head(target.authority)) as near:
            with target.accept() as far:
                read_head(near)
                if breaks == "near":
                    reset(near)
                    assert (b"", "RST") == read_all(far)
                else:
                    reset(far)
                    # Python's TLS takes a reset for a ragged end
                    with socket.socket(fileno=near.detach()) as below:
                        below.settimeout(SOON_SECONDS)
                        assert "RST" == read_all(below)[1]
    assert (0, 0, 0) == in_tls.settled()


def test_requests_in_a_row_and_refusals_in_tls(in_tls: Proxied, files: Path) -> None:
    """A forwarded request keeps the connection; a refused CONNECT closes it, after its reply."""
    with Target() as target, wrapped(in_tls, files, get_head(target.authority)) as near:
        for _ in range(2):
            with target.accept() as origin:
                read_head(origin)
                origin.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")
                assert 200 == status_of(read_head(near))
                assert b"hi" == read_exactly(near, 2)
            near.sendall(get_head(target.authority))
        with target.accept():
            pass
        assert 502 == status_of(read_head(near))
    with wrapped(in_tls, files, b"CONNECT :1 HTTP/1.1\r\nHost: x\r\n\r\n") as near:
        data, end = read_all(near)
        assert (400, "FIN") == (status_of(data), end)
    assert (0, 0, 0) == in_tls.settled()


def test_what_is_no_tls_is_turned_away(in_tls: Proxied) -> None:
    """Plain HTTP at a TLS listener ends at once, and the log has the reason."""
    with in_tls.client(b"CONNECT a:1 HTTP/1.1\r\n\r\n") as near:
        read_all(near)
    entry = in_tls.entry()
    assert "the TLS handshake failed" in entry["words"]
    assert (0, 0, 0) == in_tls.settled()


def test_who_is_silent_keeps_nobody_out(
    in_tls: Proxied, files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beyond the limit of those who have not said who they are, the oldest has to go, and not who comes."""
    monkeypatch.setattr(reception, "MAX_ARRIVING", 2)
    with Target() as target, in_tls.client(b"") as first, in_tls.client(b"") as second:
        with wrapped(in_tls, files, connect_head(target.authority)) as near, target.accept():
            assert 200 == status_of(read_head(near))
            assert (b"", "RST") == read_all(first)
            second.setblocking(False)
            with pytest.raises(BlockingIOError):
                second.recv(1)
    assert (0, 0, 0) == in_tls.settled()


def test_client_certificates(files: Path, tmp_path: Path) -> None:
    """Without one the handshake fails where it is required; with one its subject is for log and rules."""
    listener = tls_listener(files, client_ca=str(files / "ca.pem"))
    with Proxied(listen=(), listeners=(listener,)) as proxied, Target() as target:
        with contextlib.suppress(ssl.SSLError, ConnectionError), wrapped(proxied, files, b"x") as near:
            assert b"" == near.recv(1)
        assert "TLS handshake" in proxied.entry()["words"]
        with wrapped(proxied, files, connect_head(target.authority), "alice.pem") as near:
            with target.accept():
                read_head(near)
        assert "CN=alice" in proxied.entry()["certificate"]
    (tmp_path / "p.toml").write_text(RULES)
    access = read_profile(tmp_path / "p.toml").access
    with Proxied(listen=(), listeners=(listener,), access=access) as proxied, Target() as target:
        with wrapped(proxied, files, connect_head(target.authority), "alice.pem") as near:
            assert 403 == status_of(read_head(near))
    listener = tls_listener(files, client_ca=str(files / "ca.pem"), client_required=False)
    with Proxied(listen=(), listeners=(listener,)) as proxied, Target() as target:
        with wrapped(proxied, files, connect_head(target.authority)) as near, target.accept():
            read_head(near)
        assert "certificate" not in proxied.entry()


def test_curl_trusts_the_throw_away_authority(tmp_path: Path, tool: Tool) -> None:
    """curl reaches a target through https:// with --proxy-cacert FILE, and our own client does."""
    listener = Listener(LOOPBACK, TlsListen(new_ca=str(tmp_path / "ca.pem"), names=("proxy.example",)))
    with Proxied(listen=(), listeners=(listener,)) as proxied, Target() as target:
        command = [tool("curl", "curl"), "-sS", "--proxytunnel", "--proxy-cacert", tmp_path / "ca.pem"]
        command += ["-x", f"https://127.0.0.1:{proxied.port}", f"http://{target.authority}/"]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as curl:
            with target.accept() as far:
                read_head(far)
                far.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi")
                assert b"hi" == curl.communicate(timeout=SOON_SECONDS)[0]
        hop = Hop.parse(f"https://localhost:{proxied.port}", ca_file=str(tmp_path / "ca.pem"))
        stream = open_tunnel(Route(Endpoint("127.0.0.1", target.port), (hop,)))
        with target.accept() as far:
            far.sendall(b"hello")
            assert b"hello" == stream.read()
        stream.close()


@pytest.mark.parametrize("loop", LOOPS)
def test_a_unix_socket(loop: str, tmp_path: Path) -> None:
    """Through a Unix socket too, with the kernel's fast path; the path has its mode, and goes at the end."""
    path = tmp_path / "relay.sock"
    with Proxied(loop, listeners=(Listener(path, mode=0o660),)) as proxied, Target() as target:
        assert 0o660 == path.stat().st_mode & 0o777
        with socket.socket(socket.AF_UNIX) as near:
            near.settimeout(SOON_SECONDS)
            near.connect(str(path))
            near.sendall(connect_head(target.authority))
            with target.accept() as far:
                assert 200 == status_of(read_head(near))
                far.sendall(b"down")
                far.shutdown(socket.SHUT_WR)
                assert (b"down", "FIN") == read_all(near)
        entry = proxied.entry()
        assert ("splice", "unix") == (entry["path"], entry["client"].partition(":")[0])
        assert (0, 0, 0) == proxied.settled()
    assert not path.exists()


async def test_a_socket_that_was_left_is_taken_and_one_in_use_is_not(tmp_path: Path) -> None:
    """After a kill -9 the next start works; a second proxy on the same path fails, and says where."""
    path = tmp_path / "relay.sock"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    async with ConnectProxy((), listeners=(Listener(path),)):
        with pytest.raises(OSError, match=r"unix:.*relay\.sock: Address already in use"):
            await ConnectProxy((), listeners=(Listener(path),)).start()
        assert path.exists()
    path.write_text("a file of somebody's")
    with pytest.raises(OSError, match="Address already in use"):
        await ConnectProxy((), listeners=(Listener(path),)).start()
    assert "a file of somebody's" == path.read_text()
