"""Logins at the proxy: 407, schemes by contract, back-off, connections that are kept or closed."""

import base64
import json
import re
from collections.abc import Iterator
from typing import Any, ClassVar

import pytest

from relay.access import Access
from relay.access_rule import Rule
from relay.accounts import Accounts
from relay.backoff import FREE_FAILURES
from relay.login import Accepted, Continue, Conversation, Credentials, Failed, Verdict
from relay.login_gate import Login
from relay.logins import LOGINS
from relay.users import Users, hash_password
from tests.path.proxied import (
    LOOPS,
    Proxied,
    Target,
    connect_head,
    fields_of,
    get_head,
    read_all,
    read_exactly,
    read_head,
    settled,
    status_of,
)

USERS = Users({"alice": {"scrypt": hash_password("correct horse")}})
SECRET = "correct horse"


def basic(user: str, password: str) -> str:
    return "Proxy-Authorization: Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


RIGHT = basic("alice", SECRET)


@pytest.fixture(params=LOOPS)
def proxied(request: pytest.FixtureRequest) -> Iterator[Proxied]:
    with settled(request.param, login=Login(USERS, realm='Our "own" realm')) as running:
        yield running


@pytest.mark.parametrize("fields", [[], [basic("alice", "wrong")], [basic("nobody", SECRET)],
                                    ["Proxy-Authorization: Basic !"], ["Proxy-Authorization: Basic"],
                                    ["Proxy-Authorization: Basic YWxpY2U="],
                                    ["Proxy-Authorization: Bearer x"], ["Proxy-Authorization:"]])  # fmt: skip
@pytest.mark.parametrize("head", [connect_head, get_head])
def test_without_a_right_login(proxied: Proxied, head: Any, fields: list[str]) -> None:
    """407 with the challenge and Proxy-Status; the connection closes; nothing reaches the target."""
    with Target() as target, proxied.client(head(target.authority, *fields) + b"GET / HTTP/1.1\r\n") as near:
        reply, end = read_all(near)
        told = fields_of(reply)
        assert (407, "FIN") == (status_of(reply), end)
        assert ['Basic realm="Our \\"own\\" realm", charset="UTF-8"'] == told["proxy-authenticate"]
        assert ["close"] == told["connection"]
        assert "error=http_request_denied" in told["proxy-status"][0]
        assert 1 == len(re.findall(rb"(?m)^HTTP/1", reply))
        assert not target.was_called()
    entry = proxied.entry()
    assert (407, None) == (entry["status"], entry.get("user"))
    assert SECRET not in json.dumps(entry)


def test_with_a_right_login(proxied: Proxied) -> None:
    """A tunnel opens, its entry has the user; the credentials go no further than the proxy."""
    with Target() as target:
        with proxied.client(connect_head(target.authority, RIGHT) + b"early") as near, target.accept() as far:
            assert b"HTTP/1.1 200 Connection established\r\n\r\n" == read_head(near)
            assert b"early" == read_exactly(far, 5)
        assert "alice" == proxied.entry()["user"]
        with proxied.client(get_head(target.authority, RIGHT)) as near, target.accept() as origin:
            assert b"uthorization" not in read_head(origin)
            origin.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            assert 200 == status_of(read_head(near))
    assert "alice" == proxied.entry()["user"]


def test_two_logins_in_one_request(proxied: Proxied) -> None:
    """Nobody can tell which is meant: 400."""
    with proxied.client(connect_head("127.0.0.1:1", RIGHT, RIGHT)) as near:
        assert 400 == status_of(read_all(near)[0])
    proxied.entry()


def test_options_and_trace_want_a_login_too(proxied: Proxied) -> None:
    """What the proxy answers itself is for users as well."""
    for line in ("OPTIONS * HTTP/1.1", "TRACE http://a.invalid/ HTTP/1.1"):
        raw = f"{line}\r\nHost: a.invalid\r\nMax-Forwards: 0\r\n\r\n".encode()
        with proxied.client(raw) as near:
            assert 407 == status_of(read_all(near)[0])
        proxied.entry()


def test_who_fails_too_often_waits(proxied: Proxied, monkeypatch: pytest.MonkeyPatch) -> None:
    """After some failures no try is looked at for a while, a right one neither: 429, and when to come."""
    monkeypatch.setattr("relay.backoff.FIRST_WAIT_SECONDS", 60.0)
    for _ in range(FREE_FAILURES):
        with proxied.client(connect_head("127.0.0.1:1", basic("alice", "guess"))) as near:
            assert 407 == status_of(read_all(near)[0])
        proxied.entry()
    with proxied.client(connect_head("127.0.0.1:1", RIGHT)) as near:
        reply = read_all(near)[0]
    assert 429 == status_of(reply)
    assert 0 < int(fields_of(reply)["retry-after"][0]) <= 60
    proxied.entry()
    with proxied.client(connect_head("127.0.0.1:1")) as near:
        assert 407 == status_of(read_all(near)[0])  # who does not try is told how
    proxied.entry()


class Steps:
    """A scheme in two steps that hold for their connection, as NTLM has it."""

    name: ClassVar = "Steps"
    connection_bound: ClassVar = True

    def __init__(self, accounts: Accounts, realm: str, *, word: str = "please") -> None:
        self._word = word

    def challenges(self) -> list[str]:
        return ["Steps"]

    async def check(self, credentials: Credentials, conversation: Conversation) -> Verdict:
        if conversation.state is None:
            conversation.state = "asked"
            return Continue("Steps say-" + self._word)
        return Accepted("bob") if credentials.text == self._word else Failed(challenges=["Steps again"])


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> Login:
    monkeypatch.setitem(LOGINS, "Steps", Steps)
    return Login(USERS, schemes=("Steps", "Basic"), options={"Steps": {"word": "sesame"}})


@pytest.mark.parametrize("loop", LOOPS)
def test_a_login_in_several_steps(steps: Login, loop: str) -> None:
    """Both are offered; a step's challenge comes alone, on a connection that stays; then the tunnel opens."""
    with Target() as target, Proxied(loop, login=steps) as proxied:
        with proxied.client(connect_head(target.authority)) as near:
            offered = fields_of(read_all(near)[0])["proxy-authenticate"]
            assert ["Steps", 'Basic realm="proxy", charset="UTF-8"'] == offered
        with proxied.client(connect_head(target.authority, "Proxy-Authorization: Steps begin")) as near:
            told = fields_of(reply := read_head(near))
            assert (407, ["Steps say-sesame"]) == (status_of(reply), told["proxy-authenticate"])
            assert ["keep-alive"] == told["connection"]
            read_exactly(near, int(told["content-length"][0]))
            near.sendall(connect_head(target.authority, "Proxy-Authorization: steps sesame"))
            with target.accept():
                assert 200 == status_of(read_head(near))
        assert [407, 407, 200] == [(entry := proxied.entry())["status"] for _ in range(3)]
        assert "bob" == entry["user"]


@pytest.mark.parametrize("loop", LOOPS)
def test_a_login_holds_for_its_connection(steps: Login, loop: str) -> None:
    """Requests after it need none, on the same connection; another connection does."""
    with Target() as target, Proxied(loop, login=steps) as proxied:
        with proxied.client(get_head(target.authority, "Proxy-Authorization: Steps begin")) as near:
            for fields in (["Proxy-Authorization: Steps sesame"], []):
                told = fields_of(head := read_head(near))
                assert (407 if "Proxy-Auth" in "".join(fields) else 200) == status_of(head)
                read_exactly(near, int(told["content-length"][0]))
                near.sendall(get_head(target.authority, *fields))
                with target.accept() as origin:
                    read_head(origin)
                    origin.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
            assert 200 == status_of(read_head(near))
        with proxied.client(get_head(target.authority)) as near:
            assert 407 == status_of(read_all(near)[0])
        assert [None, "bob", "bob", None] == [proxied.entry().get("user") for _ in range(4)]


def test_a_step_with_bytes_behind_it_closes(steps: Login) -> None:
    """RFC 9931 section 8: what a client sent behind a refused CONNECT is never read as a request."""
    with Proxied(login=steps) as proxied:
        request = connect_head("127.0.0.1:1", "Proxy-Authorization: Steps begin") + b"GET / HTTP/1.1\r\n\r\n"
        with proxied.client(request) as near:
            reply, end = read_all(near)
            assert ("FIN", 1) == (end, len(re.findall(rb"(?m)^HTTP/1", reply)))
        proxied.entry()


def test_rules_first_as_squid_has_it() -> None:
    """Without `before_access` only a rule about users asks: a 403 by port needs no login."""
    rules = (
        Rule.of({"port": ["1-1023"]}, allows=False, words="low port"),
        Rule.of({"user": ["alice"]}, allows=True, words=""),
    )
    login = Login(USERS, before_access=False)
    with Target() as target, Proxied(access=Access(rules=rules, allow_others=False), login=login) as proxied:
        for authority, fields, status in (
            ("127.0.0.1:443", [], 403),
            (target.authority, [], 407),
            (target.authority, [RIGHT], 200),
        ):
            with proxied.client(connect_head(authority, *fields)) as near:
                assert status == status_of(read_head(near))
                if status == 200:
                    target.accept().close()
            proxied.entry()


def test_a_user_is_denied_by_name() -> None:
    """The log has the user of a refusal by a rule, and the client the reason."""
    rules = (Rule.of({"user": ["alice"]}, allows=False, words="not alice"),)
    with Proxied(access=Access(rules=rules), login=Login(USERS)) as proxied:
        with proxied.client(connect_head("127.0.0.1:1", RIGHT)) as near:
            reply = read_all(near)[0]
        assert 403 == status_of(reply)
        assert b"not alice" in reply
        entry = proxied.entry()
        assert ("alice", "not alice") == (entry["user"], entry["words"])
