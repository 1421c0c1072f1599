"""When a request needs nobody to look at more than its target."""

import pytest

from relay.access import Access
from relay.access_rule import Rule
from relay.gatekeeper import Gatekeeper
from relay.limits import Limits
from relay.login_gate import Login
from relay.users import Users

RULE = Rule.of({}, allows=True, words="")


def test_without_a_policy_it_is_plain() -> None:
    """Ports, own addresses and times to wait are no matter of who asks."""
    access = Access(allow_ports=(range(443, 444),), allow_local=False)
    assert Gatekeeper(access, Limits(head_timeout_seconds=1.0)).is_plain


@pytest.mark.parametrize(
    ("access", "limits", "login"),
    [
        (Access(rules=(RULE,)), Limits(), None),
        (Access(allow_others=False), Limits(), None),
        (Access(), Limits(), Login(Users())),
        (Access(), Limits(connections=1), None),
        (Access(), Limits(client_connections=1), None),
        (Access(), Limits(tunnels=1), None),
        (Access(), Limits(client_tunnels=1), None),
        (Access(), Limits(client_requests_per_second=1.0), None),
    ],
)
def test_with_one_it_is_not(access: Access, limits: Limits, login: Login | None) -> None:
    """Each of them has to see the request or its client."""
    assert not Gatekeeper(access, limits, login).is_plain
