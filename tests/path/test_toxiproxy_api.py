"""toxiproxy's clients drive our proxy: the published one for Python, and by hand what that leaves out."""

import contextlib
import http.client
import json
import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest
import toxiproxy

from relay.access import Access
from relay.access_rule import Rule
from relay.fault_plan import FaultPlan
from relay.fault_rule import rule_from_text
from relay.limits import Limits
from relay.route import Endpoint
from relay.toxics import ATTRIBUTES
from relay.toxiproxy_api import ToxiproxyApi
from tests.path.proxied import (
    SOON_SECONDS,
    Proxied,
    Target,
    connect_head,
    fields_of,
    read_all,
    read_exactly,
    read_head,
    status_of,
    tunnel,
)

BLOCK = b"0123456789" * 100


class Driven:
    """A running proxy, and its API."""

    def __init__(self, proxied: Proxied, port: int) -> None:
        self.proxied = proxied
        self.port = port

    def ask(self, method: str, path: str, body: Any = None, **fields: str) -> tuple[int, Any]:
        """One request to the API: status and JSON."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=SOON_SECONDS)
        with contextlib.closing(connection):
            data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
            connection.request(method, path, data, {"Content-Type": "application/json", **fields})
            reply = connection.getresponse()
            text = reply.read()
            return reply.status, json.loads(text) if text else None


@contextlib.contextmanager
def driven(**options: Any) -> Iterator[Driven]:
    with Proxied(**{"faults": FaultPlan(), **options}) as proxied:

        async def start() -> ToxiproxyApi:
            return await ToxiproxyApi(proxied.proxy, Endpoint("127.0.0.1", 0)).__aenter__()

        api = proxied.run(start())
        try:
            yield Driven(proxied, api.endpoint.port)
        finally:
            proxied.run(api.__aexit__(None, None, None))


@pytest.fixture
def api() -> Iterator[Driven]:
    """A proxy with its API."""
    with driven() as running:
        yield running


@pytest.fixture
def client(api: Driven) -> toxiproxy.Toxiproxy:
    """The published client, told where the API is."""
    found = toxiproxy.Toxiproxy()
    found.update_api_consumer("127.0.0.1", api.port)
    return found


@contextlib.contextmanager
def through(proxy: toxiproxy.proxy.Proxy, target: Target) -> Iterator[tuple[socket.socket, socket.socket]]:
    """A connection through a proxy that the client made: both ends."""
    host, _, port = proxy.listen.rpartition(":")
    with socket.create_connection((host, int(port)), SOON_SECONDS) as near, target.accept() as far:
        yield near, far


def test_the_published_client_makes_and_removes_a_proxy(client: toxiproxy.Toxiproxy) -> None:
    """create, get, disable, enable and destroy do what they say, on real connections."""
    with Target() as target:
        proxy = client.create(upstream=target.authority, name="db")
        assert {"relay", "db"} == set(client.proxies())
        with through(proxy, target) as (near, far):
            near.sendall(b"up")
            assert b"up" == read_exactly(far, 2)
            far.sendall(BLOCK)
            assert BLOCK == read_exactly(near, len(BLOCK))
            proxy.disable()
            assert (b"", "RST") == read_all(near)
        assert client.get_proxy("db").enabled is False
        host, _, port = proxy.listen.rpartition(":")
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((host, int(port)), SOON_SECONDS)
        proxy.enable()
        with through(proxy, target):
            assert client.get_proxy("db").enabled is True
        proxy.destroy()
        assert None is client.get_proxy("db")


def test_the_published_client_asks_who_is_there(client: toxiproxy.Toxiproxy) -> None:
    """running and version, which clients ask before they begin."""
    assert client.running()
    assert {"version": "2.12.0"} == json.loads(client.version())


def test_the_published_client_populates_and_resets(client: toxiproxy.Toxiproxy) -> None:
    """populate makes what is missing; reset enables all and removes all toxics."""
    with Target() as target:
        rows = [{"name": name, "upstream": target.authority, "listen": "127.0.0.1:0"} for name in ("a", "b")]
        assert ["a", "b"] == [proxy.name for proxy in client.populate(rows)]
        proxy = client.get_proxy("a")
        proxy.add_toxic(type="latency", attributes={"latency": 5})
        assert ["latency_downstream"] == list(proxy.toxics())
        client.get_proxy("b").disable()
        client.reset()
        assert {} == proxy.toxics()
        assert client.get_proxy("b").enabled


@pytest.mark.parametrize("stream", ["downstream", "upstream"])
def test_a_toxic_works_in_its_direction_only(client: toxiproxy.Toxiproxy, stream: str) -> None:
    """limit_data cuts one way after so many bytes; before that both ways are whole."""
    with Target() as target:
        proxy = client.create(upstream=target.authority, name="db")
        proxy.add_toxic(type="limit_data", stream=stream, attributes={"bytes": 10})
        with through(proxy, target) as ends:
            near, far = ends if stream == "downstream" else reversed(ends)
            near.sendall(BLOCK)
            assert BLOCK == read_exactly(far, len(BLOCK))
            far.sendall(BLOCK)
            assert (BLOCK[:10], "FIN") == read_all(near)


def seconds_of(work: Any) -> float:
    began = time.monotonic()
    work()
    return time.monotonic() - began


TOXICS = {
    "latency": ({"latency": 300, "jitter": 0}, lambda near: read_exactly(near, 1000), 0.3),
    "bandwidth": ({"rate": 4}, lambda near: read_exactly(near, 1000), 0.24),
    "slicer": ({"average_size": 100, "delay": 30_000}, lambda near: read_exactly(near, 1000), 0.26),
    "slow_close": ({"delay": 300}, read_all, 0.3),
}


@pytest.mark.parametrize("kind", TOXICS)
def test_toxics_that_take_time(client: toxiproxy.Toxiproxy, kind: str) -> None:
    """The bytes all arrive, and not before the time that the attributes say, in toxiproxy's units."""
    attributes, work, least_seconds = TOXICS[kind]
    with Target() as target:
        proxy = client.create(upstream=target.authority, name="db")
        proxy.add_toxic(type=kind, attributes=attributes)
        with through(proxy, target) as (near, far):
            began = time.monotonic()
            far.sendall(BLOCK)
            far.shutdown(socket.SHUT_WR)
            work(near)
            assert time.monotonic() - began >= least_seconds


@pytest.mark.parametrize(("kind", "end"), [("timeout", "FIN"), ("reset_peer", "RST")])
def test_toxics_that_end_it(client: toxiproxy.Toxiproxy, kind: str, end: str) -> None:
    """timeout lets nothing through and closes; reset_peer resets after the first bytes."""
    with Target() as target:
        proxy = client.create(upstream=target.authority, name="db")
        proxy.add_toxic(type=kind, attributes={"timeout": 50})
        with through(proxy, target) as (near, far):
            far.sendall(BLOCK)
            assert (b"", end) == read_all(near)


def test_every_type_of_toxic_has_its_test() -> None:
    """None of toxiproxy's types is left out above."""
    assert set(ATTRIBUTES) == {*TOXICS, "timeout", "reset_peer", "limit_data"}


def test_toxics_of_relay_are_for_tunnels(api: Driven, client: toxiproxy.Toxiproxy) -> None:
    """The CONNECT proxy is the proxy `relay`: its toxics are for tunnels, those that are open as well."""
    ours = client.get_proxy("relay")
    with tunnel(api.proxied) as (near, far):
        far.sendall(BLOCK)
        assert BLOCK == read_exactly(near, len(BLOCK))
        ours.add_toxic(type="limit_data", attributes={"bytes": 4})
        far.sendall(BLOCK)
        assert (BLOCK[:4], "FIN") == read_all(near)
        with tunnel(api.proxied) as (near2, far2):
            far2.sendall(BLOCK)
            assert (BLOCK[:4], "FIN") == read_all(near2)
        ours.destroy_toxic("limit_data_downstream")
        with tunnel(api.proxied) as (near3, far3):
            far3.sendall(BLOCK)
            assert BLOCK == read_exactly(near3, len(BLOCK))
    assert {"faults"} == {api.proxied.entry()["path"] for _ in range(3)}


HELD = {
    "latency": {"latency": 60_000},
    "bandwidth": {"rate": 0},
    "slicer": {"average_size": 1, "delay": 10**8},
}


@pytest.mark.parametrize("stream", ["downstream", "upstream"])
@pytest.mark.parametrize("kind", HELD)
def test_what_a_removed_toxic_held_back_goes_on(
    client: toxiproxy.Toxiproxy, kind: str, stream: str
) -> None:
    """Added to an open connection it works there; taken away, all bytes arrive, once and in order."""
    with Target() as target:
        proxy = client.create(upstream=target.authority, name="db")
        with through(proxy, target) as ends:
            near, far = ends if stream == "downstream" else reversed(ends)
            far.sendall(b"first")
            assert b"first" == read_exactly(near, 5)
            proxy.add_toxic(type=kind, stream=stream, attributes=HELD[kind])
            far.sendall(BLOCK)
            near.settimeout(0.3)
            first = near.recv(1) if kind == "slicer" else b""
            with pytest.raises(TimeoutError):
                near.recv(1)
            near.settimeout(SOON_SECONDS)
            proxy.destroy_toxic(f"{kind}_{stream}")
            assert BLOCK == first + read_exactly(near, len(BLOCK) - len(first))
            far.shutdown(socket.SHUT_WR)
            assert (b"", "FIN") == read_all(near)


def test_an_open_connection_follows_a_changed_toxic(api: Driven, client: toxiproxy.Toxiproxy) -> None:
    """What waits for an hour comes when the attribute is lowered; one that is for nobody lets all pass."""
    with Target() as target:
        proxy = client.create(upstream=target.authority, name="db")
        proxy.add_toxic(type="latency", attributes={"latency": 3_600_000})
        with through(proxy, target) as (near, far):
            far.sendall(BLOCK)
            api.ask("PATCH", "/proxies/db/toxics/latency_downstream", {"attributes": {"latency": 1}})
            assert BLOCK == read_exactly(near, len(BLOCK))
            change = {"attributes": {"latency": 3_600_000}, "toxicity": 0}
            api.ask("PATCH", "/proxies/db/toxics/latency_downstream", change)
            far.sendall(BLOCK)
            assert BLOCK == read_exactly(near, len(BLOCK))


def test_a_removed_timeout_closes_what_it_held(client: toxiproxy.Toxiproxy) -> None:
    """As in toxiproxy: the bytes are lost, and the connection ends by FIN."""
    with Target() as target:
        proxy = client.create(upstream=target.authority, name="db")
        with through(proxy, target) as (near, far):
            proxy.add_toxic(type="timeout", attributes={"timeout": 0})
            far.sendall(BLOCK)
            proxy.destroy_toxic("timeout_downstream")
            assert (b"", "FIN") == read_all(near)


def test_a_toxic_counts_on_when_another_one_comes(client: toxiproxy.Toxiproxy) -> None:
    """limit_data remembers what has passed through this connection, whatever happens to other toxics."""
    with Target() as target:
        proxy = client.create(upstream=target.authority, name="db")
        proxy.add_toxic(type="limit_data", attributes={"bytes": 10})
        with through(proxy, target) as (near, far):
            far.sendall(BLOCK[:6])
            assert BLOCK[:6] == read_exactly(near, 6)
            proxy.add_toxic(type="latency", attributes={"latency": 1})
            proxy.add_toxic(name="late", type="slicer", attributes={"average_size": 1, "delay": 1})
            proxy.destroy_toxic("latency_downstream")
            far.sendall(BLOCK)
            assert (BLOCK[:4], "FIN") == read_all(near)


def test_relay_can_be_switched_off_but_not_removed(api: Driven) -> None:
    """Disabled, every CONNECT is reset; enabled, it works again; it cannot be deleted."""
    assert 200 == api.ask("PATCH", "/proxies/relay", {"enabled": False})[0]
    with Target() as target, api.proxied.client(connect_head(target.authority)) as near:
        assert (b"", "RST") == read_all(near)
        assert not target.was_called()
    assert 200 == api.ask("POST", "/proxies/relay", {"enabled": True})[0]
    with tunnel(api.proxied):
        assert 403 == api.ask("DELETE", "/proxies/relay")[0]


def test_faults_of_the_start_stay_beside_toxics() -> None:
    """What --fault said holds, whatever comes and goes through the API."""
    with driven(faults=FaultPlan([rule_from_text("limit_data:limit_bytes=8")])) as api:
        api.ask("POST", "/proxies/relay/toxics", {"type": "limit_data", "attributes": {"bytes": 3}})
        for expected in (BLOCK[:3], BLOCK[:8]):
            with tunnel(api.proxied) as (near, far):
                far.sendall(BLOCK)
                assert (expected, "FIN") == read_all(near)
            api.ask("POST", "/reset")


def test_a_proxy_whose_upstream_is_away_closes_without_a_word(client: toxiproxy.Toxiproxy) -> None:
    """No HTTP reply comes where nobody spoke HTTP."""
    with Target() as target:
        authority = target.authority
    proxy = client.create(upstream=authority, name="db")
    host, _, port = proxy.listen.rpartition(":")
    with socket.create_connection((host, int(port)), SOON_SECONDS) as near:
        assert (b"", "FIN") == read_all(near)


TOXIC = {"type": "latency", "attributes": {"latency": 5}}
DB = {"name": "db", "upstream": "127.0.0.1:1"}


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "error"),
    [
        ("GET", "/proxies/none", None, 404, "proxy not found"),
        ("POST", "/proxies", b"{", 400, "bad request body"),
        ("POST", "/proxies", b"[" * 100_000, 400, "bad request body"),
        ("POST", "/proxies", [], 400, "expected an object"),
        ("POST", "/proxies", {"upstream": "x:1"}, 400, "missing required field: name"),
        ("POST", "/proxies", {"name": "x"}, 400, "missing required field: upstream"),
        ("POST", "/proxies", {"name": "x", "upstream": "nope"}, 400, "has no port"),
        ("POST", "/proxies", {"name": "x", "upstream": 5}, 400, "expected HOST:PORT"),
        ("POST", "/proxies", DB, 409, "proxy already exists"),
        ("POST", "/populate", {}, 400, "expected a list"),
        ("POST", "/populate", [{**DB, "name": "relay"}], 409, "proxy already exists"),
        ("POST", "/proxies/db/toxics", {"type": "nope"}, 400, "invalid toxic type"),
        ("POST", "/proxies/db/toxics", {**TOXIC, "stream": "side"}, 400, "stream was invalid"),
        ("POST", "/proxies/db/toxics", {**TOXIC, "toxicity": 2}, 400, "toxicity"),
        ("POST", "/proxies/db/toxics", {**TOXIC, "attributes": {"latency": -1}}, 400, "attributes.latency"),
        ("POST", "/proxies/db/toxics", {**TOXIC, "attributes": {"latency": 1e99}}, 400, "attributes.latency"),
        ("POST", "/proxies/db/toxics", {**TOXIC, "attributes": {"latency": 10**12}}, 400, "from 0 to 86400"),
        ("POST", "/proxies/db/toxics", {**TOXIC, "name": "there"}, 409, "toxic already exists"),
        ("GET", "/proxies/db/toxics/none", None, 404, "toxic not found"),
        ("DELETE", "/proxies/db/toxics/none", None, 404, "toxic not found"),
        ("PATCH", "/proxies/db", {"enabled": "yes"}, 400, "enabled"),
        ("GET", "/nowhere", None, 404, "Not Found"),
        ("PUT", "/proxies", None, 405, "Method Not Allowed"),
    ],
)  # fmt: skip
def test_what_it_refuses(api: Driven, method: str, path: str, body: Any, status: int, error: str) -> None:
    """Errors are JSON with toxiproxy's words and status, and nothing changes."""
    assert 201 == api.ask("POST", "/proxies", DB)[0]
    assert 200 == api.ask("POST", "/proxies/db/toxics", {**TOXIC, "name": "there"})[0]
    got, answer = api.ask(method, path, body)
    assert (status, status) == (got, answer["status"]), answer
    assert error in answer["error"]
    assert ["there"] == [toxic["name"] for toxic in api.ask("GET", "/proxies/db")[1]["toxics"]]


def test_a_toxic_is_changed_in_part(api: Driven) -> None:
    """What an update does not name stays as it is."""
    path = "/proxies/relay/toxics"
    first = {"type": "latency", "attributes": {"latency": 5, "jitter": 1}, "toxicity": 0.5}
    whole = {**first, "name": "latency_downstream", "stream": "downstream"}
    assert (200, whole) == api.ask("POST", path, first)
    changed = {**whole, "attributes": {"latency": 9, "jitter": 1}}
    assert (200, changed) == api.ask("PATCH", f"{path}/latency_downstream", {"attributes": {"latency": 9}})
    assert (200, changed) == api.ask("GET", f"{path}/latency_downstream")
    assert (204, None) == api.ask("DELETE", f"{path}/latency_downstream")
    assert (200, []) == api.ask("GET", path)


@pytest.mark.parametrize("fields", [{"User-Agent": "Mozilla/5.0"}, {"Origin": "http://evil.example"}])
def test_no_web_page_drives_it(api: Driven, fields: dict[str, str]) -> None:
    """A browser is turned away: a page could otherwise open ports on this machine."""
    assert 403 == api.ask("POST", "/proxies", DB, **fields)[0]
    assert {"relay"} == set(api.ask("GET", "/proxies")[1])


def test_the_policy_holds_for_upstreams() -> None:
    """The API is no way around what the proxy may reach; the CONNECT proxy still says so in HTTP."""
    with driven(access=Access(allow_local=False)) as api, Target() as target:
        _, made = api.ask("POST", "/proxies", {"name": "db", "upstream": target.authority})
        host, _, port = made["listen"].rpartition(":")
        with socket.create_connection((host, int(port)), SOON_SECONDS) as near:
            assert (b"", "FIN") == read_all(near)
        assert not target.was_called()
        api.ask("POST", "/proxies/relay/toxics", TOXIC)
        with api.proxied.client(connect_head(target.authority)) as near:
            head = read_head(near)
            assert 403 == status_of(head)
            assert "destination_ip_prohibited" in fields_of(head)["proxy-status"][0]


def test_rules_hold_for_upstreams_and_change_with_a_reload() -> None:
    """A port and a rule refuse as they do for a CONNECT, by the policy that holds now; who may pass does."""
    denied = Rule.of({"client": ["127.0.0.0/8"]}, allows=False, words="no")
    users = Rule.of({"user": ["alice"]}, allows=True, words="")
    with driven() as api, Target() as target:
        _, made = api.ask("POST", "/proxies", {"name": "db", "upstream": target.authority})
        host, _, port = made["listen"].rpartition(":")
        for access, passes in (
            (Access(allow_local=True), True),
            (Access(allow_local=True, allow_ports=(range(1, 2),)), False),
            (Access(allow_local=True, rules=(denied,)), False),
            (Access(allow_local=True, rules=(users,), allow_others=False), False),
            (Access(allow_local=True), True),
        ):
            api.proxied.run(api.proxied.proxy.change(access, Limits(), None))
            with socket.create_connection((host, int(port)), SOON_SECONDS) as near:
                if passes:
                    target.accept().close()
                assert (b"", "FIN") == read_all(near)
            assert not target.was_called()
