"""One TCP connect with all that the kernel tells about it: what a check of a foreign network is made of."""

import asyncio
import errno
import os
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from relay.dial import Address, new_socket
from relay.evidence import QueuedError, full_tcp_info, queued_errors, want_errors

WORDS = {
    "open": "took the connection",
    "refused": "refused the connection",
    "refused-icmp": "was declared a closed port by ICMP, which no closed TCP port does",
    "prohibited": "was declared forbidden by ICMP",
    "unreachable": "was declared unreachable by ICMP",
    "protocol-rejected": "was declared not to speak TCP by ICMP",
    "ttl-exceeded": "is behind more hops than packets may pass",
    "nobody-on-link": "does not answer on its own network",
    "no-route": "has no route from this machine",
    "forbidden-here": "may not be connected to: this machine forbids it",
    "no-ports": "could not be tried: no local port or address is left",
    "no-descriptors": "could not be tried: too many files are open",
    "timed-out": "did not answer",
    "failed": "could not be connected to",
}
"""Every answer of a connect, and how it is said: "HOST:PORT ..."."""

_HERE = {
    errno.EACCES: "forbidden-here",
    errno.EPERM: "forbidden-here",
    errno.EADDRNOTAVAIL: "no-ports",
    errno.EMFILE: "no-descriptors",
    errno.ENFILE: "no-descriptors",
    errno.ENOBUFS: "no-descriptors",
    errno.ENETUNREACH: "no-route",
    errno.ENETDOWN: "no-route",
    errno.EHOSTUNREACH: "no-route",
    errno.EHOSTDOWN: "nobody-on-link",
    errno.ECONNREFUSED: "refused",
    errno.ETIMEDOUT: "timed-out",
}
# ICMP destination unreachable, by code: RFC 792, RFC 1812 section 5.2.7.1; RFC 4443 section 3.1.
_ICMP = {
    0: "unreachable", 1: "unreachable", 2: "protocol-rejected", 3: "refused-icmp", 5: "unreachable",
    6: "unreachable", 7: "unreachable", 9: "prohibited", 10: "prohibited", 13: "prohibited",
}  # fmt: skip
_ICMP6 = {
    0: "unreachable", 1: "prohibited", 2: "unreachable", 3: "unreachable", 4: "refused-icmp", 5: "prohibited",
    6: "prohibited",
}  # fmt: skip


@dataclass
class Dialled:
    """How one connect ended; `sock` is open only when `word` is "open", and belongs to the caller."""

    word: str
    evidence: dict[str, Any] = field(default_factory=dict)
    sock: socket.socket | None = None

    def close(self) -> None:
        """Close what is open."""
        if self.sock is not None:
            self.sock.close()
            self.sock = None


async def dial(
    address: Address,
    limit_seconds: float,
    *,
    hops: int | None = None,
    segment_bytes: int | None = None,
    source_port: int | None = None,
) -> Dialled:
    """Connect once, without a second try; never raises.

    Args: hops: how many routers the packets may pass (IP_TTL). segment_bytes: largest segment (TCP_MAXSEG).
          source_port: connect from this port, 0 for any that is free.
    """
    family, sockaddr = address
    began = time.monotonic()
    evidence: dict[str, Any] = {"address": sockaddr[0], "port": sockaddr[1]}
    try:
        sock = new_socket(family)
    except OSError as error:
        return Dialled(_here(error.errno), {**evidence, "errno": _name(error.errno)})
    try:
        evidence["sees_icmp"] = want_errors(sock)
        _limit(sock, family, hops, segment_bytes)
        if source_port is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind(("::" if family == socket.AF_INET6 else "0.0.0.0", source_port))
        code = sock.connect_ex(sockaddr)
        timed_out = code == errno.EINPROGRESS and not await _settled(sock, limit_seconds)
        evidence["milliseconds"] = round((time.monotonic() - began) * 1000, 3)
        word = _outcome(sock, code, timed_out, evidence)
    except OSError as error:
        sock.close()
        return Dialled(_here(error.errno), {**evidence, "errno": _name(error.errno)})
    except BaseException:  # also cancelled: the caller has no socket yet that it could close
        sock.close()
        raise
    if word == "open":
        return Dialled(word, evidence, sock)
    sock.close()
    return Dialled(word, evidence)


def _limit(sock: socket.socket, family: int, hops: int | None, segment_bytes: int | None) -> None:
    if hops is not None:
        level, option = (socket.IPPROTO_IP, socket.IP_TTL)
        if family == socket.AF_INET6:
            level, option = (socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS)
        sock.setsockopt(level, option, hops)
    if segment_bytes is not None:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, segment_bytes)


def _outcome(sock: socket.socket, code: int, timed_out: bool, evidence: dict[str, Any]) -> str:
    """Read what the kernel knows while it still does; the counters are gone once it gives up (tcp(7))."""
    evidence["tcp_info"] = full_tcp_info(sock)
    if timed_out:
        number = errno.ETIMEDOUT
    elif code in (0, errno.EINPROGRESS):
        # Before the queue is read: taking its last entry clears the error (sock_dequeue_err_skb)
        number = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    else:
        number = code
    if number == errno.EADDRNOTAVAIL:
        evidence["has_source"] = has_source(sock.family, (str(evidence["address"]), int(evidence["port"])))
    errors = queued_errors(sock)
    evidence["icmp"] = [error.as_dict() for error in errors]
    evidence["local"], evidence["local_port"] = _local(sock)
    word = "timed-out" if timed_out else word_of(number, errors, evidence)
    if word != "open":
        evidence["errno"] = _name(number)
        evidence.update(sender_of(errors, str(evidence["address"]), str(evidence["local"])))
    return word


def has_source(family: int, target: tuple[str, int]) -> bool:
    """Whether this machine has an address to reach `target` from; sends nothing.

    connect(2) says EADDRNOTAVAIL where ports are used up, and also where there is no address: the ports of
    UDP are others, so its connect fails in the second case only.
    """
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as sock:
            sock.connect(target)
    except OSError as error:
        return error.errno != errno.EADDRNOTAVAIL
    return True


def word_of(number: int, errors: Sequence[QueuedError], evidence: dict[str, Any]) -> str:
    """The word for an errno of connect(2), with the ICMP errors that came before it."""
    if number == 0:
        return "open"
    if number == errno.ECONNRESET:
        # A SYN is refused (ECONNREFUSED); only what was open can be reset, here before we have looked at it
        evidence["reset_at_once"] = True
        return "open"
    told = [error for error in errors if error.origin in ("icmp", "icmp6")]
    if not told:
        info = evidence.get("tcp_info") or {}
        if number == errno.ECONNREFUSED and info and info.get("state") == 2 and not info.get("segs_in", 1):
            # The connection is not closed and nothing came in: no RST did this (linux, tcp_v4_err)
            return "refused-icmp"
        if number == errno.ENOPROTOOPT:
            return "protocol-rejected"
        if number == errno.EACCES and info.get("segs_out"):
            return "prohibited"
        if number in (errno.EHOSTUNREACH, errno.ENETUNREACH) and info.get("segs_out"):
            return "unreachable"
        return _here(number, may_leave=evidence.get("has_source", True))
    last = told[-1]
    if last.icmp_type == (11 if last.origin == "icmp" else 3):
        return "ttl-exceeded"
    word = (_ICMP if last.origin == "icmp" else _ICMP6).get(last.icmp_code, "unreachable")
    if word == "unreachable" and last.sender and last.sender == str(evidence.get("local", "")):
        # Our own kernel says so: nobody has answered its question for the hardware address (RFC 1122 2.3.2.2)
        return "nobody-on-link"
    return word


def sender_of(errors: Sequence[QueuedError], target: str, local: str) -> dict[str, Any]:
    """Who sent the last ICMP error: "target", "this-machine" or "between", and its address."""
    told = [error for error in errors if error.sender]
    if not told:
        return {}
    address = told[-1].sender
    where = "target" if address == target else "this-machine" if address == local else "between"
    return {"sender": where, "sender_address": address, "icmp_code": told[-1].icmp_code}


def _here(number: int | None, *, may_leave: bool = True) -> str:
    if not may_leave:
        return "no-route"
    return _HERE.get(number or 0, "failed")


def _name(number: int | None) -> str:
    return errno.errorcode.get(number or 0, os.strerror(number or 0))


def _local(sock: socket.socket) -> tuple[str, int]:
    try:
        host, port = sock.getsockname()[:2]
    except OSError:
        return "", 0
    return str(host), int(port)


async def _settled(sock: socket.socket, limit_seconds: float) -> bool:
    """Wait for a connect to end (connect(2)); False when it has not within the limit."""
    loop = asyncio.get_running_loop()
    ended = loop.create_future()

    def tell() -> None:
        if not ended.done():
            ended.set_result(None)

    loop.add_writer(sock, tell)
    try:
        async with asyncio.timeout(limit_seconds):
            await ended
    except TimeoutError:
        return False
    finally:
        loop.remove_writer(sock)
    return True
