"""Ask the configured name servers ourselves: getaddrinfo(3) hides which of them failed, and how."""

import asyncio
import secrets
import socket
from pathlib import Path
from typing import Any

from relay.check import Trip, check, found
from relay.dial import literal_addresses
from relay.finding import Finding

WORDS = {
    "answers": "the name server has an answer",
    "no-data": "the name exists, with no address of that family",
    "nxdomain": "the name server says that the name does not exist",
    "servfail": "the name server has failed (SERVFAIL)",
    "refused": "the name server refuses to answer this machine",
    "silent": "no name server answers",
    "unreachable": "what is configured as name server is none, or cannot be reached",
    "unconfigured": "no name server is configured",
}
MAX_SERVERS = 3
"""resolv.conf(5): the resolver uses no more."""

MAX_RECORDS = 32
"""Of one answer in a datagram."""

RESOLV_CONF = Path("/etc/resolv.conf")
_RCODES = {2: "servfail", 3: "nxdomain", 5: "refused"}
_ORDER = ("answers", "no-data", "nxdomain", "servfail", "refused", "unreachable", "silent")


@check("nameserver", WORDS, needs={"resolve": "failed timed-out not-found no-address"}, connections=0)
async def nameserver(trip: Trip) -> Finding:
    """How does each configured name server answer our own question?"""
    servers = configured()
    if not servers:
        return found("nameserver", "unconfigured")
    limit = trip.patience.control
    answers = await asyncio.gather(*(_ask(server, trip.first.host, limit) for server in servers))
    each = dict(zip(servers, answers, strict=True))
    word = min(answers, key=_ORDER.index)
    told = ", ".join(f"{server}: {answer}" for server, answer in each.items())
    return found("nameserver", word, f"{WORDS[word]} ({told})", each=each)


def configured() -> list[str]:
    """The name servers of resolv.conf(5); none where there is no such file."""
    try:
        lines = RESOLV_CONF.read_text("utf-8", "replace").splitlines()
    except OSError:
        return []
    named = [words[1] for line in lines if len(words := line.split()) > 1 and words[0] == "nameserver"]
    return [server for server in named if literal_addresses(server, 53)][:MAX_SERVERS]


def query_for(name: str, number: int) -> bytes:
    """A question for the IPv4 address of `name`. Source: RFC 1035 section 4.1."""
    labels = name.rstrip(".").encode("ascii").split(b".")
    wire = b"".join(bytes((len(label),)) + label for label in labels) + b"\0"
    return number.to_bytes(2) + b"\x01\x00" + b"\0\1\0\0\0\0\0\0" + wire + b"\0\1\0\1"


def word_of(answer: bytes) -> str:
    """What the header of an answer says."""
    code = answer[3] & 0x0F
    if code:
        return _RCODES.get(code, "servfail")
    return "answers" if int.from_bytes(answer[6:8]) else "no-data"


def addresses_in(answer: bytes) -> list[str]:
    """The IPv4 addresses of an answer to `query_for`. Source: RFC 1035 sections 4.1.3, 4.1.4."""
    found_addresses = []
    place = _after_name(answer, 12) + 4
    for _ in range(min(int.from_bytes(answer[6:8]), MAX_RECORDS)):
        place = _after_name(answer, place)
        kind = int.from_bytes(answer[place : place + 2])
        length = int.from_bytes(answer[place + 8 : place + 10])
        data = answer[place + 10 : place + 10 + length]
        if kind == 1 and len(data) == 4:
            found_addresses.append(socket.inet_ntop(socket.AF_INET, data))
        place += 10 + length
    return sorted(found_addresses)


def _after_name(answer: bytes, place: int) -> int:
    """Where a name ends; a pointer ends it (RFC 1035 section 4.1.4)."""
    while place < len(answer) and answer[place]:
        if answer[place] & 0xC0:
            return place + 2
        place += 1 + answer[place]
    return place + 1


async def _ask(server: str, name: str, limit_seconds: float) -> str:
    return (await question(server, name, limit_seconds))[0]


async def question(server: str, name: str, limit_seconds: float) -> tuple[str, list[str]]:
    """Ask one name server for the IPv4 addresses of `name`: a word of WORDS, and the addresses."""
    (address,) = literal_addresses(server, 53) or []
    number = secrets.randbits(16)
    sock = socket.socket(address[0], socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
    sock.setblocking(False)
    loop = asyncio.get_running_loop()
    try:
        # Connected, so that a closed port is told to us (udp(7))
        sock.connect(address[1])
        sock.send(query_for(name, number))
        async with asyncio.timeout(limit_seconds):
            while True:
                answer: Any = await loop.sock_recv(sock, 1500)
                if len(answer) >= 12 and answer[:2] == number.to_bytes(2):
                    return word_of(answer), addresses_in(answer)
    except TimeoutError:
        return "silent", []
    except (OSError, ValueError):
        return "unreachable", []
    finally:
        sock.close()
