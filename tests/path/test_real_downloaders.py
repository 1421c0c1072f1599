"""Real programs that fetch, each with its own idea of CONNECT; a real browser before each kind of proxy."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from relay.listener import Listener
from relay.persona import load
from relay.proxy import ConnectProxy
from relay.tls_listen import TlsListen
from tests.path.conftest import LOOPBACK, Entry, Origin, OurProxy
from tests.path.origin import some_bytes
from tests.path.real import Ran, Tool, run

SIZE = 300_000
CLIENTS = ["aria2", "lftp", "links"]


async def fetch(
    tool: Tool, name: str, our_proxy: OurProxy, origin: Origin, url: str, place: Path
) -> tuple[Ran, bytes]:
    """What became of the program, and what it fetched."""
    home = {"HOME": str(place)}
    if name == "aria2":
        program = tool("aria2c", "aria2")
        trust = f"--ca-certificate={origin.authority_file}"
        options = ["--no-conf", "-q", "--max-tries=1", f"--all-proxy={our_proxy.url}", trust]
        ran = await run(program, *options, "-d", place, "-o", "fetched", url, **home)
        found = place / "fetched"
        return ran, found.read_bytes() if found.exists() else b""
    if name == "lftp":
        settings = f"set http:proxy {our_proxy.url}; set https:proxy {our_proxy.url}; set net:max-retries 1"
        trust = f"set ssl:ca-file {origin.authority_file}"
        ran = await run(tool("lftp", "lftp"), "--norc", "-c", f"{settings}; {trust}; cat {url}", **home)
    else:
        proxies = ("-http-proxy", our_proxy.address, "-https-proxy", our_proxy.address)
        # It takes no authority from the command line
        ran = await run(
            tool("links", "links"), *proxies, "-ssl.certificates", "0", "-source", url, **home
        )
    return ran, ran.stdout


@pytest.mark.parametrize("name", CLIENTS)
async def test_http(tool: Tool, our_proxy: OurProxy, origin: Origin, tmp_path: Path, name: str) -> None:
    """Forwarded, byte for byte."""
    url = f"{origin.url}/bytes/{SIZE}"
    ran, fetched = await fetch(tool, name, our_proxy, origin, url, tmp_path)
    assert (0, some_bytes(SIZE)) == (ran.status, fetched), ran.stderr
    while (entry := await our_proxy.entry(target=url, status=200))["method"] != "GET":
        continue
    assert SIZE == entry["bytes_down"]


@pytest.mark.parametrize("name", CLIENTS)
async def test_https(tool: Tool, origin: Origin, tmp_path: Path, name: str) -> None:
    """Through a tunnel, byte for byte; lftp and links send no Host with CONNECT, which squid lets them do."""
    entries: asyncio.Queue[Entry] = asyncio.Queue()
    persona = None if name == "aria2" else load("squid-6")
    async with ConnectProxy((LOOPBACK,), persona=persona, log=entries.put_nowait) as service:
        proxy = OurProxy(service, entries)
        ran, fetched = await fetch(tool, name, proxy, origin, f"{origin.tls_url}/bytes/{SIZE}", tmp_path)
        assert (0, some_bytes(SIZE)) == (ran.status, fetched), ran.stderr
        entry = await proxy.entry(method="CONNECT", target=origin.tls_target, status=200)
        assert entry["bytes_down"] > SIZE


@dataclass
class Proxies:
    """Our proxy behind one kind of listener."""

    proxy: OurProxy
    url: str


@pytest.fixture(params=["http", "https"])
async def either(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Proxies]:
    """Behind TLS HTTP/2 is picked by who offers it."""
    listeners = (Listener(LOOPBACK, TlsListen(new_ca=str(tmp_path / "ca.pem"))),)
    options = {"listen": (LOOPBACK,)} if request.param == "http" else {"listen": (), "listeners": listeners}
    entries: asyncio.Queue[Entry] = asyncio.Queue()
    async with ConnectProxy(log=entries.put_nowait, **options) as service:
        yield Proxies(OurProxy(service, entries), f"{request.param}://{service.endpoint}")


async def test_chromium(tool: Tool, either: Proxies, origin: Origin, tmp_path: Path) -> None:
    """A page by http and one by https: the first goes to an https:// proxy as a request in HTTP/2."""
    (origin.folder / "page.html").write_text("<p>the page</p>")
    options = (
        "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--ignore-certificate-errors",
        f"--proxy-server={either.url}", "--proxy-bypass-list=<-loopback>",
        f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom",
    )  # fmt: skip
    program = tool("chromium-headless-shell", "chromium-headless-shell")
    for url in (f"{origin.url}/files/page.html", f"{origin.tls_url}/files/page.html"):
        ran = await run(program, *options, url, HOME=str(tmp_path))
        assert (0, True) == (ran.status, "<p>the page</p>" in ran.text), ran.text + ran.stderr
    page = {"method": "GET", "target": f"{origin.url}/files/page.html", "status": 200, "ended": "complete"}
    await either.proxy.entry(**page)
    await either.proxy.tunnel(origin.tls_target)
