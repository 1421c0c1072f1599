"""Limits: what a client may have, and what is forgotten when it has gone."""

import pytest

from relay.backoff import FREE_FAILURES, LONGEST_WAIT_SECONDS, MAX_CLIENTS, Backoff
from relay.limits import Door, Limits, client_of, host_of


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize(
    ("peer", "client"),
    [
        ("192.0.2.1:40000", "192.0.2.1"),
        ("[2001:db8:1:2:3:4:5:6]:1", "2001:db8:1:2::"),
        ("[2001:db8:1:2:ffff::1]:2", "2001:db8:1:2::"),
        ("[::ffff:192.0.2.1]:1", "192.0.2.1"),
        ("[fe80::1%lo]:1", "fe80::"),
        ("unknown", ""),
    ],
)
def test_who_is_one_client(peer: str, client: str) -> None:
    """An IPv4 address, or 64 bits of an IPv6 one."""
    assert client == client_of(peer)


def test_host_of_a_peer() -> None:
    """Without port and brackets."""
    assert ["1.2.3.4", "::1", ""] == [host_of(peer) for peer in ("1.2.3.4:5", "[::1]:5", "unknown")]


def test_connections() -> None:
    """One client's share and the whole are refused apart; who leaves makes room, and leaves nothing."""
    door = Door(Limits(connections=3, client_connections=2))
    for _ in range(2):
        assert door.refuses_connection("10.0.0.1:1") is None
        door.take("10.0.0.1:1")
    refusal = door.refuses_connection("10.0.0.1:2")
    assert refusal is not None
    assert (503, "connection_limit_reached") == (refusal.status, refusal.error)
    assert door.refuses_connection("10.0.0.2:1") is None
    door.take("10.0.0.2:1")
    assert door.refuses_connection("10.0.0.3:1") is not None
    for peer in ("10.0.0.1:1", "10.0.0.1:1", "10.0.0.2:1"):
        door.give_back(peer)
    assert (0, {}, {}) == (door.connections, door._others_of, door._tunnels_of)


def test_tunnels() -> None:
    """They count as connections too."""
    door = Door(Limits(tunnels=2, client_tunnels=1))
    door.take_tunnel("10.0.0.1")
    assert (1, 1, 1) == (door.tunnels, door.connections, door.tunnels_of("10.0.0.1:9"))
    assert "1 tunnels open" in str(door.refuses_tunnel("10.0.0.1:2"))
    assert door.refuses_tunnel("10.0.0.2:2") is None
    door.take_tunnel("10.0.0.2")
    assert "2 tunnels are open" in str(door.refuses_tunnel("10.0.0.3:2"))
    door.give_back_tunnel("10.0.0.1")
    door.give_back_tunnel("10.0.0.2")
    assert (0, 0, {}, {}) == (door.tunnels, door.connections, door._others_of, door._tunnels_of)


def test_the_rate_of_a_client() -> None:
    """A burst, then as the rate allows; a refused request costs nothing; others are not touched."""
    clock = Clock()
    door = Door(Limits(client_requests_per_second=2.0, client_burst=3), clock)
    assert [None] * 3 == [door.refuses_request("10.0.0.1:1") for _ in range(3)]
    refusal = door.refuses_request("10.0.0.1:1")
    assert refusal is not None
    assert (429, (("Retry-After", "1"),)) == (refusal.status, refusal.fields)
    assert door.refuses_request("10.0.0.2:1") is None
    clock.now += 0.5
    assert door.refuses_request("10.0.0.1:1") is None
    assert door.refuses_request("10.0.0.1:1") is not None


def test_rates_are_remembered_for_a_bounded_number(monkeypatch: pytest.MonkeyPatch) -> None:
    """Clients beyond it push the oldest out."""
    monkeypatch.setattr("relay.limits.MAX_CLIENTS", 10)
    door = Door(Limits(client_requests_per_second=1.0), Clock())
    for number in range(50):
        door.refuses_request(f"10.0.0.{number}:1")
    assert 10 == len(door._allowances)


def test_without_limits_nothing_is_refused() -> None:
    """The default is no limit."""
    door = Door(Limits())
    for _ in range(1000):
        door.take_tunnel("10.0.0.1")
    refusals = (door.refuses_connection("10.0.0.1:1"), door.refuses_tunnel("10.0.0.1:1"))
    assert (None, None, None) == (*refusals, door.refuses_request("10.0.0.1:1"))


def test_failures_make_a_client_wait() -> None:
    """Some are free, then the wait doubles up to a bound; a success, and time, make good."""
    clock = Clock()
    backoff = Backoff(clock)
    waits = []
    for _ in range(FREE_FAILURES + 8):
        backoff.failed("a")
        waits.append(backoff.wait_seconds("a"))
    assert [0, 0, 1, 2, 4, 8, 16, 32] == waits[:8]
    assert LONGEST_WAIT_SECONDS == waits[-1]
    assert 0 == backoff.wait_seconds("b")
    clock.now += LONGEST_WAIT_SECONDS
    assert 0 == backoff.wait_seconds("a")
    backoff.succeeded("a")
    backoff.failed("a")
    assert (0, 1) == (backoff.wait_seconds("a"), len(backoff))
    clock.now += 10_000
    backoff.failed("a")
    assert 0 == backoff.wait_seconds("a")


def test_failures_of_a_bounded_number_of_clients(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever fails from everywhere fills no memory."""
    monkeypatch.setattr("relay.backoff.MAX_CLIENTS", 10)
    backoff = Backoff()
    for number in range(100):
        backoff.failed(str(number))
    assert 10 == len(backoff) < MAX_CLIENTS
