"""Programs that open a tunnel through our proxy for something else: ncat, nc, socat, ssh and their like."""

import pytest

from relay.route import Endpoint
from tests.path import peers
from tests.path.conftest import Origin, OurProxy
from tests.path.origin import digest, digest_after_end, echo_counted, some_bytes, tcp_server
from tests.path.real import SCRIPTS, Tool, run


def tunnel_command(tool: Tool, our_proxy: OurProxy, name: str, target: Endpoint) -> list[str]:
    """Return the command line with which `name` connects its stdin and stdout with `target`."""
    here = our_proxy.service.endpoint
    host, port = target.host, str(target.port)
    if name == "ncat":
        return [tool("ncat", "ncat"), "--proxy-type", "http", "--proxy", str(here), host, port]
    if name == "nc":
        program = tool("nc.openbsd", "netcat-openbsd")
        return [program, "-N", "-X", "connect", "-x", str(here), host, port]
    if name == "proxytunnel":
        return [tool("proxytunnel", "proxytunnel"), "-q", "-p", str(here), "-d", str(target)]
    if name == "corkscrew":
        return [tool("corkscrew", "corkscrew"), here.host, str(here.port), host, port]
    if name == "connect-proxy":
        return [tool("connect-proxy", "connect-proxy"), "-H", str(here), host, port]
    if name == "socat":
        to = f"PROXY:{here.host}:{host}:{port},proxyport={here.port}"
        return [tool("socat", "socat"), "-t", "30", "-", to]
    return [str(SCRIPTS / "relay"), "tunnel", "--stdio", "-x", our_proxy.url, str(target)]


TUNNELLERS = ["ncat", "nc", "proxytunnel", "corkscrew", "connect-proxy", "socat", "relay"]
CLOSES_BOTH_WAYS = ("proxytunnel", "corkscrew")


@pytest.mark.parametrize("name", TUNNELLERS)
async def test_bytes_there_and_back(tool: Tool, our_proxy: OurProxy, name: str) -> None:
    """Half a megabyte up and down again; then the far end's FIN ends the client."""
    # These end although their stdin does not; the others wait for its end, and the first two must not see it
    stays_open = name in (*CLOSES_BOTH_WAYS, "relay")
    sent = b"500000\n" + some_bytes(500_000)
    async with tcp_server(echo_counted) as target:
        ran = await run(*tunnel_command(tool, our_proxy, name, target), stdin=sent, stays_open=stays_open)
    assert (0, sent[7:]) == (ran.status, ran.stdout), ran.stderr
    await our_proxy.entry(target=str(target), status=200, bytes_up=500_007, bytes_down=500_000)
    our_proxy.assert_that_was_all()


@pytest.mark.parametrize("name", [name for name in TUNNELLERS if name not in CLOSES_BOTH_WAYS])
async def test_an_answer_after_the_last_word(tool: Tool, our_proxy: OurProxy, name: str) -> None:
    """The client's FIN passes the proxy as a half-close, so an answer that comes behind it arrives.

    proxytunnel and corkscrew close both ways at the end of their stdin.
    """
    body = some_bytes(500_000)
    async with tcp_server(digest_after_end) as target:
        ran = await run(*tunnel_command(tool, our_proxy, name, target), stdin=body)
    assert (0, f"500000 {digest(body)}\n") == (ran.status, ran.text), ran.stderr
    await our_proxy.entry(target=str(target), status=200, bytes_up=500_000, ended="client-closed")


async def test_openssl_s_client(tool: Tool, our_proxy: OurProxy, origin: Origin) -> None:
    """s_client -proxy verifies the far end's certificate through the tunnel."""
    arguments = ("-proxy", our_proxy.address, "-connect", origin.tls_target, "-CAfile", origin.authority_file)
    request = f"GET /bytes/100000 HTTP/1.1\r\nHost: {origin.tls_target}\r\nConnection: close\r\n\r\n"
    ran = await run(
        tool("openssl", "openssl"), "s_client", "-quiet", "-verify_return_error", "-verify_ip", "127.0.0.1",
        *arguments, stdin=request.encode(),
    )  # fmt: skip
    head, _, body = ran.stdout.partition(b"\r\n\r\n")
    assert (0, some_bytes(100_000)) == (ran.status, body), ran.stderr
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    await our_proxy.tunnel(origin.tls_target)


@pytest.mark.parametrize("program", ["ncat", "relay"])
async def test_ssh(tool: Tool, our_proxy: OurProxy, sshd: peers.Sshd, program: str) -> None:
    """A whole SSH session with a ProxyCommand: a megabyte through `cat` on the other side."""
    commands = {
        "ncat": f"{tool('ncat', 'ncat')} --proxy-type http --proxy {our_proxy.address} %h %p",
        "relay": f"{SCRIPTS / 'relay'} tunnel --stdio -x {our_proxy.url} %h:%p",
    }
    where = sshd.daemon.endpoint
    body = some_bytes(1_000_000)
    ran = await run(
        tool("ssh", "openssh-client"), *sshd.options, "-o", f"ProxyCommand={commands[program]}",
        "-p", str(where.port), f"{sshd.user}@{where.host}", "cat", stdin=body,
    )  # fmt: skip
    assert (0, body) == (ran.status, ran.stdout), ran.stderr
    entry = await our_proxy.entry(method="CONNECT", target=str(where), status=200)
    assert entry["bytes_up"] > 1_000_000
    assert entry["bytes_down"] > 1_000_000
