"""Connect to the first host on the way: each address on its own, once, with what the kernel sees of it."""

import asyncio
import socket
from typing import Any

from relay.check import Trip, check, found
from relay.dial import Address
from relay.finding import Finding
from relay.probe import WORDS, Dialled

MAX_TRIED = 6
"""Addresses of one name. A pool with more is known well enough by these."""


@check("connect", WORDS, needs={"resolve": "literal found sinkhole"}, connections=MAX_TRIED)
async def connect(trip: Trip) -> Finding:
    """Does the first host on the way take a TCP connection?"""
    tried = trip.addresses[:MAX_TRIED]
    dialled = await asyncio.gather(*(trip.dial(one, trip.patience.connect) for one in tried))
    opened = [index for index, one in enumerate(dialled) if one.word == "open"]
    chosen = opened[0] if opened else 0
    if opened:
        trip.address = tried[chosen]
    for one in dialled:
        one.close()
    each = {str(one.evidence["address"]): one.word for one in dialled}
    evidence: dict[str, Any] = {**dialled[chosen].evidence, "each": each, "pool": _pool(tried, dialled)}
    milliseconds = evidence.get("milliseconds", 0.0)
    evidence["speed"] = "at-once" if milliseconds < 1.0 else "slow" if milliseconds > 900.0 else "soon"
    word = dialled[chosen].word
    words = f"{trip.first} {WORDS[word]}" + (f" ({told})" if (told := _told(evidence)) else "")
    return found("connect", word, words, **evidence)


def _pool(tried: list[Address], dialled: list[Dialled]) -> str:
    """How the addresses compare: "one", "all-open", "none-open", "v6-dead", "v4-dead", "some-dead"."""
    if len(tried) == 1:
        return "one"
    dead = [address for address, one in zip(tried, dialled, strict=True) if one.word != "open"]
    if not dead:
        return "all-open"
    if len(dead) == len(tried):
        return "none-open"
    families = {address[0] for address in dead}
    alive = {address[0] for address in tried if address not in dead}
    if families == {socket.AF_INET6} and socket.AF_INET6 not in alive:
        return "v6-dead"
    return "v4-dead" if families == {socket.AF_INET} and socket.AF_INET not in alive else "some-dead"


def _told(evidence: dict[str, Any]) -> str:
    if sender := evidence.get("sender_address"):
        return f"says {sender}"
    return "" if evidence.get("errno") in (None, "ETIMEDOUT") else str(evidence["errno"])
