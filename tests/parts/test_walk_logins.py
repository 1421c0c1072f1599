"""Logins on the way: who gets which credentials, when a connection is made anew, and what is never shown."""

import base64
import ssl
import traceback

import pytest
import trustme

from relay.client_logins import LoginRules
from relay.failure import DialFailed, ProxyRefused, Reason, RelayError, Stage
from relay.route import Endpoint, Hop, Route
from relay.trace import Trace
from tests.corpus import BANNER, MORE_REPLIES, REPLIES
from tests.parts.scripted_proxy import (
    DEST,
    OK,
    Opening,
    Played,
    ScriptedProxy,
    basic,
    challenge,
    read_exactly,
)

NEAR = {"user": "near user", "password": "near pass wörd"}
FAR = {"user": "far", "password": "far:secret"}
CLOSE = b"Connection: close"


def wants(played: Played, login: dict[str, str], *fields: bytes) -> bool:
    """Ask for a login until it comes; False when this connection is at its end with it."""
    while basic(**login) not in played.head():
        played.write(challenge(*fields, body=b"log in first"))
        if CLOSE in fields:
            return False
    played.write(OK)
    return True


@pytest.mark.parametrize("fields", [(), (CLOSE,)], ids=["kept", "closed"])
def test_a_login_is_said_when_it_is_asked_for(opening: Opening, fields: tuple[bytes, ...]) -> None:
    """The first request has no login; the answer to the 407 has it, on the connection or on a new one."""

    def scene(played: Played) -> None:
        if wants(played, NEAR, *fields):
            played.write(BANNER)
            played.echo()

    with ScriptedProxy(scene) as proxy:
        tunnel = opening(proxy.route(**NEAR))
        assert BANNER == read_exactly(tunnel, len(BANNER))
        assert [1, 1] if fields else [2] == [len(played.heads) for played in proxy.played]
        first, second = proxy.heads
    assert b"Proxy-Authorization" not in first
    assert 1 == second.count(b"Proxy-Authorization") == second.count(basic(**NEAR))


def test_a_login_is_not_said_to_who_does_not_ask(opening: Opening) -> None:
    """A proxy that asks for nothing gets nothing."""

    def scene(played: Played) -> None:
        played.head()
        played.write(OK + BANNER)

    with ScriptedProxy(scene) as proxy:
        opening(proxy.route(**NEAR))
    assert b"Authorization" not in b"".join(proxy.heads)


@pytest.mark.parametrize("fields", [(), (CLOSE,)], ids=["kept", "closed"])
def test_a_wrong_login_is_said_once(opening: Opening, fields: tuple[bytes, ...]) -> None:
    """Proxies lock accounts: a second 407 ends it, as a refused login."""

    def scene(played: Played) -> None:
        wants(played, FAR, *fields)

    with ScriptedProxy(scene) as proxy, pytest.raises(ProxyRefused) as caught:
        opening(proxy.route(**NEAR))
    failure = caught.value.failure
    assert (407, Stage.LOGIN, Reason.LOGIN_REFUSED) == (caught.value.status, failure.stage, failure.reason)
    assert 1 == b"".join(proxy.heads).count(basic(**NEAR))
    assert 2 == len(proxy.heads)


@pytest.mark.parametrize("fields", [(), (CLOSE,)], ids=["kept", "closed"])
def test_a_login_that_we_do_not_have(opening: Opening, fields: tuple[bytes, ...]) -> None:
    """Without a login the first 407 is the end, and says what is offered."""

    def scene(played: Played) -> None:
        wants(played, NEAR, *fields)

    with ScriptedProxy(scene) as proxy, pytest.raises(ProxyRefused) as caught:
        opening(proxy.route())
    assert Reason.LOGIN_REQUIRED is caught.value.failure.reason
    assert "it wants a login, offered: Basic" in str(caught.value)
    assert 1 == len(proxy.heads)


@pytest.mark.parametrize(
    ("given", "challenges", "words"),
    [
        ({}, ['Negotiate, Basic realm="x, y"'], "offered: Negotiate, Basic"),
        ({}, ['Digest realm="r", nonce="n"', 'Digest realm="s", nonce="m"'], "offered: Digest"),
        ({}, ["Broken ,=,", "NTLM"], "offered: Broken, NTLM"),
        (NEAR, ["NTLM"], "offered: NTLM; may be used (--proxy-auth): digest, basic"),
        (NEAR, ["Bearer"], "offered: Bearer; may be used (--proxy-auth): digest, basic"),
    ],
)  # fmt: skip
def test_what_a_proxy_offers_is_told(
    opening: Opening, given: dict[str, str], challenges: list[str], words: str
) -> None:
    """Every scheme of every field, once; and which are let, where a login that was given fits none."""

    def scene(played: Played) -> None:
        played.head()
        fields = "".join(f"Proxy-Authenticate: {one}\r\n" for one in challenges)
        played.write(f"HTTP/1.1 407 P\r\nContent-Length: 0\r\n{fields}\r\n".encode())
        played.wait_for_end()

    rules = LoginRules(("digest", "basic"))
    with ScriptedProxy(scene) as proxy, pytest.raises(ProxyRefused) as caught:
        opening(proxy.route(login=rules, **given))
    assert str(caught.value).endswith(f"it wants a login, {words}")


# Two hops. The scene is the near proxy, and the far one behind it, on the same connection.

FAR_HOP = Endpoint("far.example", 8080)


def chain(near_fields: tuple[bytes, ...], far_fields: tuple[bytes, ...]):  # type: ignore[no-untyped-def]
    def scene(played: Played) -> None:
        if wants(played, NEAR, *near_fields) and wants(played, FAR, *far_fields):
            played.write(BANNER)
            played.echo()

    return scene


@pytest.mark.parametrize("near_fields", [(), (CLOSE,)], ids=["near_kept", "near_closed"])
@pytest.mark.parametrize("far_fields", [(), (CLOSE,)], ids=["far_kept", "far_closed"])
def test_a_chain_with_two_logins(
    opening: Opening, near_fields: tuple[bytes, ...], far_fields: tuple[bytes, ...]
) -> None:
    """Each hop gets its own login and never the other's, however often the way begins anew."""
    with ScriptedProxy(chain(near_fields, far_fields)) as proxy:
        route = Route(DEST, (proxy.hop(**NEAR), Hop(FAR_HOP, **FAR)))
        trace = Trace(10.0)
        tunnel = opening(route, trace=trace)
        assert BANNER == read_exactly(tunnel, len(BANNER))
        tunnel.write(b"hello")
        assert b"hello" == read_exactly(tunnel, 5)
    to_near = [head for head in proxy.heads if head.startswith(b"CONNECT far.example:8080 ")]
    to_far = [head for head in proxy.heads if head.startswith(b"CONNECT dest.example:5000 ")]
    assert len(proxy.heads) == len(to_near) + len(to_far)
    assert b"Proxy-Authorization" not in b"".join(to_near).replace(basic(**NEAR), b"")
    assert b"Proxy-Authorization" not in b"".join(to_far).replace(basic(**FAR), b"")
    assert 1 == b"".join(to_far).count(basic(**FAR))
    assert len(proxy.played) <= 4
    assert (Stage.PROXY, "http://far.example:8080") == (trace.steps[-1].stage, trace.steps[-1].peer)


def test_the_hop_that_fails_is_named(opening: Opening) -> None:
    """Which proxy of a chain refused, and what it was asked for."""

    def scene(played: Played) -> None:
        played.head()
        played.write(OK)
        played.head()
        played.write(b"HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n")

    with ScriptedProxy(scene) as proxy, pytest.raises(ProxyRefused) as caught:
        opening(Route(DEST, (proxy.hop(), Hop(FAR_HOP))))
    failure = caught.value.failure
    assert (1, "http://far.example:8080", Reason.DENIED) == (failure.hop, failure.peer, failure.reason)
    assert "answered 403 No to CONNECT dest.example:5000" in failure.sentence


def test_a_tls_proxy_with_a_login(opening: Opening) -> None:
    """An https:// proxy: the login goes inside TLS, early bytes in one record with the head are kept."""
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)

    def scene(played: Played) -> None:
        while basic(**NEAR) not in played.head():
            played.write(challenge())
        played.write(OK + BANNER)
        played.echo()

    with ScriptedProxy(scene, tls=context) as proxy, authority.cert_pem.tempfile() as ca_file:
        tunnel = opening(proxy.route(ca_file=ca_file, **NEAR))
        assert BANNER == read_exactly(tunnel, len(BANNER))
        tunnel.write(b"x" * 300_000)
        assert b"x" * 300_000 == read_exactly(tunnel, 300_000)
        with pytest.raises(DialFailed) as caught:
            opening(proxy.route(**NEAR))
    assert (Stage.TLS, Reason.TLS_UNTRUSTED) == (caught.value.failure.stage, caught.value.failure.reason)
    assert 2 == len(proxy.heads)


# What is never shown

SECRETS = [
    NEAR["password"],
    base64.b64encode(f"{NEAR['user']}:{NEAR['password']}".encode()).decode(),
    FAR["password"],
    base64.b64encode(f"{FAR['user']}:{FAR['password']}".encode()).decode(),
]


def assert_nothing_shown(*shown: object) -> None:
    text = "\n".join(f"{value!r}\n{value}" for value in shown)
    assert [] == [secret for secret in SECRETS if secret in text]


FAILING = [case for case in (*REPLIES, *MORE_REPLIES) if case.expect not in ("tunnel", "silent")]


@pytest.mark.parametrize("case", FAILING, ids=lambda case: case.name)
def test_no_error_shows_a_secret(opening: Opening, case) -> None:  # type: ignore[no-untyped-def]
    """After the login was said, whatever goes wrong: neither password nor its encoding is in any words."""

    def scene(played: Played) -> None:
        played.head()
        played.write(challenge())
        played.head()
        played.write(*case.pieces)
        if case.then == "open":
            played.wait_for_end()

    with ScriptedProxy(scene) as proxy:
        trace = Trace(10.0)
        route = proxy.route(**NEAR)
        with pytest.raises(RelayError) as caught:
            opening(route, trace=trace)
    error = caught.value
    lines = traceback.format_exception(error)
    failure = error.failure
    assert_nothing_shown(error, failure, failure.as_dict(), route, *route.hops, lines, trace.steps)
    if isinstance(error, ProxyRefused):
        assert_nothing_shown(error.headers, error.body)


def test_routes_and_hops_show_no_secret() -> None:
    """repr and str of what holds a login, and of what was read from a URL with one."""
    hops = (Hop(FAR_HOP, **NEAR), Hop.parse("https://far:far%3Asecret@far.example:8443"))
    assert FAR["password"] == hops[1].password
    assert_nothing_shown(*hops, Route(DEST, hops), Route(DEST, hops).via, hops)
