"""How many routers away is whoever answers for the port, and whoever answers for another port there?"""

import asyncio
import ipaddress
from dataclasses import dataclass, field

from relay.check import CannotTest, Trip, check, found
from relay.checks.closed_port import CLOSED_PORT
from relay.checks.other_port import OTHER_PORT
from relay.finding import Finding

WORDS = {
    "same": "the answer comes from as far away as the host's other ports",
    "nearer-than-server": "the answer comes from nearer than the host itself",
    "farther": "the answer comes from farther away than the host's other ports",
    "no-control": "no other port of the host answers, so there is nothing to compare with",
}
MAX_HOPS = 31
"""More than any path of today; five halvings find the distance."""

PROBES = 5
ANSWERS = ("open", "refused")
SOONER_SHARE = 0.5
"""Refusals that all take less than half of the host's own shortest time do not come from the host."""

NOTEWORTHY_MILLISECONDS = 5.0
"""Below it the waiting inside machines is longer than the way."""


@dataclass
class _Answered:
    """Hops to whoever answers for one port, and how soon it does."""

    hops: int | None = None
    milliseconds: list[float] = field(default_factory=list)


@check(
    "distance",
    WORDS,
    needs={"connect": "refused open"},
    connections=2 * PROBES + 2,
    routes=("direct",),
)
async def distance(trip: Trip) -> Finding:
    """Does the answer come from as far away as another port's (IP_TTL, RFC 9293 section 3.10.7.1)?"""
    control = await _control(trip)
    target = trip.route.target.port
    if control is None:
        return found("distance", "no-control", sooner="unknown")
    ours, theirs = await asyncio.gather(_find(trip, target), _find(trip, control))
    if ours.hops is None or theirs.hops is None:
        raise CannotTest("it answers differently from one connection to the next")
    word = "same" if ours.hops == theirs.hops else "nearer-than-server"
    word = "farther" if ours.hops > theirs.hops else word
    # No firewall stands before this machine itself: what is long there is somebody else's turn
    is_sooner = not _is_this_machine(trip) and are_sooner(ours.milliseconds, theirs.milliseconds)
    told = f"{WORDS[word]}: {_hops(ours.hops)} for port {target}, {_hops(theirs.hops)} for port {control}"
    return found(
        "distance", word, told, control_port=control, distance_hops=ours.hops, control_hops=theirs.hops,
        milliseconds=min(ours.milliseconds),
        control_milliseconds=min(theirs.milliseconds), sooner="yes" if is_sooner else "no",
    )  # fmt: skip


def are_sooner(here: list[float], there: list[float]) -> bool:
    """Do all answers of the port come sooner than the host's own could? One long one is a busy machine's."""
    return min(there) >= NOTEWORTHY_MILLISECONDS and max(here) < SOONER_SHARE * min(there)


def _is_this_machine(trip: Trip) -> bool:
    _, sockaddr = trip.address or trip.addresses[0]
    return ipaddress.ip_address(str(sockaddr[0]).partition("%")[0]).is_loopback


def _hops(count: int) -> str:
    return f"{count} hop{'s' if count > 1 else ''}"


async def _control(trip: Trip) -> int | None:
    """A port of the same host that answers, open or closed; what was asked already is not asked again."""
    for question, port in (("closed-port", CLOSED_PORT), ("other-port", OTHER_PORT)):
        if trip.answers.get(question) in ANSWERS:
            return port
    family, sockaddr = trip.address or trip.addresses[0]
    for question, port in (("closed-port", CLOSED_PORT), ("other-port", OTHER_PORT)):
        if question not in trip.answers and port != trip.route.target.port:
            dialled = await trip.dial((family, (sockaddr[0], port, *sockaddr[2:])), trip.patience.control)
            dialled.close()
            if dialled.word in ANSWERS:
                return port
    return None


async def _find(trip: Trip, port: int) -> _Answered:
    """Halve until the smallest number of hops is found with which an answer comes."""
    family, sockaddr = trip.address or trip.addresses[0]
    limit = min(1.0, trip.patience.control / 2)
    seen = _Answered()
    low, high = 1, MAX_HOPS
    for _ in range(PROBES):
        middle = (low + high) // 2
        dialled = await trip.dial((family, (sockaddr[0], port, *sockaddr[2:])), limit, hops=middle)
        dialled.close()
        if dialled.word in ANSWERS:
            seen.hops = high = middle
            seen.milliseconds.append(float(dialled.evidence["milliseconds"]))
        else:
            low = middle + 1
        if low >= high and seen.hops is not None:
            break
    return seen
