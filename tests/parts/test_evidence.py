"""What the kernel tells about a connection."""

import contextlib
import socket
from collections.abc import Iterator

import pytest

from relay import evidence
from relay.evidence import tcp_info, unsent_bytes


@contextlib.contextmanager
def connected() -> Iterator[tuple[socket.socket, socket.socket]]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        with socket.create_connection(listener.getsockname()[:2]) as near, listener.accept()[0] as far:
            yield near, far


def test_tcp_info_reads_the_fields_where_they_are() -> None:
    """The fields of struct tcp_info mean what they are called: a loopback connection has a large segment."""
    with connected() as (near, far):
        near.sendall(b"x")
        assert b"x" == far.recv(1)
        info = tcp_info(near)
    assert set(evidence._KEPT) == set(info)
    assert 65_536 >= info["pmtu"] > info["snd_mss"] > 500
    assert 0 < info["rtt_us"] < 1_000_000
    assert (0, 0) == (info["lost"], info["total_retrans"])
    assert info["snd_cwnd"] >= 2


def test_tcp_info_of_what_has_none_is_empty() -> None:
    """A socket that is no TCP connection, or closed, gives nothing, and no exception."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams:
        assert {} == tcp_info(datagrams)
    assert {} == tcp_info(datagrams)


def test_tcp_info_is_empty_on_other_systems(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other systems lay the struct out in their own way: nothing is read there."""
    monkeypatch.setattr("sys.platform", "darwin")
    with connected() as (near, _):
        assert {} == tcp_info(near)


def test_unsent_bytes_counts_what_waits() -> None:
    """What the peer has not taken is counted, and is gone once it has; a closed socket has none."""
    with connected() as (near, far):
        near.setblocking(False)
        sent = near.send(bytes(20_000_000))
        assert 0 < unsent_bytes(near) <= sent
        taken = 0
        while taken < sent:
            taken += len(far.recv(1 << 20))
        assert 0 == unsent_bytes(near)
    assert 0 == unsent_bytes(near)
