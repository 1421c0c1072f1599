"""`relay check` through real SOCKS proxies: their replies are numbers, and mean other things than HTTP's."""

import pytest

from relay.reading import read_socks
from relay.route import Endpoint
from tests.path import hop_peers
from tests.path.checked import assert_good, assert_named, check
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
