"""`relay check` through real SOCKS proxies: their replies are numbers, and mean other things than HTTP's."""

from asyncio import StreamReader, StreamWriter

import pytest

from relay.reading import read_socks
from relay.route import Endpoint
from tests.path import hop_peers
from tests.path.checked import assert_good, assert_named, check, serving
from tests.path.conftest import FarEnd
from tests.path.real import Tool


async def test_a_closed_port_behind_a_socks_proxy(far: FarEnd, closed_port: Endpoint, tool: Tool) -> None:
    """The proxy says that the target has refused; that is no policy of the proxy's."""
    with hop_peers.microsocks(tool) as proxy:
        assert_good(await check(far.server.endpoint, f"socks5h://{proxy.endpoint}"))
        assert_named(await check(closed_port, f"socks5h://{proxy.endpoint}"), "proxy-upstream-refused")


@pytest.mark.parametrize(
    ("version", "code", "word"),
    [
        ("socks5h", 1, "gateway-failed"),
        ("socks5", 2, "denied"),
        ("socks5h", 4, "gateway-unreachable"),
        ("socks5h", 5, "gateway-refused"),
        ("socks5h", 6, "gateway-timed-out"),
        ("socks5h", 8, "no-connect"),
        ("socks5h", 99, "gateway-failed"),
        ("socks4a", 91, "gateway-failed"),
    ],
)
def test_what_a_reply_means(version: str, code: int, word: str) -> None:
    """RFC 1928 section 6; SOCKS 4 has one refusal for all, so nothing is concluded from it."""
    reading = read_socks(version, code)
    assert (word, f"SOCKS reply {code}") == (reading.word, reading.own_words)


@pytest.mark.parametrize(
    ("scheme", "host", "may_be_the_name"),
    [("socks5h", "nosuch.invalid", True), ("socks5h", "192.0.2.7", False), ("socks5", "localhost", False)],
)
async def test_a_host_that_is_unreachable(scheme: str, host: str, may_be_the_name: bool) -> None:
    """Said of a name it may mean that there is no such name (dante); of an address it means no way."""

    async def unreachable(reader: StreamReader, writer: StreamWriter) -> None:
        await reader.readexactly((await reader.readexactly(2))[1])
        writer.write(b"\x05\x00")
        await reader.read(262)
        writer.write(b"\x05\x04\x00\x01" + bytes(6))

    async with serving(unreachable) as proxy:
        checked = await check(Endpoint(host, 5000), f"{scheme}://{proxy}")
    assert may_be_the_name == ("socks-upstream-dns" in checked.named), checked.told
    if host != "localhost":  # there the way around the proxy may tell more
        assert "proxy-upstream-unreachable" in checked.named, checked.told
