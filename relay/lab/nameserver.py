"""A name server that answers as it is told: `python -m relay.lab.nameserver ADDRESS NAME=ANSWER ...`.

ANSWER is a list of addresses with commas between, or nxdomain, servfail, refused, nodata, silent; the name *
is every other one. Light, as relay/lab/peers.py.
"""

import ipaddress
import socket
import sys
from collections.abc import Mapping

CODES = {"nxdomain": 3, "servfail": 2, "refused": 5}
A, AAAA = 1, 28
TTL_SECONDS = 30


def reply_to(query: bytes, names: Mapping[str, str]) -> bytes | None:
    """The answer to one question, None for silence. Source: RFC 1035 section 4."""
    labels, offset = [], 12
    while query[offset]:
        labels.append(query[offset + 1 : offset + 1 + query[offset]].decode("ascii", "replace"))
        offset += 1 + query[offset]
    kind = int.from_bytes(query[offset + 1 : offset + 3])
    question = query[12 : offset + 5]
    told = names.get(".".join(labels).lower(), names.get("*", "nxdomain"))
    if told == "silent":
        return None
    records = [] if told in CODES or told == "nodata" else _records(told, kind)
    flags = (0x8180 | CODES.get(told, 0)).to_bytes(2)
    counts = b"\0\1" + len(records).to_bytes(2) + b"\0\0\0\0"
    return query[:2] + flags + counts + question + b"".join(records)


def _records(told: str, kind: int) -> list[bytes]:
    version = {A: 4, AAAA: 6}.get(kind)
    addresses = [ipaddress.ip_address(one) for one in told.split(",")]
    head = b"\xc0\x0c" + kind.to_bytes(2) + b"\0\1" + TTL_SECONDS.to_bytes(4)
    return [head + len(one.packed).to_bytes(2) + one.packed for one in addresses if one.version == version]


def serve(address: str, names: Mapping[str, str]) -> None:
    """Answer until the room ends."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind((address, 53))
        while True:
            query, client = sock.recvfrom(1500)
            answer = reply_to(query, names) if len(query) > 16 else None
            if answer is not None:
                sock.sendto(answer, client)


if __name__ == "__main__":
    serve(sys.argv[1], dict(argument.split("=", 1) for argument in sys.argv[2:]))
