"""The stack of docker-compose.yml, for real: `make compose`, also with COMPOSE=docker-compose (1.29).

PYTHON_IMAGE names another base image, as for anyone who builds the stack.
"""

from collections.abc import Iterator

import pytest

from tests.compose.stack import Stack

pytestmark = [pytest.mark.compose, pytest.mark.timeout(600)]

@pytest.fixture(scope="module")
def running() -> Iterator[Stack]:
    """Give the whole stack, up in the background."""
    stack = Stack("running")
    up = stack.compose("up", "--detach")
    try:
        assert 0 == up.returncode, up.stdout
        yield stack
    finally:
        stack.remove()


@pytest.fixture
def stack(request: pytest.FixtureRequest) -> Iterator[Stack]:
    """Give a stack that is not up yet."""
    stack = Stack("single", **getattr(request, "param", {}))
    yield stack
    stack.remove()


def test_the_traffic_gets_through(stack: Stack) -> None:
    """The proof holds: no direct way, a way through the proxy, a killed connection made anew; exit 0."""
    proof = stack.prove()
    assert 0 == proof.returncode, proof.stdout
    for shown in (
        "4 of 4 pings answered",
        "which is none of our own ends",
        "killed mid-way, made anew",
        "2 of 2 direct ways are closed",
        "PROVEN",
    ):
        assert shown in proof.stdout


@pytest.mark.parametrize("stack", [{"RELAY_ALLOW_PORT": "443"}], indirect=True)
def test_a_proxy_that_refuses_the_port_is_told(stack: Stack) -> None:
    """With port 5000 refused the proof fails: the exit code is not 0, and the reason stands in the output."""
    proof = stack.prove()
    assert 1 == proof.returncode, proof.stdout
    for shown in ("answered 403 Forbidden to CONNECT server:5000", "port 5000 is not allowed", "NOT PROVEN"):
        assert shown in proof.stdout


@pytest.mark.parametrize(
    "stack", [{"COMPOSE_FILE": "docker-compose.yml:tests/compose/direct_way_open.yml"}], indirect=True
)
def test_a_direct_way_that_is_open_is_told(stack: Stack) -> None:
    """Where the client reaches the server without the proxy nothing is proven: exit 1, with the reason."""
    proof = stack.prove()
    assert 1 == proof.returncode, proof.stdout
    for shown in ("server:5000 can be reached without the proxy", "NOT PROVEN"):
        assert shown in proof.stdout


@pytest.mark.parametrize(
    ("service", "networks"), [("server", {"far"}), ("proxy", {"near", "far"}), ("client", {"near"})]
)
def test_containers_have_no_rights_that_they_do_not_need(
    running: Stack, service: str, networks: set[str]
) -> None:
    """Each container is on its networks only, is no root, and can change nothing."""
    container = running.inspect(service)
    assert networks == set(running.networks(service))
    assert "10001:10001" == container["Config"]["User"]
    host = container["HostConfig"]
    assert (True, ["ALL"], None) == (host["ReadonlyRootfs"], host["CapDrop"], host["CapAdd"])
    assert ["no-new-privileges:true"] == host["SecurityOpt"]
    assert {} == (host["PortBindings"] or {})


def test_the_server_cannot_be_reached_by_its_address(running: Stack) -> None:
    """It is the networks that keep the client out, not only a name that it cannot look up."""
    address = running.networks("server")["far"]["IPAddress"]
    ping = running.compose("run", "--rm", "--no-deps", "client", "ping", "-c", "1", "-W", "2", address)
    assert 1 == ping.returncode, ping.stdout
    assert "100% packet loss" in ping.stdout or address in ping.stdout


def test_the_proxy_is_no_router(running: Stack) -> None:
    """It stands in both networks, and forwards no packet between them."""
    forward = running.compose("exec", "-T", "proxy", "cat", "/proc/sys/net/ipv4/ip_forward")
    assert "0" == forward.stdout.strip()


def test_the_stack_stops_at_once(stack: Stack) -> None:
    """Server and proxy end with status 0 on SIGTERM; nothing has to be killed."""
    up = stack.compose("up", "--detach")  # the client, last in line, waits until both are healthy
    assert 0 == up.returncode, up.stdout
    stack.compose("stop", "--timeout", "20", "server", "proxy")
    for service in ("server", "proxy"):
        state = stack.inspect(service)["State"]
        assert ("exited", 0) == (state["Status"], state["ExitCode"]), service
