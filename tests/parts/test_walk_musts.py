"""What a walk sends and tells: the form of the request, and words about a login."""

import base64
import logging
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import trustme

from protocol.schemes import Negotiate
from relay import clear_text
from relay.failure import ProxyRefused, Reason, Stage
from relay.moves import Call, Command, Connect, Receive, Resolve, Send, StartTls
from relay.route import Endpoint, Hop, Route
from relay.trace import Trace
from relay.walk import walk
from tests.parts.scripted_proxy import DEST, OK, WAYS, Opening, Played, ScriptedProxy, basic, challenge

PATIENT_SECONDS = 30.0
PROXY = Endpoint("192.0.2.7", 3128)


@pytest.fixture(params=WAYS)
def opening(request: pytest.FixtureRequest) -> Iterator[Opening]:
    """Each way to open a tunnel."""
    with WAYS[request.param]() as opened:
        yield opened


@pytest.fixture
def warned(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    """What `relay.clear_text` has warned of; it has not warned of anything before."""
    clear_text.note_clear_text.cache_clear()
    caplog.set_level(logging.WARNING, "relay.clear_text")
    return lambda: [record.getMessage() for record in caplog.records]


def played_by_hand(route: Route, *replies: bytes) -> list[Command]:
    """Walk without any network: each Receive is answered by the next of `replies`; return what was asked."""
    asked: list[Command] = []
    left = list(replies)
    plan = walk(route, Trace(PATIENT_SECONDS))
    answer: Any = None
    try:
        while True:
            command = plan.send(answer)
            asked.append(command)
            answer = None
            if isinstance(command, Receive):
                answer = left.pop(0)
            elif isinstance(command, Resolve):
                answer = [(socket.AF_INET6, ("2001:db8::5", command.endpoint.port, 0, 0))]
            elif isinstance(command, StartTls):
                answer = (None, None)
            elif isinstance(command, Call):
                answer = command.work()
    except StopIteration:
        return asked


def tunnel(played: Played) -> None:
    played.head()
    played.write(OK)
    played.wait_for_end()


def test_each_request_is_one_write() -> None:
    """Some proxies read a head with one call: each attempt is one Send, and a login on top is one more."""
    route = Route(DEST, (Hop(PROXY), Hop(PROXY, user="bob", password="secret")))
    asked = played_by_hand(route, OK, challenge(), OK)
    sent = [command.data for command in asked if isinstance(command, Send)]
    assert [b"CONNECT 192.0.2.7:3128", b"CONNECT dest.example:5000", b"CONNECT dest.example:5000"] == [
        data.partition(b" HTTP")[0] for data in sent
    ]
    assert [1, 1, 1] == [data.count(b"\r\n\r\n") for data in sent]
    assert [True, True, True] == [data.endswith(b"\r\n\r\n") for data in sent]


def test_the_name_is_looked_up_here_where_that_is_wanted() -> None:
    """looks_up_here: the address goes into CONNECT, in brackets where it must; else the name, unresolved."""
    for looks_up_here, target in ((True, b"[2001:db8::5]:5000"), (False, b"dest.example:5000")):
        asked = played_by_hand(Route(DEST, (Hop(PROXY, looks_up_here=looks_up_here),)), OK)
        [head] = [command.data for command in asked if isinstance(command, Send)]
        assert b"CONNECT %b HTTP/1.1\r\nHost: %b\r\n" % (target, target) == head[: head.index(b"User-Agent")]
        assert looks_up_here == any(isinstance(command, Resolve) for command in asked)
        assert 1 == sum(isinstance(command, Connect) for command in asked)


def test_the_old_form(opening: Opening) -> None:
    """HTTP/1.0 and no Host, with the login where one is asked for; the reply is read as ever."""

    def scene(played: Played) -> None:
        played.head()
        played.write(challenge())
        tunnel(played)

    with ScriptedProxy(scene) as proxy:
        opening(proxy.route(user="bob", password="secret", old_form=True))
    assert [b"CONNECT dest.example:5000 HTTP/1.0"] * 2 == [head.partition(b"\r\n")[0] for head in proxy.heads]
    assert [False, False] == [b"host:" in head.lower() for head in proxy.heads]
    assert basic("bob", "secret") in proxy.heads[1]


def test_a_password_in_clear_text_is_told(warned: Callable[[], list[str]]) -> None:
    """Basic without TLS, once for each proxy: not for one behind TLS, and not for one on this machine."""
    login = {"user": "bob", "password": "secret"}
    for hop in (Hop(PROXY, **login), Hop(PROXY, **login), Hop(PROXY, tls=True, **login)):
        played_by_hand(Route(DEST, (hop,)), challenge(), OK)
    for host in ("127.0.0.1", "localhost"):
        played_by_hand(Route(DEST, (Hop(Endpoint(host, 3128), **login),)), challenge(), OK)
    words = "the password went as it is (Basic, without TLS): anybody on the way can read it"
    assert [f"warning: http://{PROXY}: {words}"] == warned()


def test_other_logins_say_no_password(warned: Callable[[], list[str]]) -> None:
    """Digest proves that it knows the password, and needs no warning."""
    asks = b'HTTP/1.1 407 No\r\nProxy-Authenticate: Digest realm="r", nonce="n", qop="auth"\r\n'
    hop = Hop(PROXY, user="bob", password="secret")
    played_by_hand(Route(DEST, (hop,)), asks + b"Content-Length: 0\r\n\r\n", OK)
    assert [] == warned()


class Ticket:
    """A context with one large token."""

    complete = True
    mechanism = "kerberos"

    def step(self, token: bytes | None) -> bytes:
        return bytes(40_000)


@pytest.mark.parametrize("status", [400, 413, 431])
def test_a_ticket_too_large_for_the_proxy(
    opening: Opening, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    """A proxy that takes no such head says so oddly; we say what it minds, and the size."""
    monkeypatch.setattr("relay.client_logins.schemes_for", lambda *_, **__: [Negotiate(Ticket)])

    def scene(played: Played) -> None:
        played.head()
        played.write(b"HTTP/1.1 407 No\r\nProxy-Authenticate: Negotiate\r\nContent-Length: 0\r\n\r\n")
        played.head()
        played.write(b"HTTP/1.1 %d No\r\nContent-Length: 0\r\n\r\n" % status)
        played.wait_for_end()

    with ScriptedProxy(scene) as proxy, pytest.raises(ProxyRefused) as caught:
        opening(proxy.route())
    failure, size = caught.value.failure, len(proxy.heads[1])
    assert (Stage.LOGIN, Reason.DENIED) == (failure.stage, failure.reason)
    assert f"it takes no head of {size} bytes, most of them the Negotiate login" in failure.detail
    assert base64.b64encode(bytes(40_000)).decode()[:60] not in str(caught.value)


def test_a_407_without_a_challenge_is_told(opening: Opening) -> None:
    """RFC 9110 section 15.5.8: it must offer a way, and the sentence says that it does not."""

    def scene(played: Played) -> None:
        played.head()
        played.write(b"HTTP/1.1 407 No\r\nContent-Length: 0\r\n\r\n")

    with ScriptedProxy(scene) as proxy, pytest.raises(ProxyRefused) as caught:
        opening(proxy.route(user="bob", password="secret"))
    assert (Stage.LOGIN, Reason.LOGIN_REQUIRED) == (caught.value.failure.stage, caught.value.failure.reason)
    assert "it wants a login but offers no way to log in" in caught.value.failure.detail
    assert 1 == len(proxy.heads)


def test_sockets_are_set_up_for_tunnels(opening: Opening) -> None:
    """Small packets go at once (TCP_NODELAY), and a peer that has vanished is noticed (SO_KEEPALIVE)."""
    with ScriptedProxy(tunnel) as proxy:
        opened: Any = opening(proxy.route())
        sock = getattr(opened, "stream", opened).fileno_socket()
        assert 0 != sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert 0 != sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)


@contextmanager
def tls_proxy(*, says_goodbye: bool) -> Iterator[Route]:
    """A proxy inside TLS that ends its tunnels at once, with a close_notify or without."""
    authority = trustme.CA()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)

    def scene(played: Played) -> None:
        played.head()
        played.write(OK, b"x")
        if says_goodbye:
            played.sock.unwrap()  # type: ignore[attr-defined]

    with ScriptedProxy(scene, tls=context) as proxy, authority.cert_pem.tempfile() as ca_file:
        yield proxy.route(ca_file=ca_file)


@pytest.mark.parametrize("says_goodbye", [True, False])
def test_an_end_without_close_notify_is_told(opening: Opening, says_goodbye: bool) -> None:
    """TLS that is cut off is told from TLS that has ended (RFC 8446 section 6.1)."""
    with tls_proxy(says_goodbye=says_goodbye) as route:
        opened: Any = opening(route)
        assert b"x" == opened.read()
        assert b"" == opened.read()
        stream = getattr(opened, "stream", opened)
        assert stream.ended_without_close_notify is not says_goodbye
