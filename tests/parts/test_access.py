"""The policy: ports, and the addresses of the proxy's own machine in all their forms."""

import ipaddress

import pytest

from relay.access import Access, embedded, parse_ports
from relay.failure import SettingsError
from relay.route import Endpoint

PUBLIC = Access(allow_local=False)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "127.255.255.254", "0.0.0.0", "0.1.2.3", "::", "::1", "169.254.169.254", "fe80::1",
        "fe80::1%lo", "224.0.0.1", "ff02::1", "255.255.255.255", "100.100.100.200", "192.0.0.192",
        "168.63.129.16", "fd00:ec2::254", "fd20:ce::254",
        # An IPv4 address inside: mapped, compatible, translated, NAT64 of both kinds, 6to4, Teredo, ISATAP
        "::ffff:127.0.0.1", "::ffff:169.254.169.254", "::ffff:0.0.0.0", "::127.0.0.1", "::ffff:0:127.0.0.1",
        "64:ff9b::7f00:1", "64:ff9b:1::7f00:1", "2002:7f00:1::", "2002:a9fe:a9fe::1",
        "2001:0:4136:e378:8000:63bf:80ff:fffe", "fe80::5efe:7f00:1", "2001:db8::200:5efe:127.0.0.1",
    ],
)  # fmt: skip
def test_own_machine_link_and_metadata(address: str) -> None:
    """None of them may be reached through a proxy that others can reach; through one on loopback all may."""
    assert PUBLIC.refuses_address(address) is not None
    assert Access(allow_local=True).refuses_address(address) is None


@pytest.mark.parametrize(
    "address",
    [
        "10.0.0.1", "192.168.1.1", "172.16.0.1", "8.8.8.8", "100.64.0.1", "2001:db8::1", "fd00::1",
        "64:ff9b::808:808", "2002:808:808::1", "::ffff:10.0.0.1", "2606:4700::1111",
    ],
)  # fmt: skip
def test_everything_else_may_be_reached(address: str) -> None:
    """Private networks too: they are what a company's proxy is for."""
    assert PUBLIC.refuses_address(address) is None


def test_an_address_carries_others() -> None:
    """The address itself comes first, then what is inside."""
    found = embedded(ipaddress.ip_address("2002:7f00:1::"))
    assert ["2002:7f00:1::", "127.0.0.1"] == [str(address) for address in found]
    assert [ipaddress.ip_address("1.2.3.4")] == embedded(ipaddress.ip_address("1.2.3.4"))


def test_ports() -> None:
    """Without a list every port is allowed, with one only those in it."""
    some = Access(allow_ports=(range(443, 444), range(5000, 5011)))
    assert [None, None, None] == [some.refuses(Endpoint("a", port)) for port in (443, 5000, 5010)]
    assert "port 5011 is not allowed" == some.refuses(Endpoint("a", 5011))
    assert Access().refuses(Endpoint("a", 25)) is None


def test_ports_of_the_command_line() -> None:
    """Single ports, ranges, lists, repeated."""
    assert (range(443, 444), range(1, 65536), range(80, 81)) == parse_ports(["443,1-65535", " 80 "])
    assert () == parse_ports([])


@pytest.mark.parametrize(
    "text",
    [
        "",
        "0",
        "65536",
        "70536",
        "a",
        "-1",
        "1-",
        "-",
        "5-1",
        "1-65536",
        "1-2-3",
        "+1",
        "1_0",
        "\u0661",
        "9" * 5000,
    ],
)
def test_ports_that_are_none(text: str) -> None:
    """The error names the option and the text."""
    with pytest.raises(SettingsError, match="--allow-port: "):
        parse_ports([text])
