"""The checks of names: what the resolver says, what its servers say, what cannot be."""

import socket
from pathlib import Path

import pytest

import relay.checks.nameserver
import relay.checks.random_name
import relay.checks.resolve
from protocol.sealing import Key
from relay.check import CHECKS, Patience, Trip
from relay.checks.nameserver import configured, query_for, word_of
from relay.dial import Address
from relay.route import Endpoint, Route

NAMED = Route(Endpoint("far.example", 5000))


async def ask(question: str, route: Route = NAMED) -> tuple[str, Trip]:
    trip = Trip(route, Key.public(), Patience())
    finding = await CHECKS[question].run(trip)
    return finding.outcome, trip


def answering(*hosts: str) -> object:
    async def look_up(host: str, port: int) -> list[Address]:
        families = [socket.AF_INET6 if ":" in one else socket.AF_INET for one in hosts]
        return [(family, (one, port)) for family, one in zip(families, hosts, strict=True)]

    return look_up


def failing(error: OSError) -> object:
    async def look_up(host: str, port: int) -> list[Address]:
        raise error

    return look_up


async def test_an_address_needs_no_name_server() -> None:
    """A literal is taken as it is."""
    outcome, trip = await ask("resolve", Route(Endpoint("192.0.2.7", 5000)))
    assert ("literal", [(socket.AF_INET, ("192.0.2.7", 5000))]) == (outcome, trip.addresses)


@pytest.mark.parametrize(
    ("hosts", "word"),
    [
        (["198.51.100.7"], "found"),
        (["198.51.100.7", "2001:db8::7"], "found"),
        (["0.0.0.0"], "sinkhole"),
        (["127.0.0.1", "::"], "sinkhole"),
        (["127.0.0.1", "198.51.100.7"], "found"),
    ],
)
async def test_addresses(hosts: list[str], word: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Addresses where no server of somebody else's can be show a filter."""
    monkeypatch.setattr(relay.checks.resolve, "look_up_async", answering(*hosts))
    assert word == (await ask("resolve"))[0]


@pytest.mark.parametrize(
    ("number", "word"),
    [(socket.EAI_NONAME, "not-found"), (-5, "no-address"), (socket.EAI_AGAIN, "failed")],
)
async def test_failures(number: int, word: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The words of getaddrinfo(3)."""
    monkeypatch.setattr(relay.checks.resolve, "look_up_async", failing(socket.gaierror(number, "words")))
    assert word == (await ask("resolve"))[0]


async def test_every_name_is_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name below .invalid that has an address."""
    monkeypatch.setattr(relay.checks.random_name, "look_up_async", answering("198.51.100.7"))
    assert "found" == (await ask("random-name"))[0]


def test_a_question_on_the_wire() -> None:
    """Header, name, type A, class IN (RFC 1035 section 4.1)."""
    wire = query_for("far.example.", 0x1234)
    assert b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x03far\x07example\x00\x00\x01\x00\x01" == wire


@pytest.mark.parametrize(
    ("rcode", "count", "word"),
    [
        (0, 1, "answers"),
        (0, 0, "no-data"),
        (2, 0, "servfail"),
        (3, 0, "nxdomain"),
        (5, 0, "refused"),
        (9, 0, "servfail"),
    ],
)
def test_an_answer_on_the_wire(rcode: int, count: int, word: str) -> None:
    """The response code and the count of answers."""
    assert word == word_of(b"\0\0\x81" + bytes((0x80 | rcode,)) + b"\0\1" + count.to_bytes(2) + bytes(4))


def test_configured_servers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three at most, addresses only; none where there is no file."""
    path = tmp_path / "resolv.conf"
    lines = "# x\nnameserver 192.0.2.1\nnameserver\nnameserver x\nnameserver ::1\nsearch a\n"
    path.write_text(lines + "nameserver 192.0.2.2\nnameserver 192.0.2.3\n")
    monkeypatch.setattr(relay.checks.nameserver, "RESOLV_CONF", path)
    assert ["192.0.2.1", "::1", "192.0.2.2"] == configured()
    monkeypatch.setattr(relay.checks.nameserver, "RESOLV_CONF", tmp_path / "none")
    assert [] == configured()


async def test_no_name_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """None is configured; one is on a machine where nothing listens."""
    path = tmp_path / "resolv.conf"
    monkeypatch.setattr(relay.checks.nameserver, "RESOLV_CONF", path)
    assert "unconfigured" == (await ask("nameserver"))[0]
    path.write_text("nameserver 127.83.17.5\n")
    assert "unreachable" == (await ask("nameserver"))[0]
