"""Proxies that their clients speak TLS with: squid, Apache, and our own behind socat."""

import contextlib
from collections.abc import Iterator

import pytest
import trustme

from protocol.packet import Packet
from relay.framework_client import FrameworkClient
from relay.route import Route
from tests.path import peers
from tests.path.conftest import FarEnd
from tests.path.ends import RST, end_of
from tests.path.origin import some_bytes
from tests.path.real import Daemon, Tool, daemon, folder, free_endpoint, ping, relay_command


@contextlib.contextmanager
def relay_behind_tls(tool: Tool, *, certificate: bytes) -> Iterator[Daemon]:
    """Our proxy with socat before it, which takes the TLS off."""
    program = tool("socat", "socat")
    endpoint = free_endpoint()
    with peers.relay_proxy() as proxy, folder() as place:
        (place / "proxy.pem").write_bytes(certificate)
        listen = f"OPENSSL-LISTEN:{endpoint.port},bind={endpoint.host},cert={place}/proxy.pem,verify=0,fork"
        arguments = [program, listen, f"TCP:{proxy.endpoint}"]
        with daemon(arguments, endpoint, place) as running:
            yield running


TLS_PROXIES = {"squid": peers.squid, "apache": peers.apache, "relay": relay_behind_tls}


@pytest.fixture(params=TLS_PROXIES)
def tls_proxy(request: pytest.FixtureRequest, tool: Tool, certificate: bytes) -> Iterator[str]:
    """The URL of each proxy that speaks TLS with its clients."""
    with TLS_PROXIES[request.param](tool, certificate=certificate) as running:
        yield f"https://{running.endpoint}"


@pytest.fixture(scope="module")
def authority_file(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> str:
    """What --proxy-ca takes."""
    path = tmp_path_factory.mktemp("authority") / "authority.pem"
    authority.cert_pem.write_to_path(str(path))
    return str(path)


async def test_an_https_proxy(tls_proxy: str, authority_file: str, far: FarEnd) -> None:
    """Pings and a megabyte go through TLS to the proxy."""
    options = ("-x", tls_proxy, "--proxy-ca", authority_file)
    ran = await ping("-P", far.port, "-c", "2", "-i", "0.01", *options, far.host)
    assert (0, "") == (ran.status, ran.stderr)
    assert 2 == ran.text.count(f" ms (via {tls_proxy})\n")
    assert 2 == (await far.record()).pings
    with relay_command("tunnel", str(far.server.endpoint), *options) as local:
        async with FrameworkClient(Route(local.endpoint)) as client:
            reply = await client.request(Packet.echo(some_bytes(1_000_000)))
    assert some_bytes(1_000_000) == reply.argument


async def test_an_untrusted_https_proxy(tls_proxy: str, far: FarEnd) -> None:
    """Without --proxy-ca nothing is sent to it: not even the name of the target."""
    ran = await ping("-P", far.port, "-c", "1", "-x", tls_proxy, "--json", far.host)
    assert 1 == ran.status
    assert '"reason": "tls-untrusted"' in ran.text
    with relay_command("tunnel", str(far.server.endpoint), "-x", tls_proxy) as local:
        assert (b"", RST) == await end_of(local.endpoint)
        local.stop()
    assert f" tls: {tls_proxy} shows a certificate that is not trusted here (" in local.stderr
    assert [] == far.server.journal.records


async def test_an_https_proxy_that_is_checked_by_nobody(tls_proxy: str, far: FarEnd) -> None:
    """--proxy-insecure, for those who know: it works, and says so each time."""
    ran = await ping("-P", far.port, "-c", "1", "-x", tls_proxy, "--proxy-insecure", far.host)
    words = "is NOT verified: anybody on the way can read the login"
    assert (0, f"TMSS10Ping: warning: the certificate of {tls_proxy} {words}\n") == (ran.status, ran.stderr)


async def test_a_certificate_for_another_name(
    tool: Tool, authority: trustme.CA, authority_file: str, far: FarEnd
) -> None:
    """Its authority is trusted, but it is not this proxy's."""
    made = authority.issue_cert("other.example")
    pem = made.private_key_pem.bytes() + made.cert_chain_pems[0].bytes()
    with peers.squid(tool, certificate=pem) as squid:
        url = f"https://{squid.endpoint}"
        ran = await ping("-P", far.port, "-c", "1", "-x", url, "--proxy-ca", authority_file, far.host)
    assert 1 == ran.status
    assert f" tls: {url} shows a certificate that is not trusted here (IP address mismatch, " in ran.stderr


async def test_https_to_a_proxy_without_tls(tool: Tool, far: FarEnd) -> None:
    """The sentence says TLS, for that is what fails."""
    with peers.squid(tool) as squid:
        url = f"https://{squid.endpoint}"
        ran = await ping("-P", far.port, "-c", "1", "-x", url, far.host)
    assert 1 == ran.status
    assert f"TMSS10Ping: seq=1: tls: {url} did not complete the TLS handshake (" in ran.stderr
