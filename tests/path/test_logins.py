"""Logins of every kind at real proxies, from asyncio and from threads: both come to the same."""

import asyncio
import importlib.util
import re
import signal
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
import trustme

import relay.blocking
import relay.tunnel
from protocol.packet import Packet
from relay.client_logins import LoginRules
from relay.failure import ProxyRefused, Reason, RelayError, Stage
from relay.packet_stream import PacketStream
from relay.route import Endpoint, Hop, Route
from relay.trace import Trace
from tests.lacking import lacking
from tests.path import login_peers, peers
from tests.path.conftest import FarEnd
from tests.path.login_peers import PASSWORD, USER
from tests.path.real import Daemon, Tool, ping

SECONDS = 40.0
KERBEROS = LoginRules(spn=("HTTP", "proxy.test"))

Ping = Callable[[Route, Trace], Awaitable[None]]


async def by_asyncio(route: Route, trace: Trace) -> None:
    stream = await relay.tunnel.open_tunnel(route, trace=trace)
    try:
        packets = PacketStream(stream)
        await packets.send(Packet.ping())
        await packets.receive()
    finally:
        await stream.aclose()


async def by_threads(route: Route, trace: Trace) -> None:
    def run() -> None:
        packets = relay.blocking.BlockingPackets(relay.blocking.open_tunnel(route, trace=trace))
        try:
            packets.send(Packet.ping())
            packets.receive(SECONDS)
        finally:
            packets.close()

    await asyncio.to_thread(run)


@pytest.fixture(params=[by_asyncio, by_threads], ids=["asyncio", "threads"])
def pinged(request: pytest.FixtureRequest) -> Ping:
    """Each way to open a tunnel; it sends one ping through it."""
    way: Ping = request.param
    return way


@dataclass(frozen=True)
class Guarded:
    """A proxy that wants a login, and what is right and wrong for it."""

    proxy: Daemon
    source: str
    known_as: str
    right: dict[str, Any] = field(default_factory=lambda: {"user": USER, "password": PASSWORD})

    def route(self, target: Endpoint, **changed: Any) -> Route:
        return Route(target, (self.hop(**changed),))

    def hop(self, **changed: Any) -> Hop:
        return Hop(self.proxy.endpoint, **{**self.right, **changed})

    def requests(self) -> list[tuple[str, str]]:
        """Status and user of every CONNECT, out of the log of the proxy, which is stopped for it."""
        # Apache writes a tunnel's line at its end, which this signal waits for
        self.proxy.stop(signal.SIGINT if self.source == peers.SQUID_SOURCE else signal.SIGWINCH)
        found = re.findall(r"^CONNECT .* ([0-9]{3}) (.*)$", self.proxy.text("access.log"), re.MULTILINE)
        return [(status, user) for status, user in found]


def with_squid(stack: ExitStack, tool: Tool, auth: Any, **env: str) -> Daemon:
    return stack.enter_context(peers.squid(tool, auth=auth, **env))


def basic(stack: ExitStack, tool: Tool) -> Guarded:
    return Guarded(with_squid(stack, tool, peers.basic_auth), peers.SQUID_SOURCE, USER)


def digest(stack: ExitStack, tool: Tool) -> Guarded:
    return Guarded(with_squid(stack, tool, login_peers.squid_digest), peers.SQUID_SOURCE, USER)


def apache_digest(stack: ExitStack, tool: Tool) -> Guarded:
    proxy = stack.enter_context(peers.apache(tool, auth=login_peers.apache_digest))
    return Guarded(proxy, peers.APACHE_SOURCE, USER)


def ntlm(stack: ExitStack, tool: Tool) -> Guarded:
    # Its helper for tests logs no names that can be read
    return Guarded(with_squid(stack, tool, login_peers.squid_ntlm), peers.SQUID_SOURCE, "")


def every_scheme(stack: ExitStack, tool: Tool) -> Guarded:
    def auth(place: Any) -> list[str]:
        # The strongest stands last
        return [*peers.basic_auth(place), *login_peers.squid_digest(place)]

    return Guarded(with_squid(stack, tool, auth), peers.SQUID_SOURCE, USER)


def tinyproxy(stack: ExitStack, tool: Tool) -> Guarded:
    proxy = stack.enter_context(peers.tinyproxy(tool, login=True))
    return Guarded(
        proxy, peers.TINYPROXY_SOURCE, "", {"user": USER, "password": peers.TINYPROXY_PASSWORD}
    )


@pytest.fixture
def realm(tool: Tool) -> Iterator[login_peers.Realm]:
    """A Kerberos realm; skipped where Python cannot speak Kerberos."""
    with login_peers.realm(kerberos_tool(tool)) as running:
        yield running


def kerberos_tool(tool: Tool) -> Tool:
    if importlib.util.find_spec("gssapi") is None or importlib.util.find_spec("krb5") is None:
        lacking("gssapi and krb5 are not installed (extra kerberos)")
    return tool


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    """What is opened in it is closed after the test."""
    with ExitStack() as opened:
        yield opened


GUARDS = [basic, digest, apache_digest, ntlm, every_scheme, tinyproxy]
SCHEMES = {basic: "Basic", tinyproxy: "Basic", ntlm: "NTLM"}

every_guard = pytest.mark.parametrize("guard", GUARDS, ids=lambda guard: guard.__name__)


@every_guard
async def test_the_right_password_gets_through(
    guard: Any, stack: ExitStack, tool: Tool, pinged: Ping, far: FarEnd
) -> None:
    """A ping is answered, the far end's journal has the proxy's address, the proxy's log has the user."""
    guarded = guard(stack, tool)
    trace = Trace(SECONDS)
    await pinged(guarded.route(far.server.endpoint), trace)
    record = await far.record()
    assert (1, guarded.source) == (record.pings, record.peer.rpartition(":")[0])
    assert SCHEMES.get(guard, "Digest") == trace.steps[-1].evidence["login"]
    if guard is not tinyproxy:  # its log has no users
        status, user = guarded.requests()[-1]
        assert ("200", guarded.known_as or user) == (status, user)


WRONG = [basic, digest, apache_digest, every_scheme, tinyproxy]


@pytest.mark.parametrize("guard", WRONG, ids=lambda guard: guard.__name__)
async def test_a_wrong_password_is_said_once(
    guard: Any, stack: ExitStack, tool: Tool, pinged: Ping, far: FarEnd
) -> None:
    """login-refused, and the proxy's log has one attempt, however many schemes it offers."""
    guarded = guard(stack, tool)
    with pytest.raises(ProxyRefused) as caught:
        await pinged(guarded.route(far.server.endpoint, password="guess7"), Trace(SECONDS))
    failure = caught.value.failure
    assert (Stage.LOGIN, Reason.LOGIN_REFUSED, 0) == (failure.stage, failure.reason, failure.hop)
    assert "user or password were not accepted" in failure.sentence
    assert "guess7" not in failure.sentence
    assert [] == far.server.journal.records
    if guard is tinyproxy:
        assert 2 == guarded.proxy.text("tinyproxy.log").count("Request (file descriptor")
    else:
        statuses = [(status, user) for status, user in guarded.requests()]
        assert [("407", "-"), ("407", USER)] == statuses


async def test_the_strongest_is_used_unless_told_otherwise(
    stack: ExitStack, tool: Tool, pinged: Ping, far: FarEnd
) -> None:
    """The order of --proxy-auth decides, not the proxy's."""
    guarded = every_scheme(stack, tool)
    for schemes, used in ((("digest", "basic"), "Digest"), (("basic", "digest"), "Basic")):
        trace = Trace(SECONDS)
        await pinged(guarded.route(far.server.endpoint, login=LoginRules(schemes)), trace)
        assert used == trace.steps[-1].evidence["login"]


async def test_a_chain_of_logins(stack: ExitStack, tool: Tool, pinged: Ping, far: FarEnd) -> None:
    """Each hop its own login; the last closes after its 407, and NTLM and Digest begin anew for it."""
    chain = [ntlm(stack, tool), digest(stack, tool), apache_digest(stack, tool), tinyproxy(stack, tool)]
    hops = tuple(guarded.hop() for guarded in chain)
    trace = Trace(SECONDS)
    await pinged(Route(far.server.endpoint, hops), trace)
    record = await far.record()
    assert (1, peers.TINYPROXY_SOURCE) == (record.pings, record.peer.rpartition(":")[0])
    used = [step.evidence.get("login") for step in trace.steps if "login" in step.evidence]
    assert ["NTLM", "Digest", "Digest", "Basic"] == used[-4:]
    assert 2 == [step.stage for step in trace.steps].count(Stage.CONNECT)


# Kerberos


def negotiate(stack: ExitStack, tool: Tool, realm: login_peers.Realm, *also: Any) -> Guarded:
    def auth(place: Any) -> list[str]:
        return [*realm.squid_negotiate(place), *(line for other in also for line in other(place))]

    proxy = with_squid(stack, tool, auth, **realm.service)
    return Guarded(proxy, peers.SQUID_SOURCE, f"{USER}@{login_peers.REALM}", {"login": KERBEROS})


@pytest.fixture
def as_client(realm: login_peers.Realm, monkeypatch: pytest.MonkeyPatch) -> login_peers.Realm:
    """The realm, as this process sees it."""
    for name, value in realm.client.items():
        monkeypatch.setenv(name, value)
    return realm


async def test_a_ticket_gets_through(
    as_client: login_peers.Realm, stack: ExitStack, tool: Tool, pinged: Ping, far: FarEnd
) -> None:
    """Without user and password: the ticket that is there, for the service that was named, in one leg."""
    as_client.kinit()
    guarded = negotiate(stack, tool, as_client)
    trace = Trace(SECONDS)
    await pinged(guarded.route(far.server.endpoint), trace)
    assert peers.SQUID_SOURCE == (await far.record()).peer.rpartition(":")[0]
    evidence = trace.steps[-1].evidence
    assert ("Negotiate", "kerberos") == (evidence["login"], evidence["mechanism"])
    assert [("407", "-"), ("200", guarded.known_as)] == guarded.requests()


async def test_a_ticket_bound_to_a_certificate(
    as_client: login_peers.Realm,
    stack: ExitStack,
    tool: Tool,
    pinged: Ping,
    far: FarEnd,
    certificate: bytes,
    authority: trustme.CA,
) -> None:
    """At an https:// proxy the ticket's proof names its certificate; squid, which demands none, takes it."""
    as_client.kinit()
    auth = as_client.squid_negotiate
    proxy = stack.enter_context(peers.squid(tool, auth=auth, certificate=certificate, **as_client.service))
    ca_file = stack.enter_context(authority.cert_pem.tempfile())
    trace = Trace(SECONDS)
    hop = Hop(proxy.endpoint, tls=True, ca_file=ca_file, login=KERBEROS)
    await pinged(Route(far.server.endpoint, (hop,)), trace)
    assert peers.SQUID_SOURCE == (await far.record()).peer.rpartition(":")[0]
    assert "kerberos" == trace.steps[-1].evidence["mechanism"]


async def test_a_password_gets_a_ticket(
    as_client: login_peers.Realm, stack: ExitStack, tool: Tool, pinged: Ping, far: FarEnd
) -> None:
    """User and password fetch a ticket of their own; the proxy does not get to see the password."""
    guarded = negotiate(stack, tool, as_client)
    await pinged(guarded.route(far.server.endpoint, user=USER, password=PASSWORD), Trace(SECONDS))
    assert [("407", "-"), ("200", guarded.known_as)] == guarded.requests()


async def test_a_wrong_password_is_said_once_to_the_kdc(
    as_client: login_peers.Realm, stack: ExitStack, tool: Tool, pinged: Ping, far: FarEnd
) -> None:
    """The KDC has counted an attempt: neither NTLM nor Basic may make it two."""
    guarded = negotiate(stack, tool, as_client, peers.basic_auth)
    with pytest.raises(ProxyRefused) as caught:
        await pinged(guarded.route(far.server.endpoint, user=USER, password="guess7"), Trace(SECONDS))
    assert Reason.LOGIN_REFUSED == caught.value.failure.reason
    assert "Negotiate: the Kerberos server did not accept the password" in str(caught.value)
    assert [("407", "-")] == guarded.requests()


async def test_without_a_ticket_the_password_goes_the_next_way(
    as_client: login_peers.Realm, stack: ExitStack, tool: Tool, pinged: Ping, far: FarEnd
) -> None:
    """A user that the KDC does not know: NTLM inside Negotiate is turned away, and Basic gets through."""
    guarded = negotiate(stack, tool, as_client, peers.basic_auth)
    away = LoginRules(spn=("HTTP", "other.test"))
    trace = Trace(SECONDS)
    await pinged(guarded.route(far.server.endpoint, user=USER, password=PASSWORD, login=away), trace)
    assert "Basic" == trace.steps[-1].evidence["login"]
    assert ("200", USER) == guarded.requests()[-1]


NO_TICKET = "there is no Kerberos ticket here"
UNKNOWN = "the Kerberos server does not know the service HTTP/other.test"
EXPIRED = "the Kerberos ticket has expired"
BY_ADDRESS = "a Kerberos ticket is for a name, and the proxy is given by its address"
NO_LIBRARY = "Kerberos needs gssapi, which is not installed"


@pytest.mark.parametrize(
    ("ticket", "rules", "words"),
    [
        (False, KERBEROS, NO_TICKET),
        (True, LoginRules(spn=("HTTP", "other.test")), UNKNOWN),
        (True, LoginRules(), BY_ADDRESS),
    ],
    ids=["no_ticket", "unknown_service", "by_address"],
)
async def test_what_kerberos_lacks_is_told(
    as_client: login_peers.Realm,
    stack: ExitStack,
    tool: Tool,
    pinged: Ping,
    far: FarEnd,
    ticket: bool,
    rules: LoginRules,
    words: str,
) -> None:
    """login-required, with what is missing and what to do; the proxy hears nothing."""
    if ticket:
        as_client.kinit()
    guarded = negotiate(stack, tool, as_client)
    with pytest.raises(ProxyRefused) as caught:
        await pinged(guarded.route(far.server.endpoint, login=rules), Trace(SECONDS))
    failure = caught.value.failure
    assert (Stage.LOGIN, Reason.LOGIN_REQUIRED) == (failure.stage, failure.reason)
    assert f"offered: Negotiate; Negotiate: {words}" in failure.sentence
    assert [("407", "-")] == guarded.requests()


async def test_a_clock_that_is_off_is_told(
    tool: Tool, stack: ExitStack, monkeypatch: pytest.MonkeyPatch, pinged: Ping, far: FarEnd
) -> None:
    """The KDC's clock is two hours ahead: the words say clock, not password."""
    ahead = stack.enter_context(login_peers.realm(kerberos_tool(tool), clock="+2h"))
    for name, value in ahead.client.items():
        monkeypatch.setenv(name, value)
    guarded = negotiate(stack, tool, ahead)
    with pytest.raises(ProxyRefused) as caught:
        await pinged(guarded.route(far.server.endpoint, user=USER, password=PASSWORD), Trace(SECONDS))
    assert "this machine's clock and that of the Kerberos server differ" in str(caught.value)


async def test_a_kerberos_server_that_is_silent(
    as_client: login_peers.Realm,
    stack: ExitStack,
    tool: Tool,
    silent: Endpoint,
    pinged: Ping,
    far: FarEnd,
) -> None:
    """Nothing waits without a limit: the login stage ends, and says who did not answer."""
    guarded = negotiate(stack, tool, as_client)
    settings = as_client.place / "krb5.conf"
    settings.write_text(settings.read_text().replace(str(as_client.daemon.endpoint), str(silent)))
    trace = Trace(SECONDS, {Stage.LOGIN: 1.0})
    with pytest.raises(RelayError) as caught:
        await pinged(guarded.route(far.server.endpoint, user=USER, password=PASSWORD), trace)
    failure = caught.value.failure
    assert (Stage.LOGIN, Reason.TIMED_OUT, 0) == (failure.stage, failure.reason, failure.hop)
    assert "no Kerberos ticket came in time" in failure.sentence


async def test_the_command_with_a_ticket(
    as_client: login_peers.Realm, stack: ExitStack, tool: Tool, far: FarEnd
) -> None:
    """TMSS10Ping with --proxy-spn and a ticket."""
    as_client.kinit()
    guarded = negotiate(stack, tool, as_client)
    spn = ["--proxy-spn", login_peers.SPN, "--proxy-auth", "negotiate"]
    ran = await ping(
        "-P", far.port, "-c", "1", "-x", guarded.proxy.url, *spn, far.host, **as_client.client
    )
    assert (0, "") == (ran.status, ran.stderr)


def test_hops_with_rules_differ() -> None:
    """The rules of a login are part of a hop's value."""
    hop = Hop(Endpoint("proxy.test", 3128))
    assert hop != replace(hop, login=KERBEROS)
