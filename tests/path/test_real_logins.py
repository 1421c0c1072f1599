"""Real clients log in at our proxy, with every scheme that they speak."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest

from relay.access import Access
from relay.access_rule import Rule
from relay.client_logins import LoginRules
from relay.commands.passwd import MAKERS
from relay.failure import ProxyRefused, Reason
from relay.metrics import Metrics
from relay.profile import read_profile
from relay.proxy import ConnectProxy
from relay.route import Endpoint, Hop, Route
from relay.security_context import Account, SecurityContext, kerberos
from relay.trace import Trace
from relay.users import set_verifiers
from tests.path import login_peers
from tests.path.conftest import LOOPBACK, Entry, FarEnd, Origin, OurProxy
from tests.path.login_peers import PASSWORD, USER
from tests.path.origin import some_bytes
from tests.path.proxied import connect_head, fields_of, status_of
from tests.path.real import Ran, Tool, ping, relay_command, run
from tests.path.test_logins import SECONDS, Ping, by_asyncio, by_threads, kerberos_tool

pytestmark = pytest.mark.usefixtures("no_kerberos")

REALM = "Example Corp"
PRINCIPAL = f"{USER}@{login_peers.REALM}"
EVERY = ("ntlm", "digest", "basic")
SIZE = 20_000

Guard = Callable[..., AbstractAsyncContextManager[OurProxy]]


@pytest.fixture
def users(tmp_path: Path) -> Path:
    """A users file that serves every scheme."""
    verifiers = [made for make in MAKERS.values() for made in make(USER, REALM, PASSWORD)]
    set_verifiers(tmp_path / "users.txt", USER, verifiers)
    return tmp_path / "users.txt"


@pytest.fixture
def guard(users: Path) -> Guard:
    """Our proxy as a profile has it, for one user only, whatever the scheme."""

    @asynccontextmanager
    async def guarded(*schemes: str, more: str = "", user: str = USER) -> AsyncIterator[OurProxy]:
        profile = users.parent / "login.toml"
        names = json.dumps(schemes)
        profile.write_text(f'[login]\nusers = "users.txt"\nrealm = "{REALM}"\nschemes = {names}\n{more}')
        rules = (Rule.of({"user": [user]}, allows=True, words=""),)
        entries: asyncio.Queue[Entry] = asyncio.Queue()
        async with ConnectProxy(
            (LOOPBACK,), access=Access(rules=rules, allow_others=False), log=entries.put_nowait,
            login=read_profile(profile).login, metrics=Metrics(),
        ) as service:  # fmt: skip
            yield OurProxy(service, entries)

    return guarded


@pytest.fixture(scope="module")
def running_realm(tool: Tool) -> Iterator[login_peers.Realm]:
    """One KDC for all tests here, with a ticket in the client's cache."""
    with login_peers.realm(kerberos_tool(tool)) as running:
        running.kinit()
        yield running


@pytest.fixture
def realm(running_realm: login_peers.Realm, monkeypatch: pytest.MonkeyPatch) -> login_peers.Realm:
    """The realm, as this process sees it."""
    for name, value in running_realm.client.items():
        monkeypatch.setenv(name, value)
    return running_realm


def keytab(realm: login_peers.Realm) -> str:
    return f'[login.negotiate]\nkeytab = "{realm.place}/keytab"\n'


async def curl(tool: Tool, proxy: OurProxy, *arguments: str | Path, **env: str) -> Ran:
    program = tool("curl", "curl")
    return await run(program, "-q", "-sS", "--noproxy", "", "-x", proxy.url, *arguments, **env)


async def entries_of(proxy: OurProxy, count: int) -> list[tuple[int, str | None]]:
    """Status and user of so many lines of the access log, and no more; no line has the password."""
    found = [await proxy.entry() for _ in range(count)]
    proxy.assert_that_was_all()
    assert PASSWORD not in json.dumps(found)
    return [(entry["status"], entry.get("user")) for entry in found]


ASKED, KNOWN = (407, None), (200, USER)
REQUESTS = {"--proxy-basic": [KNOWN], "--proxy-digest": [ASKED, KNOWN], "--proxy-ntlm": [ASKED, KNOWN],
            "--proxy-anyauth": [ASKED, KNOWN]}  # fmt: skip


@pytest.mark.parametrize("way", ["", "-p"], ids=["absolute-form", "CONNECT"])
@pytest.mark.parametrize("option", REQUESTS)
async def test_curl_logs_in(tool: Tool, guard: Guard, origin: Origin, option: str, way: str) -> None:
    """The body comes whole; rules and log have the user's own name, and as few requests as there can be."""
    async with guard(*EVERY) as proxy:
        how = [option, *filter(None, [way])]
        ran = await curl(tool, proxy, *how, "-U", f"{USER}:{PASSWORD}", f"{origin.url}/bytes/{SIZE}")
        assert (0, "", some_bytes(SIZE)) == (ran.status, ran.stderr, ran.stdout)
        assert REQUESTS[option] == await entries_of(proxy, len(REQUESTS[option]))


@pytest.mark.parametrize("name", [USER, "nobody"])
@pytest.mark.parametrize("option", REQUESTS)
async def test_curl_is_refused(tool: Tool, guard: Guard, option: str, name: str, origin: Origin) -> None:
    """A wrong password and an unknown user come to the same words; one attempt is counted."""
    async with guard(*EVERY) as proxy:
        secret = PASSWORD if name == "nobody" else "guess-7"
        ran = await curl(tool, proxy, option, "-U", f"{name}:{secret}", f"{origin.url}/bytes/9")
        assert b"user or password were not accepted" in ran.stdout
        assert "guess-7" not in ran.text + ran.stderr
        asked = len(REQUESTS[option])
        assert [ASKED] * asked == await entries_of(proxy, asked)
        assert 1 == proxy.service.snapshot()["logins"]["failed"]


async def test_curl_logs_in_once_for_its_connection(tool: Tool, guard: Guard, origin: Origin) -> None:
    """NTLM: the second request, also one with a body, goes without credentials."""
    async with guard("ntlm") as proxy:
        url = f"{origin.url}/take"
        ran = await curl(tool, proxy, "--proxy-ntlm", "-U", f"{USER}:{PASSWORD}", "-d", "x=1", url, url)
        assert (0, "", 2) == (ran.status, ran.stderr, ran.stdout.count(b"POST sized via 3"))
        assert [ASKED, KNOWN, KNOWN] == await entries_of(proxy, 3)


@pytest.mark.parametrize("name", [f"LAB\\{USER}", USER.upper(), f"{USER}@lab.test"])
async def test_names_of_ntlm(tool: Tool, guard: Guard, users: Path, origin: Origin, name: str) -> None:
    """A domain in front, any case, and the form with @, if the file has it so: rules see the file's name."""
    own = name if "@" in name else USER
    set_verifiers(users, own, MAKERS["ntlm"](own, REALM, PASSWORD))
    async with guard("ntlm", user=own) as proxy:
        ran = await curl(tool, proxy, "--proxy-ntlm", "-U", f"{name}:{PASSWORD}", f"{origin.url}/bytes/9")
        assert (0, some_bytes(9)) == (ran.status, ran.stdout)
        assert [ASKED, (200, own)] == await entries_of(proxy, 2)


@pytest.mark.parametrize("scheme", ["basic", "digest"])
async def test_ncat_logs_in(tool: Tool, guard: Guard, far: FarEnd, scheme: str) -> None:
    """A tunnel opens with Basic and with Digest, of which it reads the first challenge, and knows MD5."""
    more = '[login.digest]\nalgorithms = ["MD5", "SHA-256"]\n'
    async with guard(scheme, more=more) as proxy:
        ran = await run(
            tool("ncat", "ncat"), "--proxy", proxy.address, "--proxy-type", "http",
            "--proxy-auth", f"{USER}:{PASSWORD}", far.host, far.port, stdin=b"\0" * 8,
        )  # fmt: skip
        assert (0, "") == (ran.status, ran.stderr)
        assert [ASKED, KNOWN] == await entries_of(proxy, 2)


async def test_wget_logs_in(tool: Tool, guard: Guard, origin: Origin) -> None:
    """wget knows Basic only, and finds it behind the others."""
    async with guard(*EVERY) as proxy:
        ran = await run(
            tool("wget", "wget"), "--no-config", "-q", "-O", "-", f"--proxy-user={USER}",
            f"--proxy-password={PASSWORD}", f"{origin.url}/bytes/{SIZE}", http_proxy=proxy.url,
        )  # fmt: skip
        assert (0, some_bytes(SIZE)) == (ran.status, ran.stdout)
        assert KNOWN == (await entries_of(proxy, proxy.entries.qsize()))[-1]


# Our own client


def route(proxy: OurProxy, far: FarEnd, password: str | None, *schemes: str) -> Route:
    rules = LoginRules(schemes, spn=("HTTP", "proxy.test"))
    user = None if password is None else USER
    hop = Hop(proxy.service.endpoint, user=user, password=password, login=rules)
    return Route(far.server.endpoint, (hop,))


BOTH = pytest.mark.parametrize("way", [by_asyncio, by_threads], ids=["asyncio", "threads"])


@BOTH
@pytest.mark.parametrize("scheme", ["Basic", "Digest", "NTLM", "Negotiate"])
async def test_our_client_logs_in(guard: Guard, far: FarEnd, way: Ping, scheme: str) -> None:
    """A ping goes through with each scheme, with every one offered; Negotiate has NTLM inside."""
    async with guard("negotiate", *EVERY) as proxy:
        trace = Trace(SECONDS)
        await way(route(proxy, far, PASSWORD, scheme.lower()), trace)
        assert scheme == trace.steps[-1].evidence["login"]
        found = await entries_of(proxy, 3 if scheme in ("NTLM", "Negotiate") else 2)
        assert KNOWN == found[-1]


@pytest.mark.parametrize("scheme", ["Basic", "Digest", "NTLM", "Negotiate"])
async def test_our_client_is_refused(guard: Guard, far: FarEnd, scheme: str) -> None:
    """A wrong password: said once, and called by its name."""
    async with guard("negotiate", *EVERY) as proxy:
        with pytest.raises(ProxyRefused) as caught:
            await by_asyncio(route(proxy, far, "guess-7", scheme.lower()), Trace(SECONDS))
        assert Reason.LOGIN_REFUSED == caught.value.failure.reason
        assert 1 == proxy.service.snapshot()["logins"]["failed"]


async def test_the_commands_log_in(users: Path, far: FarEnd) -> None:
    """TMSS10Ping -x and relay proxy --config, as processes of their own; the log has user, no secret."""
    profile = users.parent / "login.toml"
    profile.write_text(f'[login]\nusers = "users.txt"\nrealm = "{REALM}"\nschemes = ["NTLM", "Digest"]\n')
    (users.parent / "secret").write_text(f"{USER}:{PASSWORD}\n")
    with relay_command("proxy", "--config", str(profile), "--access-log", "-", "--workers", "2") as proxy:
        for scheme in ("ntlm", "digest", "digest"):  # Digest's second request may come to the other process
            login = ["--proxy-user-file", str(users.parent / "secret"), "--proxy-auth", scheme]
            ran = await ping("-P", far.port, "-c", "1", "-x", proxy.url, *login, far.host)
            assert (0, "") == (ran.status, ran.stderr)
        proxy.stop()
        assert 3 == [entry.get("user") for entry in proxy.logged].count(USER)
        assert PASSWORD not in proxy.stdout + proxy.stderr


# Kerberos


async def curl_with_ticket(tool: Tool, proxy: OurProxy, realm: login_peers.Realm, *arguments: str) -> Ran:
    port = proxy.service.endpoint.port
    return await run(
        tool("curl", "curl"), "-q", "-sS", "--noproxy", "", "-x", f"http://proxy.test:{port}",
        "--resolve", f"proxy.test:{port}:127.0.0.1", "--proxy-negotiate", "-U", ":", *arguments,
        **realm.client,
    )  # fmt: skip


@pytest.mark.parametrize("way", ["", "-p"], ids=["absolute-form", "CONNECT"])
async def test_curl_with_a_ticket(
    tool: Tool, guard: Guard, realm: login_peers.Realm, origin: Origin, way: str
) -> None:
    """One leg is enough; rules and log have user@REALM."""
    async with guard("negotiate", "basic", more=keytab(realm), user=PRINCIPAL) as proxy:
        url = f"{origin.url}/bytes/{SIZE}"
        ran = await curl_with_ticket(tool, proxy, realm, *filter(None, [way]), url)
        assert (0, "", some_bytes(SIZE)) == (ran.status, ran.stderr, ran.stdout)
        assert (200, PRINCIPAL) == (await entries_of(proxy, proxy.entries.qsize()))[-1]


@BOTH
async def test_our_client_with_a_ticket(
    guard: Guard, realm: login_peers.Realm, far: FarEnd, way: Ping
) -> None:
    """Kerberos inside Negotiate; in our own realm the user has no realm. The proxy proves itself too."""
    more = keytab(realm) + f'own_realm = "{login_peers.REALM}"\n'
    async with guard("negotiate", *EVERY, more=more) as proxy:
        trace = Trace(SECONDS)
        await way(route(proxy, far, None, "negotiate"), trace)
        evidence = trace.steps[-1].evidence
        assert ("Negotiate", "kerberos") == (evidence["login"], evidence["mechanism"])
        assert [ASKED, KNOWN] == await entries_of(proxy, 2)


async def test_a_ticket_for_another_service(guard: Guard, realm: login_peers.Realm, far: FarEnd) -> None:
    """The keytab of the proxy does not open it: refused, and counted."""
    async with guard("negotiate", more=keytab(realm)) as proxy:
        other = LoginRules(("negotiate",), spn=("HTTP", "stranger.test"))
        hop = Hop(proxy.service.endpoint, login=other)
        with pytest.raises(ProxyRefused) as caught:
            await by_asyncio(Route(far.server.endpoint, (hop,)), Trace(SECONDS))
        assert Reason.LOGIN_REFUSED == caught.value.failure.reason
        assert 1 == proxy.service.snapshot()["logins"]["failed"]


async def said(proxy: OurProxy, target: Endpoint, token: bytes) -> bytes:
    """The reply's head to a CONNECT with this token of Negotiate, on a connection of its own."""
    reader, writer = await asyncio.open_connection(proxy.service.endpoint.host, proxy.service.endpoint.port)
    try:
        text = base64.b64encode(token).decode()
        writer.write(connect_head(str(target), f"Proxy-Authorization: Negotiate {text}"))
        async with asyncio.timeout(SECONDS):
            return await reader.readuntil(b"\r\n\r\n")
    finally:
        writer.close()


async def ticket_token() -> bytes:
    token = await asyncio.to_thread(SecurityContext(kerberos, Account(None, None, "proxy.test")).step, None)
    assert token is not None
    return token


async def test_a_ticket_is_good_once(guard: Guard, realm: login_peers.Realm, far: FarEnd) -> None:
    """The 200 proves the proxy to the client; the same token again is refused by libkrb5's replay cache."""
    async with guard("negotiate", more=keytab(realm), user=PRINCIPAL) as proxy:
        token = await ticket_token()
        first = await said(proxy, far.server.endpoint, token)
        assert 200 == status_of(first)
        assert fields_of(first)["proxy-authenticate"][0].startswith("Negotiate ")
        assert 407 == status_of(await said(proxy, far.server.endpoint, token))


async def test_tickets_that_are_none(
    guard: Guard, realm: login_peers.Realm, far: FarEnd, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cut short, changed, as large as a head may be: 407 each time; no tunnel."""
    monkeypatch.setattr("relay.backoff.FREE_FAILURES", 10_000)
    async with guard("negotiate", more=keytab(realm), user=PRINCIPAL) as proxy:
        whole = await ticket_token()
        cuts = [whole[:size] for size in range(1, len(whole), 97)]
        # Not among the first bytes, which hold what kinds of tokens the client can speak besides
        flips = [whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :] for at in range(100, len(whole), 97)]
        for token in (*cuts, *flips, whole[:200] + bytes(40_000)):
            assert 407 == status_of(await said(proxy, far.server.endpoint, token)), len(token)
        assert PRINCIPAL not in {(await proxy.entry()).get("user") for _ in range(proxy.entries.qsize())}
