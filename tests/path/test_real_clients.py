"""Real HTTP clients through our proxy: bodies arrive as they were sent, and the access log says what went."""

import asyncio
import http.client
import sys
import urllib.request
import zipfile
from importlib.util import find_spec
from pathlib import Path

import aiohttp
import pytest
import trustme

from relay.route import Endpoint
from tests.lacking import lacking
from tests.path.conftest import Origin, OurProxy
from tests.path.ends import SOON_SECONDS
from tests.path.origin import client_tls, digest, some_bytes
from tests.path.real import Tool, run


async def curl(tool: Tool, our_proxy: OurProxy, *arguments: str | Path, stdin: bytes = b"") -> bytes:
    """Run curl; return what it printed, once it has ended well."""
    ran = await run(
        tool("curl", "curl"), "-q", "-sS", "-f", "--noproxy", "", "-x", our_proxy.url, *arguments, stdin=stdin
    )
    assert (0, "") == (ran.status, ran.stderr)
    return ran.stdout


async def test_curl_gets(tool: Tool, our_proxy: OurProxy, origin: Origin) -> None:
    """An absolute-form GET; the log has the body's size."""
    url = f"{origin.url}/bytes/300000"
    assert some_bytes(300_000) == await curl(tool, our_proxy, url)
    await our_proxy.entry(
        method="GET", target=url, status=200, bytes_up=0, bytes_down=300_000, ended="complete"
    )


async def test_curl_gets_through_a_tunnel(tool: Tool, our_proxy: OurProxy, origin: Origin) -> None:
    """-p: CONNECT for http too."""
    assert some_bytes(300_000) == await curl(tool, our_proxy, "-p", f"{origin.url}/bytes/300000")
    entry = await our_proxy.tunnel(origin.url.removeprefix("http://"))
    assert 300_000 < entry["bytes_down"] < 301_000
    assert 0 < entry["bytes_up"] < 1_000


async def test_curl_gets_https(tool: Tool, our_proxy: OurProxy, origin: Origin) -> None:
    """TLS from end to end: the proxy carries it as it is."""
    url = f"{origin.tls_url}/chunks/300000"
    assert some_bytes(300_000) == await curl(tool, our_proxy, "--cacert", origin.authority_file, url)
    await our_proxy.tunnel(origin.tls_target)


async def test_curl_gets_chunks(tool: Tool, our_proxy: OurProxy, origin: Origin) -> None:
    """A reply of unknown size reaches an HTTP/1.1 client in chunks, and whole."""
    url = f"{origin.url}/chunks/300000"
    assert some_bytes(300_000) == await curl(tool, our_proxy, url)
    await our_proxy.entry(method="GET", target=url, status=200, bytes_down=300_000, ended="complete")


@pytest.mark.parametrize("path", ["bytes", "chunks"])
async def test_curl_speaks_http_1_0(tool: Tool, our_proxy: OurProxy, origin: Origin, path: str) -> None:
    """HTTP/1.0 knows no chunks: the end of the connection is the end of the body."""
    url = f"{origin.url}/{path}/300000"
    assert some_bytes(300_000) == await curl(tool, our_proxy, "--http1.0", url)
    await our_proxy.entry(method="GET", target=url, status=200, bytes_down=300_000, ended="complete")


async def test_curl_heads(tool: Tool, our_proxy: OurProxy, origin: Origin) -> None:
    """HEAD: the size, no body, and no wait for one."""
    url = f"{origin.url}/bytes/300000"
    head = await curl(tool, our_proxy, "--head", url)
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"\r\nContent-Length: 300000\r\n" in head
    assert head.endswith(b"\r\n\r\n")
    await our_proxy.entry(method="HEAD", target=url, status=200, bytes_down=0, ended="complete")


async def test_curl_posts(tool: Tool, our_proxy: OurProxy, origin: Origin) -> None:
    """A body of known size; the origin sees Via."""
    body = some_bytes(200_000)
    url = f"{origin.url}/take"
    said = await curl(tool, our_proxy, "--data-binary", "@-", url, stdin=body)
    assert f"POST sized via 200000 {digest(body)}\n" == said.decode()
    await our_proxy.entry(method="POST", target=url, status=200, bytes_up=200_000, bytes_down=len(said))


async def test_curl_uploads_in_chunks(tool: Tool, our_proxy: OurProxy, origin: Origin) -> None:
    """A body of unknown size."""
    body = some_bytes(200_000)
    url = f"{origin.url}/take"
    said = await curl(tool, our_proxy, "-H", "Expect:", "-T", "-", url, stdin=body)
    assert f"PUT chunked via 200000 {digest(body)}\n" == said.decode()
    await our_proxy.entry(method="PUT", target=url, status=200, bytes_up=200_000, bytes_down=len(said))


async def test_curl_waits_for_100_continue(
    tool: Tool, our_proxy: OurProxy, origin: Origin, tmp_path: Path
) -> None:
    """curl sends the body after the origin's 100, which the proxy passes on; curl alone would wait 1 s."""
    body = some_bytes(1_500_000)
    (tmp_path / "body").write_bytes(body)
    url = f"{origin.url}/take"
    # Longer than a test may take: without the 100 it fails
    arguments = ("--expect100-timeout", "100", "-H", "Expect: 100-continue", "-D", tmp_path / "heads")
    said = await curl(tool, our_proxy, *arguments, "-T", tmp_path / "body", url)
    assert f"PUT sized via 1500000 {digest(body)}\n" == said.decode()
    statuses = [line for line in (tmp_path / "heads").read_text().splitlines() if line.startswith("HTTP/")]
    assert ["HTTP/1.1 100 Continue", "HTTP/1.1 200 OK"] == statuses
    await our_proxy.entry(method="PUT", target=url, status=200, bytes_up=1_500_000, bytes_down=len(said))


async def test_curl_keeps_its_connection(tool: Tool, our_proxy: OurProxy, origin: Origin) -> None:
    """Two GETs on one connection to the proxy, with replies framed in both ways."""
    urls = [f"{origin.url}/chunks/50000", f"{origin.url}/bytes/60000"]
    said = await curl(tool, our_proxy, *urls, "-w", "\nnew connections: %{num_connects}\n")
    counted = [b"\nnew connections: %d\n" % count for count in (1, 0)]
    assert some_bytes(50_000) + counted[0] + some_bytes(60_000) + counted[1] == said
    entries = [await our_proxy.entry(method="GET", target=url, status=200) for url in urls]
    assert entries[0]["client"] == entries[1]["client"]
    our_proxy.assert_that_was_all()


async def test_curl_is_told_what_failed(tool: Tool, our_proxy: OurProxy, closed_port: Endpoint) -> None:
    """A refused CONNECT and a refused GET: 502 both, and the log has why."""
    for arguments, method in ((["-p"], "CONNECT"), ([], "GET")):
        ran = await run(
            tool("curl", "curl"), "-q", "-s", "-x", our_proxy.url, *arguments, f"http://{closed_port}/",
            "-w", "%{http_connect} %{http_code}",
        )  # fmt: skip
        if method == "CONNECT":
            assert (56, "502 000") == (ran.status, ran.text)
        else:
            assert (0, "000 502") == (ran.status, ran.text[-7:])
            assert "connection_refused" not in ran.text  # that is for machines; people get words
        await our_proxy.entry(method=method, status=502, error="connection_refused", ended="refused")


async def test_wget(tool: Tool, our_proxy: OurProxy, origin: Origin) -> None:
    """wget takes its proxy from the environment: http is forwarded, https goes through a tunnel."""
    program = tool("wget", "wget")
    env = {"http_proxy": our_proxy.url, "https_proxy": our_proxy.url}
    url = f"{origin.url}/chunks/300000"
    ran = await run(program, "--no-config", "-nv", "-O", "-", url, **env)
    assert (0, some_bytes(300_000)) == (ran.status, ran.stdout), ran.stderr
    await our_proxy.entry(method="GET", target=url, status=200, bytes_down=300_000, ended="complete")
    trust = ("--ca-certificate", origin.authority_file)
    ran = await run(program, "--no-config", "-nv", *trust, "-O", "-", f"{origin.tls_url}/bytes/300000", **env)
    assert (0, some_bytes(300_000)) == (ran.status, ran.stdout), ran.stderr
    await our_proxy.tunnel(origin.tls_target)


async def test_urllib(our_proxy: OurProxy, origin: Origin, authority: trustme.CA) -> None:
    """urllib.request with a ProxyHandler: http is forwarded, https goes through a tunnel."""

    def get(url: str) -> bytes:
        opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({"http": our_proxy.url, "https": our_proxy.url}),
            urllib.request.HTTPSHandler(context=client_tls(authority)),
        )
        with opener.open(url, timeout=SOON_SECONDS) as reply:
            return reply.read()

    url = f"{origin.url}/chunks/200000"
    assert some_bytes(200_000) == await asyncio.to_thread(get, url)
    await our_proxy.entry(method="GET", target=url, status=200, bytes_down=200_000, ended="complete")
    assert some_bytes(200_000) == await asyncio.to_thread(get, f"{origin.tls_url}/bytes/200000")
    await our_proxy.tunnel(origin.tls_target)


async def test_http_client(our_proxy: OurProxy, origin: Origin, authority: trustme.CA) -> None:
    """http.client with set_tunnel: two requests through one tunnel."""

    def get_two() -> list[bytes]:
        here = our_proxy.service.endpoint
        connection = http.client.HTTPSConnection(
            here.host, here.port, timeout=SOON_SECONDS, context=client_tls(authority)
        )
        connection.set_tunnel(origin.tls.host, origin.tls.port)
        replies = []
        for path in ("/bytes/100000", "/chunks/100000"):
            connection.request("GET", path)
            replies.append(connection.getresponse().read())
        connection.close()
        return replies

    assert [some_bytes(100_000)] * 2 == await asyncio.to_thread(get_two)
    await our_proxy.tunnel(origin.tls_target)
    our_proxy.assert_that_was_all()


async def test_aiohttp_client(our_proxy: OurProxy, origin: Origin, authority: trustme.CA) -> None:
    """aiohttp's client with proxy=: http is forwarded, https goes through a tunnel."""
    # Its other resolver has a thread that outlives the session for a moment
    connector = aiohttp.TCPConnector(resolver=aiohttp.ThreadedResolver())
    async with aiohttp.ClientSession(connector=connector) as session:
        url = f"{origin.url}/take"
        body = some_bytes(200_000)
        async with session.post(url, data=body, proxy=our_proxy.url) as reply:
            assert f"POST sized via 200000 {digest(body)}\n" == await reply.text()
        await our_proxy.entry(method="POST", target=url, status=200, bytes_up=200_000, ended="complete")
        tls_url = f"{origin.tls_url}/bytes/200000"
        async with session.get(tls_url, proxy=our_proxy.url, ssl=client_tls(authority)) as reply:
            assert some_bytes(200_000) == await reply.read()
    await our_proxy.tunnel(origin.tls_target)


async def test_pip_download(our_proxy: OurProxy, origin: Origin, tmp_path: Path) -> None:
    """pip asks an index and fetches a wheel, both through the proxy, both byte for byte."""
    if find_spec("pip") is None:
        lacking("this Python has no pip")
    place = origin.folder / "simple" / "relay-fetch-me"
    place.mkdir(parents=True)
    wheel = place / "relay_fetch_me-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("relay_fetch_me.py", some_bytes(1_000).hex())
        info = "relay_fetch_me-1.0.dist-info"
        archive.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: relay-fetch-me\nVersion: 1.0\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    index = f"{origin.url}/files/simple"
    target = tmp_path / "downloads"
    ran = await run(
        sys.executable, "-m", "pip", "download", "--isolated", "--no-cache-dir", "--no-deps", "-q",
        "--proxy", our_proxy.url, "-i", index, "-d", target, "relay-fetch-me", HOME=str(tmp_path),
    )  # fmt: skip
    assert 0 == ran.status, ran.stderr
    assert wheel.read_bytes() == (target / wheel.name).read_bytes()
    page_url, wheel_url = f"{index}/relay-fetch-me/", f"{index}/relay-fetch-me/{wheel.name}"
    await our_proxy.entry(method="GET", target=page_url, status=200, ended="complete")
    await our_proxy.entry(method="GET", target=wheel_url, status=200, bytes_down=wheel.stat().st_size)


async def test_apt_get_update(tool: Tool, our_proxy: OurProxy, origin: Origin, tmp_path: Path) -> None:
    """apt's own HTTP client: the index of a repository on loopback, by a proxy from its settings."""
    program = tool("apt-get", "apt")
    repository = origin.folder / "apt"
    repository.mkdir()
    packages = "Package: relay-fetch-me\nVersion: 1.0\nArchitecture: all\nFilename: ./none.deb\nSize: 1\n\n"
    (repository / "Packages").write_text(packages)
    line = f"{digest(packages.encode())} {len(packages)} Packages"
    (repository / "Release").write_text(f"Date: Sat, 01 Jan 2022 00:00:00 UTC\nSHA256:\n {line}\n")
    for folder in ("state/lists/partial", "cache/archives/partial", "parts"):
        (tmp_path / folder).mkdir(parents=True)
    url = f"{origin.url}/files/apt"
    (tmp_path / "sources.list").write_text(f"deb [trusted=yes] {url} ./\n")
    settings = {
        "Acquire::http::Proxy": our_proxy.url,
        "Acquire::Languages": "none",
        "APT::Sandbox::User": "root",  # not that of the system, who may not write here
        "Dir::State": tmp_path / "state",
        "Dir::State::status": "/dev/null",
        "Dir::Cache": tmp_path / "cache",
        "Dir::Etc::sourcelist": tmp_path / "sources.list",
        "Dir::Etc::sourceparts": tmp_path / "parts",
        "Dir::Etc::parts": tmp_path / "parts",
        "Dir::Etc::main": "/dev/null",
    }
    (tmp_path / "apt.conf").write_text("".join(f'{name} "{value}";\n' for name, value in settings.items()))
    ran = await run(program, "-q", "update", APT_CONFIG=str(tmp_path / "apt.conf"))
    assert 0 == ran.status, ran.stderr
    [index] = (tmp_path / "state" / "lists").glob("*_Packages")
    assert packages == index.read_text()
    await our_proxy.entry(method="GET", target=f"{url}/./InRelease", status=404, ended="complete")
    # What comes between them is another thing with every version of apt
    while (entry := await our_proxy.entry(method="GET", ended="complete"))["target"] != f"{url}/./Packages":
        continue
    assert (200, len(packages)) == (entry["status"], entry["bytes_down"])
    our_proxy.assert_that_was_all()
