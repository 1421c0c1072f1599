"""Every login and kind of hop at a real peer, and what went over the wire, by both ways of asking.

What stands before each proxy that asks for a login is a forwarder of ours that keeps what the client said: it
proves how often a password was tried, whatever the proxy logs.
"""

import contextlib
import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, replace
from typing import Any

import pytest

from relay.failure import ProxyRefused, Reason, Stage
from relay.forward import Forwarder
from relay.recording import Recording
from relay.route import Endpoint, Hop, Route
from relay.trace import Trace
from tests.path import hop_peers, login_peers, peers, pypi_peers
from tests.path.conftest import FarEnd
from tests.path.real import Daemon, Tool
from tests.path.test_hops import Certificates, certificates
from tests.path.test_logins import SECONDS, Ping, by_asyncio, by_threads

__all__ = ["certificates"]  # a fixture

USER = peers.USER
GUESS = "guess77"
FREE = Endpoint("127.0.0.1", 0)
BASIC, DIGEST, SOCKS = b"Proxy-Authorization: Basic ", b"Proxy-Authorization: Digest ", b"\x01\x05relay"
"""What the client says when it answers for a password."""


@dataclass(frozen=True)
class Kind:
    """A real peer: how it is started, where its connections come from, and its login.

    Attributes: front: what TLS or HTTP/2 stands before it. says: what an attempt begins with; b"": no login.
    """

    start: Callable[[Tool], AbstractContextManager[Daemon]]
    source: str
    says: bytes = b""
    password: str = peers.PASSWORD
    socks: str | None = None
    front: str = ""


def squid(auth: Any = None, **options: Any) -> Callable[[Tool], AbstractContextManager[Daemon]]:
    return lambda tool: peers.squid(tool, auth=auth, **options)


def with_login(start: Any) -> Callable[[Tool], AbstractContextManager[Daemon]]:
    return lambda tool: start(tool, login=True)


KINDS = {
    "squid": Kind(squid(), peers.SQUID_SOURCE),
    "squid-basic": Kind(squid(login=True), peers.SQUID_SOURCE, BASIC),
    "squid-digest": Kind(squid(login_peers.squid_digest), peers.SQUID_SOURCE, DIGEST),
    "tinyproxy-basic": Kind(
        with_login(peers.tinyproxy), peers.TINYPROXY_SOURCE, BASIC, peers.TINYPROXY_PASSWORD
    ),
    "apache-basic": Kind(with_login(peers.apache), peers.APACHE_SOURCE, BASIC),
    "mitmproxy-basic": Kind(
        lambda _: pypi_peers.mitmproxy(login=True),
        pypi_peers.MITMPROXY_SOURCE,
        BASIC,
        pypi_peers.MITMPROXY_PASSWORD,
    ),
    "stunnel-squid-basic": Kind(squid(login=True), peers.SQUID_SOURCE, BASIC, front="stunnel"),
    "nghttpx-squid-basic": Kind(squid(login=True), peers.SQUID_SOURCE, BASIC, front="h2"),
    "microsocks": Kind(hop_peers.microsocks, hop_peers.MICROSOCKS_SOURCE, socks="socks5h"),
    "microsocks-login": Kind(
        with_login(hop_peers.microsocks), hop_peers.MICROSOCKS_SOURCE, SOCKS, hop_peers.PASSWORD, "socks5h"
    ),
    "dante": Kind(hop_peers.dante, hop_peers.DANTE_SOURCE, socks="socks5"),
    "dante-login": Kind(
        with_login(hop_peers.dante), hop_peers.DANTE_SOURCE, SOCKS, hop_peers.PASSWORD, "socks5h"
    ),
}


class Tapped:
    """A running peer behind a forwarder of ours."""

    def __init__(self, kind: Kind, tap: Endpoint, hop: Hop) -> None:
        self.kind, self.tap, self.hop = kind, tap, hop
        self.recordings: list[Recording] = []

    def attempts(self) -> int:
        """How often a password was answered for until now."""
        said = b"".join(recording.up.data for recording in self.recordings)
        return said.lower().count(self.kind.says.lower()) if self.kind.says else 0


@contextlib.asynccontextmanager
async def tapped(name: str, tool: Tool, certificate: bytes, ca_file: str) -> AsyncIterator[Tapped]:
    """Start the peer, our forwarder before it, and what TLS there is before that."""
    kind = KINDS[name]
    with ExitStack() as stack:
        running = stack.enter_context(kind.start(tool))
        recordings: list[Recording] = []
        async with Forwarder((FREE,), Route(running.endpoint), record=recordings.append) as forwarder:
            tap = forwarder.endpoints[0]
            hop = Hop(tap, socks=kind.socks)
            if kind.says:
                hop = replace(hop, user=USER, password=kind.password)
            if kind.front:
                front = stack.enter_context(front_of(kind.front, tool, tap, certificate))
                hop = replace(hop, endpoint=front.endpoint, tls=True, ca_file=ca_file)
                hop = replace(hop, http2=kind.front == "h2")
            found = Tapped(kind, tap, hop)
            found.recordings = recordings
            yield found


@contextlib.contextmanager
def front_of(front: str, tool: Tool, before: Endpoint, certificate: bytes) -> Iterator[Daemon]:
    if front == "stunnel":
        with hop_peers.stunnel(tool, before, certificate=certificate) as running:
            yield running
    else:
        key, mark, rest = certificate.partition(b"-----BEGIN CERTIFICATE-----")
        with hop_peers.nghttpx(tool, before, key=key, chain=mark + rest) as running:
            yield running


def told(trace: Trace) -> list[tuple[str, str, dict[str, Any]]]:
    """What a trace says but for times and for ports of our own."""
    return [
        (str(step.stage), step.peer, {key: step.evidence[key] for key in step.evidence if key != "tried"})
        for step in trace.steps
    ]


@pytest.mark.parametrize("name", KINDS)
async def test_right_and_wrong(
    name: str, tool: Tool, certificate: bytes, certificates: Certificates, far: FarEnd
) -> None:
    """By asyncio and by threads alike: a ping gets through, and the far end sees the peer; a wrong password
    is login-refused, and nothing arrives. Each password is said once."""
    async with tapped(name, tool, certificate, certificates.ca) as peer:
        traces = []
        for way in (by_asyncio, by_threads):
            trace = Trace(SECONDS)
            await way(Route(far.server.endpoint, (peer.hop,)), trace)
            record = await far.record()
            assert (1, peer.kind.source) == (record.pings, record.peer.rpartition(":")[0])
            traces.append(told(trace))
        assert traces[0] == traces[1]
        if peer.kind.says:
            bad = Route(far.server.endpoint, (replace(peer.hop, password=GUESS),))
            assert await refused(by_asyncio, bad) == await refused(by_threads, bad)
        assert 2 == len(far.server.journal.records)
    # A forwarder's record of a connection is complete at its end
    assert (4 if peer.kind.says else 0) == peer.attempts()


async def refused(way: Ping, bad: Route) -> dict[str, Any]:
    """The failure of a wrong password, as JSON without its times; the password is in no output."""
    with pytest.raises(ProxyRefused) as caught:
        await way(bad, Trace(SECONDS))
    failure = caught.value.failure
    last = len(bad.hops) - 1
    assert (Stage.LOGIN, Reason.LOGIN_REFUSED, last) == (failure.stage, failure.reason, failure.hop)
    assert GUESS not in json.dumps(failure.as_dict()) + repr(caught.value) + str(caught.value)
    return without_times(failure.as_dict())


def without_times(failure: dict[str, Any]) -> dict[str, Any]:
    """The same but for what a proxy makes anew each time: dates, nonces, and its error page about them."""
    reply = failure.get("reply") or {}
    changing = ("date", "proxy-authenticate")
    head = [line for line in reply.get("head", "").splitlines() if not line.lower().startswith(changing)]
    return {**failure, "reply": {**reply, "head": head, "body": ""}}


@pytest.mark.parametrize(
    "names",
    [
        ("dante-login", "squid-digest"),
        ("squid-digest", "mitmproxy-basic", "microsocks-login"),
        ("stunnel-squid-basic", "apache-basic", "tinyproxy-basic"),
    ],
    ids="->".join,
)
async def test_chains(
    names: tuple[str, ...], tool: Tool, certificate: bytes, certificates: Certificates, far: FarEnd
) -> None:
    """Each hop its own login; the far end sees the last proxy; a wrong password in the last hop names
    that hop, by both ways alike."""
    async with contextlib.AsyncExitStack() as stack:
        chain = [
            await stack.enter_async_context(tapped(name, tool, certificate, certificates.ca))
            for name in names
        ]
        hops = tuple(peer.hop for peer in chain)
        for way in (by_asyncio, by_threads):
            await way(Route(far.server.endpoint, hops), Trace(SECONDS))
            record = await far.record()
            assert (1, chain[-1].kind.source) == (record.pings, record.peer.rpartition(":")[0])
        bad = Route(far.server.endpoint, (*hops[:-1], replace(hops[-1], password=GUESS)))
        failure = await refused(by_asyncio, bad)
        assert failure == await refused(by_threads, bad)
        assert f"proxy {len(hops)} of {len(hops)}" == failure["role"]
    # Those before it also see what is said inside their tunnels, and some are asked for a tunnel again
    assert 4 == chain[-1].attempts()
