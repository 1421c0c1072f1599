"""Rules of the policy in a running proxy: what the client is told, and what the log has."""

from typing import Any

import pytest

from relay.access import Access
from relay.access_rule import Rule
from relay.limits import Limits
from tests.path.proxied import Proxied, Target, connect_head, get_head, read_all, read_head, status_of


def deny(**conditions: list[Any]) -> Rule:
    return Rule.of(conditions, allows=False, words="the rule's own words")


def allow(**conditions: list[Any]) -> Rule:
    return Rule.of(conditions, allows=True, words="")


@pytest.mark.parametrize("head", [connect_head, get_head])
@pytest.mark.parametrize(("network", "status"), [(["127.0.0.0/8", "::1"], 403), (["10.0.0.0/8"], 200)])
def test_a_name_is_judged_by_its_addresses(head: Any, network: list[Any], status: int) -> None:
    """The address that is looked up is the one that is judged, and the one that is dialled."""
    with Target() as target, Proxied(access=Access(rules=(deny(network=network),))) as proxied:
        with proxied.client(head(f"localhost:{target.port}")) as near:
            if status == 403:
                assert (403, "FIN") == (status_of((reply := read_all(near))[0]), reply[1])
                assert not target.was_called()
            else:
                with target.accept() as far:
                    if head is get_head:
                        far.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
                    assert 200 == status_of(read_head(near))
        assert status == proxied.entry()["status"]


def test_a_proxy_that_keeps_its_reasons() -> None:
    """The log has the rule's words, the client has others."""
    with Proxied(access=Access(rules=(deny(port=[1]),), tell_reason=False)) as proxied:
        with proxied.client(connect_head("127.0.0.1:1")) as near:
            reply = read_all(near)[0]
        assert 403 == status_of(reply)
        assert b"own words" not in reply
        assert b'details="the policy does not allow it"' in reply
        assert "the rule's own words" == proxied.entry()["words"]


def test_by_user_agent() -> None:
    """As the request has it."""
    with Proxied(access=Access(rules=(deny(user_agent=["evil/*"]),))) as proxied, Target() as target:
        with proxied.client(connect_head(target.authority, "User-Agent: Evil/1")) as near:
            assert 403 == status_of(read_all(near)[0])
        with proxied.client(connect_head(target.authority, "User-Agent: good/1")) as near, target.accept():
            assert 200 == status_of(read_head(near))
        assert [403, 200] == [proxied.entry()["status"] for _ in range(2)]


def test_by_open_tunnels() -> None:
    """A rule that fits while the client has a tunnel open."""
    rules = (deny(client_tunnels=[1], port=["1-65535"]),)
    with Proxied(access=Access(rules=rules)) as proxied, Target() as target:
        with proxied.client(connect_head(target.authority)) as near, target.accept():
            assert 200 == status_of(read_head(near))
            with proxied.client(connect_head(target.authority)) as second:
                assert 403 == status_of(read_all(second)[0])
        assert [403, 200] == [proxied.entry()["status"] for _ in range(2)]
        with proxied.client(connect_head(target.authority)) as near, target.accept():
            assert 200 == status_of(read_head(near))


def test_by_client() -> None:
    """Whoever is not in the list is refused when nothing else allows it."""
    for network, status in (("127.0.0.0/8", 502), ("10.0.0.0/8", 403)):
        access = Access(rules=(allow(client=[network]),), allow_others=False)
        with Proxied(access=access) as proxied, proxied.client(connect_head("127.0.0.1:1")) as near:
            assert status == status_of(read_all(near)[0])


def test_another_policy_while_it_runs() -> None:
    """Requests that come later meet it, in the dialler too; the tunnel that is open goes on."""
    with Proxied() as proxied, Target() as target:
        with proxied.client(connect_head(target.authority)) as near, target.accept() as far:
            assert 200 == status_of(read_head(near))
            for access in (Access(rules=(deny(port=[target.port]),)), Access(allow_local=False)):
                proxied.run(proxied.proxy.change(access, Limits(), None))
                with proxied.client(connect_head(target.authority)) as other:
                    assert 403 == status_of(read_all(other)[0])
            near.sendall(b"still here")
            assert b"still here" == far.recv(100)


def test_what_a_format_with_details_has() -> None:
    """The target's address, the version, User-Agent and Referer; other logs have none of them."""
    with Proxied(log_details=True) as proxied, Target() as target:
        fields = ("User-Agent: a/1", "Referer: http://r/")
        with proxied.client(connect_head(f"localhost:{target.port}", *fields)) as near, target.accept():
            assert 200 == status_of(read_head(near))
        entry = proxied.entry()
        seen = [entry[key] for key in ("reached", "version", "user-agent", "referer")]
        assert ["127.0.0.1", "1.1", "a/1", "http://r/"] == seen
