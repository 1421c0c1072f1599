"""Peers for tests of the whole way: real proxies, and a Framework Server inside the test."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import trustme
from aiohttp.test_utils import TestServer

from relay.emulator import EmulatedServer
from relay.journal import Record
from relay.proxy import ConnectProxy
from relay.route import Endpoint
from tests.path import peers
from tests.path.ends import SOON_SECONDS
from tests.path.origin import application, server_tls
from tests.path.proxied import LOOPS
from tests.path.real import Tool, loopback_host

Entry = dict[str, Any]

LOOPBACK = Endpoint("127.0.0.1", 0)


@dataclass
class FarEnd:
    """An emulated server, and the records of its connections in the order in which they end."""

    server: EmulatedServer
    ended: asyncio.Queue[Record] = field(default_factory=asyncio.Queue)

    @property
    def host(self) -> str:
        return self.server.endpoint.host

    @property
    def port(self) -> str:
        return str(self.server.endpoint.port)

    async def record(self) -> Record:
        """Wait for the next connection's end: a client may be gone before the server hears of it."""
        async with asyncio.timeout(SOON_SECONDS):
            return await self.ended.get()


@pytest.fixture(params=LOOPS)
def loop(request: pytest.FixtureRequest) -> str:
    """Give the name of an event loop."""
    return str(request.param)


@pytest.fixture
async def far() -> AsyncIterator[FarEnd]:
    """A Framework Server on loopback."""
    ended: asyncio.Queue[Record] = asyncio.Queue()
    async with EmulatedServer((LOOPBACK,), on_end=ended.put_nowait) as server:
        yield FarEnd(server, ended)


@pytest.fixture
def closed_port() -> Iterator[Endpoint]:
    """An endpoint that refuses connections, and that nobody else can take."""
    with socket.socket() as sock:
        sock.bind((loopback_host(), 0))
        yield Endpoint(*sock.getsockname())


@pytest.fixture
def silent() -> Iterator[Endpoint]:
    """An endpoint that accepts connections, in the kernel, and never says a word."""
    with socket.create_server((loopback_host(), 0)) as sock:
        yield Endpoint(*sock.getsockname())


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    """A certificate authority that nobody trusts by default."""
    return trustme.CA()


@pytest.fixture(scope="session")
def certificate(authority: trustme.CA) -> bytes:
    """Key and certificate, as PEM, for names and addresses of this machine."""
    made = authority.issue_cert("localhost", "127.0.0.1", loopback_host())
    return made.private_key_pem.bytes() + b"".join(blob.bytes() for blob in made.cert_chain_pems)


@pytest.fixture
def no_kerberos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No realm of this machine's own, and no search for one, which Negotiate begins with."""
    (tmp_path / "krb5.conf").write_text("[libdefaults]\n dns_lookup_kdc = false\n")
    monkeypatch.setenv("KRB5_CONFIG", str(tmp_path / "krb5.conf"))


@pytest.fixture
def sshd(tool: Tool) -> Iterator[peers.Sshd]:
    """An SSH server."""
    with peers.sshd(tool) as running:
        yield running


@dataclass
class OurProxy:
    """Our proxy, inside the test, and its access log."""

    service: ConnectProxy
    entries: asyncio.Queue[Entry]

    @property
    def address(self) -> str:
        return str(self.service.endpoint)

    @property
    def url(self) -> str:
        return f"http://{self.service.endpoint}"

    async def entry(self, **expected: object) -> Entry:
        """Wait for the next line of the access log, check some of its fields, return it."""
        async with asyncio.timeout(SOON_SECONDS):
            entry = await self.entries.get()
        assert expected == {key: entry.get(key) for key in expected}, entry
        return entry

    async def tunnel(self, target: Endpoint | str) -> Entry:
        """The next line is of a tunnel to `target` that was not cut off by the target or by us.

        Many a TLS client resets: it closes without having read the other side's close_notify.
        """
        entry = await self.entry(method="CONNECT", target=str(target), status=200)
        assert entry["ended"] in ("client-closed", "target-closed", "client-reset"), entry
        return entry

    def assert_that_was_all(self) -> None:
        assert 0 == self.entries.qsize(), self.entries.get_nowait()


@pytest.fixture
async def our_proxy() -> AsyncIterator[OurProxy]:
    """Our proxy, inside the test."""
    entries: asyncio.Queue[Entry] = asyncio.Queue()
    async with ConnectProxy((LOOPBACK,), log=entries.put_nowait) as service:
        yield OurProxy(service, entries)


@dataclass
class Origin:
    """The HTTP origin, plain and in TLS."""

    plain: TestServer
    tls: TestServer
    folder: Path
    authority_file: Path

    @property
    def url(self) -> str:
        return f"http://{self.plain.host}:{self.plain.port}"

    @property
    def tls_url(self) -> str:
        return f"https://{self.tls_target}"

    @property
    def tls_target(self) -> str:
        return f"{self.tls.host}:{self.tls.port}"


@pytest.fixture
async def origin(
    aiohttp_server: Callable[..., Any], tmp_path: Path, authority: trustme.CA, certificate: bytes
) -> Origin:
    """An HTTP origin, plain and in TLS."""
    folder = tmp_path / "origin"
    folder.mkdir()
    plain = await aiohttp_server(application(folder), host="127.0.0.1")
    tls = await aiohttp_server(application(folder), host="127.0.0.1", ssl=server_tls(certificate))
    authority.cert_pem.write_to_path(str(tmp_path / "authority.pem"))
    return Origin(plain, tls, folder, tmp_path / "authority.pem")
