"""Faults and personas together with what a profile brings: logins, rules, limits, reloads."""

import asyncio
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from relay.access import Access
from relay.access_rule import Rule
from relay.fault_plan import FaultPlan
from relay.fault_rule import rule_from_text
from relay.limits import Limits
from relay.login_gate import Login
from relay.logins import LOGINS
from relay.persona import load
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
    status_of,
)
from tests.path.real import relay_command
from tests.path.test_proxy_login import RIGHT, USERS, Steps, basic

DENIED = Access(rules=(Rule.of({"port": ["1-1023"]}, allows=False, words="a secret reason"),))
BLOCK = b"0123456789"


def plan(*texts: str) -> FaultPlan:
    return FaultPlan([rule_from_text(text) for text in texts], seed=1)


@pytest.mark.parametrize("loop", LOOPS)
def test_a_login_in_the_words_of_squid(loop: str) -> None:
    """407 as squid has it, with our challenge; the connection goes on, and the right login opens a tunnel."""
    with Target() as target, Proxied(loop, login=Login(USERS), persona=load("squid-5")) as proxied:
        with proxied.client(connect_head(target.authority)) as near:
            told = fields_of(head := read_head(near))
            assert (407, ["squid/5.7"]) == (status_of(head), told["server"])
            assert ['Basic realm="proxy", charset="UTF-8"'] == told["proxy-authenticate"]
            read_exactly(near, int(told["content-length"][0]))
            near.sendall(connect_head(target.authority, RIGHT))
            with target.accept() as far:
                assert b"HTTP/1.1 200 Connection established" == read_head(near).partition(b"\r\n")[0]
                near.sendall(BLOCK)
                assert BLOCK == read_exactly(far, len(BLOCK))
        entries = [proxied.entry() for _ in range(2)]
        assert [(407, "kept", None), (200, entries[1]["ended"], "alice")] == [
            (entry["status"], entry["ended"], entry.get("user")) for entry in entries
        ]
        assert (0, 0, 0) == proxied.settled()


def test_tinyproxy_tells_a_wrong_login_from_none() -> None:
    """407 asks for a login; one that is wrong gets 401, as there."""
    with Proxied(login=Login(USERS), persona=load("tinyproxy")) as proxied:
        for fields, begin in (([], b"HTTP/1.0 407 "), ([basic("alice", "wrong")], b"HTTP/1.0 401 ")):
            with proxied.client(connect_head("127.0.0.1:1", *fields)) as near:
                reply, end = read_all(near)
                assert (begin, "FIN") == (reply[: len(begin)], end)
                assert b"Server: tinyproxy" in reply
            proxied.entry()


@pytest.mark.parametrize("name", ["tinyproxy", "squid-5"])
def test_a_login_in_steps_goes_on(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the persona would close behind a 407: nobody could log in there."""
    monkeypatch.setitem(LOGINS, "Steps", Steps)
    login = Login(USERS, schemes=("Steps",))
    with Target() as target, Proxied(login=login, persona=load(name)) as proxied:
        with proxied.client(connect_head(target.authority, "Proxy-Authorization: Steps begin")) as near:
            told = fields_of(head := read_head(near))
            assert (407, ["Steps say-please"]) == (status_of(head), told["proxy-authenticate"])
            read_exactly(near, int(told["content-length"][0]))
            near.sendall(connect_head(target.authority, "Proxy-Authorization: Steps please"))
            with target.accept():
                assert b" 200 " in read_head(near)
        assert [None, "bob"] == [proxied.entry().get("user") for _ in range(2)]


def test_faults_for_one_user() -> None:
    """A rule with `user` is for the tunnels of that login alone."""
    rules = (Rule.of({"user": ["alice"]}, allows=True, words=""),)
    login = Login(USERS, before_access=False)
    for pattern, path in (("alice", "faults"), ("bob", None)):
        faults = plan(f"limit_data:limit_bytes=4,user={pattern}")
        with Target() as target, Proxied(login=login, access=Access(rules=rules), faults=faults) as proxied:
            with proxied.client(connect_head(target.authority, RIGHT)) as near, target.accept() as far:
                read_head(near)
                far.sendall(BLOCK)
                far.shutdown(socket.SHUT_WR)
                size = 4 if path else len(BLOCK)
                assert BLOCK[:size] == read_exactly(near, size)
            entry = proxied.entry()
            assert ("alice", path == "faults") == (entry["user"], entry["path"] == "faults")
            assert (0, 0, 0) == proxied.settled()


@pytest.mark.parametrize("head", [connect_head, get_head])
def test_a_rule_refuses_in_the_words_of_the_persona(head: Callable[[str], bytes]) -> None:
    """The log has the reason; a client that may not know it has it neither in a field nor in the page."""
    access = Access(rules=DENIED.rules, tell_reason=False)
    with Proxied(access=access, persona=load("squid-5")) as proxied:
        with proxied.client(head("127.0.0.1:443")) as near:
            told = fields_of(reply := read_head(near))
            page = read_exactly(near, int(told["content-length"][0]))
            assert (403, ["squid/5.7"]) == (status_of(reply), told["server"])
            assert b"secret" not in reply + page
        assert ("kept", "a secret reason") == ((entry := proxied.entry())["ended"], entry["words"])


def test_a_limit_speaks_as_the_persona() -> None:
    """A connection that is turned away at the door hears the persona, not us."""
    with Proxied(limits=Limits(connections=1), persona=load("squid-5")) as proxied:
        with proxied.client(), proxied.client() as second:
            reply, _ = read_all(second)
        assert b"squid/5.7" in reply
        assert b"framework-relay" not in reply
        proxied.entry()


def test_a_late_refusal_in_the_words_of_the_persona() -> None:
    """With a fault of the answer the dial comes behind the takeover; the persona refuses all the same."""
    faults = plan("answer_delay:seconds=0")
    access = Access(allow_local=False)
    with Target() as target, Proxied(access=access, faults=faults, persona=load("squid-5")) as proxied:
        with proxied.client(connect_head(target.authority)) as near:
            reply, end = read_all(near)
        assert (403, "FIN", ["squid/5.7"]) == (status_of(reply), end, fields_of(reply)["server"])
        assert not target.was_called()
        assert (403, "refused") == ((entry := proxied.entry())["status"], entry["ended"])
        assert (0, 0, 0) == proxied.settled()


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("when", ["before it begins", "as it begins"])
def test_a_stop_resets_the_target_of_a_tunnel_that_never_runs(loop: str, when: str) -> None:
    """A persona dials first; whom it has reached by then hears a RST, and from us, not from the collector."""
    with Target() as target, Proxied(loop, persona=load("squid-5")) as proxied:
        answering = proxied.proxy._answering

        async def ask_and_stop() -> socket.socket:
            if when == "before it begins":
                await answering.aclose()
                return proxied.client(connect_head(target.authority))
            near = proxied.client(connect_head(target.authority))
            while not answering.tasks:  # noqa: ASYNC110 - a turn later the tunnel's task begins
                await asyncio.sleep(0)
            await answering.aclose()
            return near

        with proxied.run(ask_and_stop()) as near, target.accept() as far:
            assert [(b"", "RST")] * 2 == [read_all(near), read_all(far)]
        assert (0, 0, 0) == proxied.settled()


def test_a_reload_keeps_faults_and_express_lane_away() -> None:
    """Another policy leaves the plan in place: the next tunnel has its faults still."""
    with Target() as target, Proxied(faults=plan("limit_data:limit_bytes=4")) as proxied:
        proxied.run(proxied.proxy.change(Access(allow_local=True), Limits(), None))
        with proxied.client(connect_head(target.authority)) as near, target.accept() as far:
            read_head(near)
            far.sendall(BLOCK)
            assert (BLOCK[:4], "FIN") == read_all(near)
        assert "faults" == proxied.entry()["path"]


def test_from_a_profile(tmp_path: Path) -> None:
    """`[[fault]]` and `persona` of a profile hold, and --fault adds to them."""
    (tmp_path / "p.toml").write_text(
        'persona = "tinyproxy"\n[listen]\non = ["127.0.0.1:0"]\n[log]\nfile = "-"\n'
        '[[fault]]\nname = "limit_data"\nlimit_bytes = 4\n'
    )
    flags = ("--config", str(tmp_path / "p.toml"), "--fault", "latency:seconds=0", "--fault-seed", "3")
    with relay_command("proxy", *flags) as proxy, Target() as target:
        with socket.create_connection((proxy.endpoint.host, proxy.endpoint.port), 30) as near:
            near.sendall(connect_head(target.authority))
            assert b"HTTP/1.0 200 Connection established" == read_head(near).partition(b"\r\n")[0]
            with target.accept() as far:
                far.sendall(BLOCK)
                assert (BLOCK[:4], "FIN") == read_all(near)
        proxy.stop()
    assert "faults: limit_data, latency (--fault-seed 3)" in proxy.stderr
    assert ["faults"] == [entry["path"] for entry in proxy.logged]
