"""Parent proxies: chosen by target, with their own kinds and logins; what a client is told when one fails."""

import errno
import socket
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from relay.access import Access
from relay.client_logins import LoginRules
from relay.failure import SettingsError
from relay.outbound import Ways
from relay.profile import read_profile
from relay.route import Endpoint, Hop
from relay.upstream import Upstream, chosen
from tests.path import hop_peers, peers
from tests.path.proxied import (
    Proxied,
    Target,
    connect_head,
    fields_of,
    get_head,
    read_all,
    read_exactly,
    read_head,
    status_of,
    tunnel,
)
from tests.path.real import Tool


def through(*urls: str, **more: object) -> Ways:
    return Ways((Upstream(tuple(map(Hop.parse, urls)), **more),))  # type: ignore[arg-type]


def test_a_parent_carries_the_tunnel_on_the_fast_path() -> None:
    """CONNECT goes to the parent with the target as it was named; bytes are spliced; both logs say so."""
    with Proxied() as parent, Proxied(ways=through(f"http://127.0.0.1:{parent.port}")) as proxied:
        with tunnel(proxied, early=b"early") as (near, far):
            assert b"early" == read_exactly(far, 5)
            far.sendall(b"late")
            far.shutdown(socket.SHUT_WR)
            assert (b"late", "FIN") == read_all(near)
        entry, other = proxied.entry(), parent.entry()
        assert ("splice", "splice") == (entry["path"], other["path"])
        assert f"http://127.0.0.1:{parent.port}" == entry["upstream"]
        assert entry["outgoing"] == other["client"]
        assert (0, 0, 0) == proxied.settled()


def test_a_name_goes_to_the_parent_as_it_is(tmp_path: Path) -> None:
    """The proxy does not look it up, nor does it when a rule asks for addresses."""
    (tmp_path / "p.toml").write_text('[[access.rule]]\naction = "deny"\nnetwork = "10.0.0.0/8"\n')
    access = read_profile(tmp_path / "p.toml").access
    with Target() as parent:
        with Proxied(ways=through(f"http://{parent.authority}"), access=access) as proxied:
            with proxied.client(connect_head("no-such.invalid:5000")) as near, parent.accept() as far:
                head = read_head(far)
                assert head.startswith(b"CONNECT no-such.invalid:5000 HTTP/1.1\r\n")
                assert [f"1.1 {proxied.proxy.via}"] == fields_of(head)["via"]
                far.sendall(b"HTTP/1.1 200 OK\r\n\r\nfirst")
                assert 200 == status_of(read_head(near))
                assert b"first" == read_exactly(near, 5)
            with proxied.client(connect_head("10.1.2.3:5000")) as near:
                assert 403 == status_of(read_all(near)[0])


@pytest.mark.parametrize(
    ("answer", "status", "error"),
    [
        (b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n", 502, "destination_unavailable"),
        (b"HTTP/1.1 407 Login\r\nProxy-Authenticate: Basic\r\nContent-Length: 0\r\n\r\n", 502, ""),
        (b"SSH-2.0-OpenSSH\r\n", 502, ""),
        (b"", 502, ""),
        (None, 504, "connection_timeout"),
    ],
)
def test_a_parent_that_fails_is_named(answer: bytes | None, status: int, error: str) -> None:
    """502 or 504 with a Proxy-Status that names the next hop; never its 407, which is not the client's."""
    with Target() as parent:
        ways = through(f"http://{parent.authority}", timeout_seconds=0.5 if answer is None else 20.0)
        with Proxied(ways=ways) as proxied, proxied.client(connect_head("far.example:1")) as near:
            with parent.accept() as far:
                read_head(far)
                if answer is not None:
                    far.sendall(answer)
                    far.shutdown(socket.SHUT_WR)
                reply = read_all(near)[0]
            assert status == status_of(reply)
            words = fields_of(reply)["proxy-status"][0]
            assert f'next-hop="http://{parent.authority}"' in words
            assert error in words
            if answer is not None and answer.startswith(b"HTTP"):
                assert f"received-status={answer[9:12].decode()}" in words
            assert "proxy-authenticate" not in fields_of(reply)


def test_a_parent_that_is_not_there(closed_port: Endpoint) -> None:
    """A refused connection is 502, whose Proxy-Status names the parent and not its password."""
    with Proxied(ways=through(f"http://user:geheim@{closed_port}")) as proxied:
        for request in (connect_head("far.example:1"), get_head("far.example")):
            with proxied.client(request) as near:
                reply = read_all(near)[0]
            assert 502 == status_of(reply)
            words = fields_of(reply)["proxy-status"][0]
            assert f'connection_refused; next-hop="http://{closed_port}"' in words
            assert "geheim" not in reply.decode() + str(proxied.entry())


@pytest.mark.parametrize("head", [connect_head, get_head])
def test_an_address_that_nobody_can_judge(
    head: Callable[[str], bytes], loop: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """While descriptors are used up nobody can tell whose it is: 503 for each method, and no traceback."""

    def used_up(address: object) -> bool:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr("relay.dialler.is_own_address", used_up)
    with Target() as parent:
        ways = through(f"http://{parent.authority}")
        with Proxied(loop, ways=ways, access=Access(allow_local=False)) as proxied:
            with proxied.client(head("203.0.113.1:443")) as near:
                assert 503 == status_of(read_all(near)[0])
            assert (503, "refused") == ((entry := proxied.entry())["status"], entry["ended"])
        assert not parent.was_called()
    assert [] == caplog.records


def test_a_loop_is_found() -> None:
    """Two proxies that are each other's parents: the Via of both goes round, and one finds itself."""
    with Proxied() as one, Proxied(ways=through(f"http://127.0.0.1:{one.port}")) as other:
        one.proxy._answering.lead(through(f"http://127.0.0.1:{other.port}"))
        for request in (connect_head("far.example:1"), get_head("far.example")):
            with one.client(request) as near:
                assert 502 == status_of(read_head(near))
        entries = [one.entry() for _ in range(4)]
        assert 2 == sum(entry.get("error") == "proxy_loop_detected" for entry in entries)


def test_a_request_goes_to_the_parent_whole() -> None:
    """Absolute-form with Via; with login = basic also Proxy-Authorization; a 407 is not passed on."""
    with Target() as parent:
        hop = Hop.parse(f"http://alice:secret@{parent.authority}")
        basic = replace(hop, login=LoginRules(("basic",)))
        with Proxied(ways=Ways((Upstream((basic,)),))) as proxied:
            with proxied.client(get_head("far.example", "Proxy-Authorization: Basic eA==")) as near:
                with parent.accept() as far:
                    head = read_head(far)
                    assert head.startswith(b"GET http://far.example/path HTTP/1.1\r\n")
                    fields = fields_of(head)
                    assert ["Basic YWxpY2U6c2VjcmV0"] == fields["proxy-authorization"]
                    assert [f"1.1 {proxied.proxy.via}"] == fields["via"]
                    far.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")
                    assert 200 == status_of(read_head(near))
                    assert b"hi" == read_exactly(near, 2)
            with proxied.client(get_head("far.example")) as near, parent.accept() as far:
                read_head(far)
                far.sendall(b"HTTP/1.1 407 No\r\nProxy-Authenticate: Basic\r\nContent-Length: 0\r\n\r\n")
                reply = read_all(near)[0]
                assert 502 == status_of(reply)
                assert "proxy-authenticate" not in fields_of(reply)
                told = fields_of(reply)["proxy-status"][0]
                assert f'next-hop="http://{parent.authority}"; received-status=407' in told


def test_the_first_row_that_fits_decides(tmp_path: Path) -> None:
    """By suffix, network and port, in their order; "direct" is a way as well."""
    (tmp_path / "login").write_text("alice:secret\n")
    (tmp_path / "p.toml").write_text(
        '[[upstream]]\nproxy = "direct"\nsuffix = "intern.example"\n'
        '[[upstream]]\nproxy = "socks5h://127.0.0.1:1080"\nnetwork = "192.0.2.0/24"\nport = 22\n'
        '[[upstream]]\nproxy = "http://parent.example:3128"\nuser_file = "login"\nlogin = ["basic"]\n'
    )
    profile = read_profile(tmp_path / "p.toml")
    assert "secret" not in repr(profile)

    def way(text: str) -> str | None:
        found = chosen(profile.upstreams, Endpoint.parse(text))
        return None if found is None else found.name

    assert None is way("a.intern.example:22")
    assert "socks5h://127.0.0.1:1080" == way("192.0.2.7:22")
    assert {"http://parent.example:3128"} == {way("192.0.2.7:23"), way("far.example:22"), way("[::1]:22")}
    assert profile.upstreams[2].forwards


@pytest.mark.parametrize("kind", ["squid", "microsocks"])
def test_real_parents(kind: str, tool: Tool) -> None:
    """CONNECT and a request for an http URI through a real parent that wants a login."""
    if kind == "squid":
        running, user, scheme = peers.squid(tool, login=True), (peers.USER, peers.PASSWORD), "http"
    else:
        running, user, scheme = (
            hop_peers.microsocks(tool, login=True), (hop_peers.USER, hop_peers.PASSWORD), "socks5h"
        )  # fmt: skip
    with running as parent:
        hop = replace(
            Hop.parse(f"{scheme}://{parent.endpoint}"), user=user[0], password=user[1],
            login=LoginRules(("basic",)),
        )  # fmt: skip
        with Proxied(ways=Ways((Upstream((hop,)),))) as proxied:
            with tunnel(proxied) as (near, far):
                far.sendall(b"hello")
                assert b"hello" == read_exactly(near, 5)
            assert "splice" == proxied.entry()["path"]
            with Target() as target, proxied.client(get_head(target.authority)) as near:
                with target.accept() as origin:
                    assert read_head(origin).startswith(b"GET /path HTTP/1.1\r\n")
                    origin.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")
                    assert 200 == status_of(read_head(near))
                    assert b"hi" == read_exactly(near, 2)


def test_a_parent_whose_password_file_is_missing_is_named(tmp_path: Path) -> None:
    """By the table and the key of the profile, not by an option that nobody has given."""
    text = '[[upstream]]\nproxy = "http://parent.example:3128"\nuser_file = "none"\n'
    (tmp_path / "p.toml").write_text(text)
    with pytest.raises(SettingsError, match=r"p\.toml: \[\[upstream\]\] 1: user_file: cannot use .*none"):
        read_profile(tmp_path / "p.toml")
