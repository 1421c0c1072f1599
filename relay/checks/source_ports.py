"""Connect from several source ports, twice: is it chance, the port, or the number that decides?"""

import asyncio
from collections.abc import Sequence

from relay.check import Trip, check, found
from relay.dial import reset_socket
from relay.finding import Finding
from relay.probe import Dialled

WORDS = {
    "all": "every source port gets through",
    "none": "no source port gets through",
    "fixed-by-port": "some source ports get through each time, the others never",
    "by-order": "the first few connections get through, a further one at the same time does not",
    "first-then-none": "the first few connections get through, then none any more",
    "mixed": "some connections get through, by chance",
}
PORTS = 6
"""Half of the flows of a dead link of two: all six alike by chance in one case of 32."""


@check(
    "source-ports",
    WORDS,
    needs={"resolve": "literal found sinkhole", "connect": "timed-out open"},
    connections=2 * PORTS,
    routes=("direct",),
)
async def source_ports(trip: Trip) -> Finding:
    """Does it depend on the source port, or on the number of connections, whether one is taken?"""
    first, ports = await _round(trip, [0] * PORTS)
    if not any(first):
        # The way itself has found it open
        word = "first-then-none" if trip.address is not None else "none"
        return found("source-ports", word, tried=PORTS, ports=ports)
    # The other way round, so that what the order decides is not taken for what the port does
    second, _ = await _round(trip, ports[::-1])
    word = judge(first, second[::-1])
    return found("source-ports", word, tried=2 * PORTS, ports=ports, first=first, second=second[::-1])


async def _round(trip: Trip, ports: Sequence[int]) -> tuple[list[bool], list[int]]:
    """Open one connection from each port, all at the same time; which were taken, and the ports."""
    address = trip.address or trip.addresses[0]
    limit = trip.patience.control
    dialled: list[Dialled] = await asyncio.gather(
        *(trip.dial(address, limit, source_port=port) for port in ports)
    )
    for one in dialled:
        if one.sock is not None:
            # A reset leaves the port free for the second round
            reset_socket(one.sock)
    used = [int(one.evidence.get("local_port", 0)) for one in dialled]
    return [one.word == "open" for one in dialled], used


def judge(first: Sequence[bool], second: Sequence[bool]) -> str:
    """The word for two rounds over the same ports in the same order here, the second made backwards."""
    if all(first) and all(second):
        return "all"
    if not any(first):
        return "none"
    if not any(second):
        return "first-then-none"
    if list(first) == list(second):
        return "fixed-by-port"
    if _is_beginning(first) and _is_beginning(second[::-1]):
        return "by-order"
    return "mixed"


def _is_beginning(taken: Sequence[bool]) -> bool:
    """Whether all that were taken stand before all that were not."""
    return list(taken) == sorted(taken, reverse=True)
