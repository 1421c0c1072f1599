"""CONNECT with a browser's User-Agent: does the proxy judge by the program's name?"""

import time

from protocol.connect import ConnectHandshake
from relay.check import Trip, check, found
from relay.checks.early_bytes import only_plain, status_of, to_proxy
from relay.finding import Finding
from relay.walk import USER_AGENT

WORDS = {
    "matters": "the proxy opens the tunnel for a browser, and not for this program",
    "ignored": "the proxy gives a browser the same answer",
    "varies": "the proxy answers the same request now one way, now another, whoever asks",
}
BROWSER = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"

TURNS = (BROWSER, USER_AGENT, USER_AGENT, BROWSER, BROWSER, USER_AGENT)
"""Who asks. A proxy that fails every second connection, or some of them, is not even-handed in this order."""

ENOUGH = 4
"""Refusals after which it is no use to ask again."""


@check(
    "user-agent", WORDS, needs={"tunnel": "denied closed reset"}, connections=len(TURNS), routes=("proxy",)
)
async def user_agent(trip: Trip) -> Finding:
    """Is the answer another one for a browser, each time?

    For evidence: no traffic is ever sent under that name.
    """
    only_plain(trip)
    said: dict[str, list[int]] = {BROWSER: [], USER_AGENT: []}
    # Who refuses slowly is not asked for as long as the other questions need
    ends = time.monotonic() + 2 * trip.patience.control
    for turn, name in enumerate(TURNS, 1):
        said[name].append(await _asked(trip, name))
        passes = {200 <= status < 300 for status in said[BROWSER]}
        # This program was refused before, or nobody would ask
        if len(passes) > 1 or any(200 <= status < 300 for status in said[USER_AGENT]):
            return found("user-agent", "varies", browser=said[BROWSER], ours=said[USER_AGENT])
        if passes == {False} and (turn == ENOUGH or time.monotonic() > ends):
            return found("user-agent", "ignored", status=said[BROWSER][0])
    return found("user-agent", "matters", status=said[BROWSER][0], ours=said[USER_AGENT])


async def _asked(trip: Trip, name: str) -> int:
    stream = await to_proxy(trip)
    try:
        old_form = trip.route.hops[0].old_form
        handshake = ConnectHandshake(str(trip.route.target), user_agent=name, old_form=old_form)
        return await status_of(handshake, stream, trip.patience.control)
    finally:
        await stream.aclose()
