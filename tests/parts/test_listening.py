"""Listening sockets: names with several addresses, what is in the way, and who can reach them."""

import errno
import resource
import socket

import pytest

from relay.listening import SPARE_DESCRIPTORS, allow_descriptors, bound_endpoint, is_public, listen_on
from relay.route import Endpoint
from tests.parts.framework_peers import FREE


def test_every_address_of_a_name_is_listened_on() -> None:
    """A name with a port of its own is listened on at all its addresses that this machine has."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    sockets = listen_on((Endpoint("localhost", port),))
    try:
        assert {port} == {bound_endpoint(sock).port for sock in sockets}
        assert {"127.0.0.1"} <= {bound_endpoint(sock).host for sock in sockets} <= {"127.0.0.1", "::1"}
        assert not any(sock.getblocking() for sock in sockets)
    finally:
        for sock in sockets:
            sock.close()


def test_a_name_with_port_0_has_one_port() -> None:
    """A free port is taken once, not once for each address of the name."""
    (sock,) = listen_on((Endpoint("localhost", 0),))
    with sock:
        assert bound_endpoint(sock).port > 0


@pytest.mark.parametrize("missing", [errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT])
def test_a_family_that_is_not_there_is_left_out(missing: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a machine without IPv6 `localhost` is its IPv4 address, and no error; alone it is one."""
    real = socket.socket

    def without_ipv6(family: int, *rest: int) -> socket.socket:
        if family == socket.AF_INET6:
            raise OSError(missing, "not here")
        return real(family, *rest)

    monkeypatch.setattr(socket, "socket", without_ipv6)
    monkeypatch.setattr(socket, "getaddrinfo", both_addresses)
    (sock,) = listen_on((Endpoint("localhost", 0),))
    with sock:
        assert "127.0.0.1" == bound_endpoint(sock).host
    monkeypatch.setattr(socket, "getaddrinfo", lambda *a, **k: both_addresses(*a, **k)[:1])
    with pytest.raises(OSError, match=r"cannot listen on \[::1\]:0: not here"):
        listen_on((Endpoint("::1", 0),))


def both_addresses(*_: object, **__: object) -> list[tuple[object, ...]]:
    return [
        (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("::1", 0, 0, 0)),
        (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 0)),
    ]


def test_ipv4_and_ipv6_of_everything_are_two_listeners() -> None:
    """[::] takes IPv6 only, so 0.0.0.0 on the same port is not in its way."""
    (sock,) = listen_on((Endpoint("::", 0),))
    with sock:
        (other,) = listen_on((Endpoint("0.0.0.0", bound_endpoint(sock).port),))
        other.close()


@pytest.mark.parametrize(
    ("endpoint", "why"),
    [
        (Endpoint("no.such.name.invalid", 0), r"cannot listen on no\.such\.name\.invalid:0: "),
        (Endpoint("192.0.2.1", 5000), "cannot listen on 192.0.2.1:5000: Cannot assign requested address"),
        (Endpoint("x" * 64 + ".example", 5000), "cannot listen on xxx"),
    ],
)
def test_what_cannot_be_listened_on_is_named(endpoint: Endpoint, why: str) -> None:
    """The error names the endpoint and the cause, and what was opened before it is closed."""
    with pytest.raises(OSError, match=why):
        listen_on((FREE, endpoint))


@pytest.mark.parametrize(
    ("host", "public"),
    [
        ("127.0.0.1", False),
        ("127.8.8.8", False),
        ("::1", False),
        ("localhost", False),
        ("0.0.0.0", True),
        ("::", True),
        ("192.0.2.1", True),
        ("no.such.name.invalid", True),
    ],
)
def test_knows_who_can_reach_a_listener(host: str, public: bool) -> None:
    """Loopback addresses, and names that mean nothing else, are for this machine only."""
    assert public is is_public(Endpoint(host, 5000))


def test_the_soft_limit_of_files_is_raised_as_far_as_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    """As many descriptors as are wanted are allowed, up to the hard limit; False says that it is lower."""
    limits = [(100, 2000)]
    monkeypatch.setattr(resource, "getrlimit", lambda which: limits[-1])
    monkeypatch.setattr(resource, "setrlimit", lambda which, new: limits.append(new))
    assert allow_descriptors(100 - SPARE_DESCRIPTORS)
    assert 1 == len(limits)
    assert allow_descriptors(1024)
    assert (1024 + SPARE_DESCRIPTORS, 2000) == limits[-1]
    assert not allow_descriptors(5000)
    assert (2000, 2000) == limits[-1]
    limits.append((100, resource.RLIM_INFINITY))
    assert allow_descriptors(5000)
    limits.append((resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    assert allow_descriptors(10**6)
