"""The words of a connect, from errno and ICMP as data; and what the kernel really tells on loopback."""

import errno
import select
import socket
from typing import Any

import pytest

from relay.dial import literal_addresses
from relay.evidence import QueuedError, full_tcp_info, queued_errors, want_errors
from relay.probe import WORDS, dial, has_source, sender_of, word_of

SENT: dict[str, Any] = {"tcp_info": {"state": 2, "segs_out": 1, "segs_in": 0}, "local": "192.0.2.1"}
UNSENT: dict[str, Any] = {"tcp_info": {"state": 7, "segs_out": 0, "segs_in": 0}, "local": ""}
CLOSED: dict[str, Any] = {"tcp_info": {"state": 7, "segs_out": 1, "segs_in": 1}, "local": "192.0.2.1"}


def icmp(kind: int, code: int, sender: str = "198.51.100.1", origin: str = "icmp") -> list[QueuedError]:
    return [QueuedError(origin, kind, code, sender, "EHOSTUNREACH")]


CASES: dict[str, tuple[int, list[QueuedError], dict[str, Any], str]] = {
    "open": (0, [], SENT, "open"),
    "reset": (errno.ECONNREFUSED, [], CLOSED, "refused"),
    "refused without a segment": (errno.ECONNREFUSED, [], SENT, "refused-icmp"),
    "refused where nothing is known": (errno.ECONNREFUSED, [], {}, "refused"),
    "port unreachable": (errno.ECONNREFUSED, icmp(3, 3), SENT, "refused-icmp"),
    "port unreachable, v6": (errno.ECONNREFUSED, icmp(1, 4, "2001:db8::1", "icmp6"), SENT, "refused-icmp"),
    "prohibited": (errno.EHOSTUNREACH, icmp(3, 13), SENT, "prohibited"),
    "host prohibited": (errno.EHOSTUNREACH, icmp(3, 10), SENT, "prohibited"),
    "net prohibited": (errno.ENETUNREACH, icmp(3, 9), SENT, "prohibited"),
    "prohibited, v6": (errno.EACCES, icmp(1, 1, "2001:db8::1", "icmp6"), SENT, "prohibited"),
    "reject route, v6": (errno.EACCES, icmp(1, 6, "2001:db8::1", "icmp6"), SENT, "prohibited"),
    "no route there": (errno.ENETUNREACH, icmp(3, 0), SENT, "unreachable"),
    "no host there": (errno.EHOSTUNREACH, icmp(3, 1), SENT, "unreachable"),
    "nobody on our link": (errno.EHOSTUNREACH, icmp(3, 1, "192.0.2.1"), SENT, "nobody-on-link"),
    "no TCP": (errno.ENOPROTOOPT, icmp(3, 2), SENT, "protocol-rejected"),
    "no TCP, by errno": (errno.ENOPROTOOPT, [], SENT, "protocol-rejected"),
    "a circle": (errno.EHOSTUNREACH, icmp(11, 0), SENT, "ttl-exceeded"),
    "a circle, v6": (errno.EHOSTUNREACH, icmp(3, 0, "2001:db8::1", "icmp6"), SENT, "ttl-exceeded"),
    "no route here": (errno.ENETUNREACH, [], UNSENT, "no-route"),
    "an answer without its sender": (errno.ENETUNREACH, [], SENT, "unreachable"),
    "forbidden here": (errno.EPERM, [], UNSENT, "forbidden-here"),
    "no port left": (errno.EADDRNOTAVAIL, [], UNSENT, "no-ports"),
    "no address here": (errno.EADDRNOTAVAIL, [], {**UNSENT, "has_source": False}, "no-route"),
    "no port, but an address": (errno.EADDRNOTAVAIL, [], {**UNSENT, "has_source": True}, "no-ports"),
    "the kernel gave up": (errno.ETIMEDOUT, [], SENT, "timed-out"),
    "something else": (errno.EINVAL, [], UNSENT, "failed"),
}


@pytest.mark.parametrize("name", CASES)
def test_the_word_for_a_connect(name: str) -> None:
    """Errno, ICMP and TCP_INFO together tell apart what errno alone does not."""
    number, errors, evidence, word = CASES[name]
    assert word == word_of(number, errors, evidence)
    assert word in WORDS


def test_who_sent_an_error() -> None:
    """The target itself, this machine, or somebody between; nothing where nobody said so."""
    assert "between" == sender_of(icmp(3, 13), "203.0.113.1", "192.0.2.1")["sender"]
    assert "target" == sender_of(icmp(3, 13), "198.51.100.1", "192.0.2.1")["sender"]
    assert "this-machine" == sender_of(icmp(3, 13), "203.0.113.1", "198.51.100.1")["sender"]
    assert {} == sender_of([], "203.0.113.1", "192.0.2.1")


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_a_connect_for_real(host: str) -> None:
    """An open port gives a socket that is the caller's; a closed one gives a word and no socket."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, 0), family=family) as listener:
        (address,) = literal_addresses(host, listener.getsockname()[1]) or []
        opened = await dial(address, 10.0, hops=5, segment_bytes=1000)
        assert ("open", True) == (opened.word, opened.sock is not None)
        assert 1 == opened.evidence["tcp_info"]["state"]
        assert opened.evidence["tcp_info"]["snd_mss"] <= 1000
        opened.close()
    refused = await dial(address, 10.0)
    assert ("refused", None, "ECONNREFUSED") == (refused.word, refused.sock, refused.evidence["errno"])


async def test_a_backlog_that_is_full_times_out() -> None:
    """A connect without an answer ends at its limit, and the counters are read before the kernel forgets."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        (address,) = literal_addresses("127.0.0.1", listener.getsockname()[1]) or []
        held = [await dial(address, 0.5) for _ in range(3)]
        assert "timed-out" == held[-1].word
        assert 2 == held[-1].evidence["tcp_info"]["state"]
        for one in held:
            one.close()


def test_errors_are_asked_for_and_taken() -> None:
    """The queue of a socket without errors is empty; what has none gives nothing, and no exception."""
    with socket.socket() as sock:
        assert want_errors(sock)
        assert [] == queued_errors(sock)
        assert 7 == full_tcp_info(sock)["state"]
    assert not want_errors(sock)
    assert [] == queued_errors(sock)


def test_a_datagrams_error_has_its_sender() -> None:
    """A closed UDP port on loopback: ICMP port unreachable, from there."""
    with socket.socket() as taken, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        taken.bind(("127.0.0.1", 0))
        assert want_errors(sock)
        sock.connect(("127.0.0.1", taken.getsockname()[1]))
        sock.send(b"x")
        ready = select.poll()
        ready.register(sock, select.POLLERR)
        assert ready.poll(10_000)
        (error,) = queued_errors(sock)
    assert ("icmp", 3, 3, "127.0.0.1") == (error.origin, error.icmp_type, error.icmp_code, error.sender)


def test_whether_there_is_an_address_to_connect_from() -> None:
    """On loopback there is; a target that no connect can have is not mistaken for a missing one."""
    assert has_source(socket.AF_INET, ("127.0.0.1", 9))
    assert has_source(socket.AF_INET, ("not an address", 9))
