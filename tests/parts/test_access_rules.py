"""Rules of the policy: each condition, their order, and what has to be known before they can decide."""

import time
from typing import Any

import pytest

from relay.access import Access, Need
from relay.access_conditions import CONDITIONS
from relay.access_networks import NetworkSet
from relay.access_request import Asked
from relay.access_rule import Rule
from relay.failure import SettingsError
from relay.route import Endpoint

MONDAY_NOON = time.strptime("2024-01-01 12:00", "%Y-%m-%d %H:%M")


def asked(host: str = "a.example", port: int = 443, **more: Any) -> Asked:
    given = {"method": "CONNECT", "client": "192.0.2.7", "now": lambda: MONDAY_NOON, **more}
    return Asked(given.pop("method"), Endpoint(host, port), given.pop("client"), **given)


def fits(conditions: dict[str, list[Any]], request: Asked, *, allows: bool = True) -> Any:
    return Rule.of(conditions, allows=allows, words="no").fits(request, None)


@pytest.mark.parametrize(
    ("condition", "values", "request_", "expected"),
    [
        ("method", ["GET", "CONNECT"], asked(), True),
        ("method", ["GET"], asked(), False),
        ("port", [443], asked(), True),
        ("port", ["440-450", 22], asked(), True),
        ("port", ["444-450,80"], asked(), False),
        ("host", ["A.Example."], asked("a.EXAMPLE"), True),
        ("host", ["a.example"], asked("a.example."), True),
        ("host", ["a.example"], asked("b.a.example"), False),
        ("host", ["10.0.0.1"], asked("10.0.0.1"), True),
        ("host", ["10.0.0.1"], asked("::ffff:10.0.0.1"), True),
        ("host", ["[2001:db8::1]"], asked("2001:DB8:0::1"), True),
        ("host", ["b\u00fccher.example"], asked("xn--bcher-kva.example"), True),
        ("suffix", ["example"], asked("x.y.example."), True),
        ("suffix", [".example.com"], asked("example.com"), True),
        ("suffix", ["example.com"], asked("notexample.com"), False),
        ("suffix", ["example"], asked("10.0.0.1"), False),
        ("glob", ["*.example"], asked("x.a.Example"), True),
        ("glob", ["a?.example"], asked("a.example"), False),
        ("glob", ["10.*"], asked("10.1.2.3"), True),
        ("network", ["10.0.0.0/8", "2001:db8::/32"], asked("10.1.2.3"), True),
        ("network", ["10.0.0.0/8"], asked("11.1.2.3"), False),
        ("network", ["10.0.0.0/8"], asked("::ffff:10.1.2.3"), True),
        ("network", ["2001:db8::/32"], asked("2001:db8::5"), True),
        ("network", ["10.0.0.0/8"], asked("ten.example"), Need.ADDRESS),
        ("target", ["name"], asked(), True),
        ("target", ["name"], asked("1.2.3.4"), False),
        ("target", ["literal"], asked("::1"), True),
        ("client", ["192.0.2.0/24"], asked(), True),
        ("client", ["192.0.2.8"], asked(), False),
        ("client", ["192.0.2.7"], asked(client="::ffff:192.0.2.7"), True),
        ("client", ["::/0", "0.0.0.0/0"], asked(client=""), False),
        ("user", ["alice"], asked(user="alice"), True),
        ("user", ["*"], asked(user="bob"), True),
        ("user", ["alice"], asked(user="bob"), False),
        ("user", ["alice"], asked(), Need.USER),
        ("user_agent", ["curl/*"], asked(user_agent=lambda: "Curl/8"), True),
        ("user_agent", [""], asked(), True),
        ("certificate", ["CN=ali*"], asked(certificate="CN=alice"), True),
        ("certificate", ["CN=ali*"], asked(), False),
        ("certificate", [""], asked(), True),
        ("time", ["08:00-18:00"], asked(), True),
        ("time", ["12:01-24:00", "00:00-12:00"], asked(), False),
        ("time", ["22:00-12:01"], asked(), True),
        ("time", ["22:00-12:00"], asked(), False),
        ("day", ["mon", "sun"], asked(), True),
        ("day", ["tue"], asked(), False),
        ("open_tunnels", [5], asked(open_tunnels=lambda: 5), True),
        ("open_tunnels", [5], asked(open_tunnels=lambda: 4), False),
        ("client_tunnels", [1], asked(client_tunnels=lambda: 2), True),
    ],
)  # fmt: skip
def test_a_condition(condition: str, values: list[Any], request_: Asked, expected: Any) -> None:
    """Each key of a rule fits what it says, in any spelling of the same thing."""
    assert expected is fits({condition: values}, request_)


@pytest.mark.parametrize(
    ("condition", "values"),
    [
        ("method", ["connect"]), ("method", [1]), ("port", [0]), ("port", ["443-"]), ("port", [70000]),
        ("host", ["a b"]), ("host", ["http://a/"]), ("host", [1]), ("suffix", [""]), ("suffix", ["*.a"]),
        ("suffix", ["10.0.0.1"]), ("suffix", ["0.0.1"]),
        ("network", ["10.0.0.1/8"]), ("network", ["ten"]), ("network", [10]), ("target", ["ip"]),
        ("client", ["host.example"]), ("user", [7]), ("glob", ["a" * 400]), ("time", ["8-18"]),
        ("time", ["08:00-08:00"]), ("time", ["25:00-26:00"]), ("day", ["monday"]), ("open_tunnels", [0]),
        ("open_tunnels", [1, 2]), ("client_tunnels", ["3"]), ("colour", ["red"]),
    ],
)  # fmt: skip
def test_values_that_cannot_be(condition: str, values: list[Any]) -> None:
    """The error begins with the place and names the key."""
    with pytest.raises(SettingsError, match=rf"^somewhere: .*{condition}"):
        Rule.of({condition: values}, allows=True, words="", what="somewhere")


def test_every_condition_is_tested_here() -> None:
    """A new condition without a case above is found."""
    cases = test_a_condition.pytestmark[0].args[1]
    assert set(CONDITIONS) == {case[0] for case in cases}


def test_the_first_rule_that_fits_decides() -> None:
    """Later ones are not asked; when none fits, the default holds. The words are the rule's own."""
    deny = Rule.of({"host": ["a.example"]}, allows=False, words="rule 1 denies it")
    allow = Rule.of({"suffix": ["example"]}, allows=True, words="")
    assert "rule 1 denies it" == Access(rules=(deny, allow)).decide(asked())
    assert Access(rules=(allow, deny)).decide(asked()) is None
    assert Access(rules=(deny,)).decide(asked("b.example")) is None
    assert "no rule allows it" == Access(rules=(allow,), allow_others=False).decide(asked("a.org"))


def test_all_conditions_of_a_rule_must_fit() -> None:
    """One that says no decides, whatever the others would have to know first."""
    assert fits({"network": ["10.0.0.0/8"], "port": [80]}, asked()) is False
    assert fits({"network": ["10.0.0.0/8"], "user": ["a"]}, asked()) is Need.USER
    assert fits({}, asked()) is True


def test_a_name_is_decided_by_its_addresses() -> None:
    """What the rules before allow needs no lookup; else each address is judged from the first rule on."""
    rules = (
        Rule.of({"suffix": ["trusted.example"]}, allows=True, words=""),
        Rule.of({"network": ["10.0.0.0/8"]}, allows=False, words="inside"),
    )
    access = Access(rules=rules)
    assert access.decide(asked("x.trusted.example")) is None
    request = asked("other.example")
    assert access.decide(request) is Need.ADDRESS
    assert ("inside", None) == (access.refuses_at(request, "10.9.9.9"), access.refuses_at(request, "8.8.8.8"))
    assert access.refuses_at(asked("x.trusted.example"), "10.9.9.9") is None


def test_what_ipv6_forms_carry() -> None:
    """A deny rule finds the IPv4 address inside them; an allow rule is not led astray by it."""
    inside = asked("64:ff9b::10.0.0.1")
    assert fits({"network": ["10.0.0.0/8"]}, inside, allows=False) is True
    assert fits({"network": ["10.0.0.0/8"]}, inside, allows=True) is False


def test_many_networks() -> None:
    """Whether an address is in one of them takes a look for each length of prefix, not for each network."""
    import ipaddress

    networks = NetworkSet(ipaddress.ip_network((number << 16, 24)) for number in range(50_000))
    assert ipaddress.ip_address(49_999 << 16 | 5) in networks
    assert ipaddress.ip_address(49_999 << 16 | 0x100) not in networks
    assert ipaddress.ip_address("::1") not in networks
