"""CONNECT with a browser's User-Agent: does the proxy judge by the program's name?"""

from protocol.connect import ConnectHandshake
from relay.check import CannotTest, Trip, check, found
from relay.checks.early_bytes import only_plain, status_of, to_proxy
from relay.finding import Finding
from relay.walk import USER_AGENT

WORDS = {
    "matters": "the proxy opens the tunnel for a browser, and not for this program",
    "ignored": "the proxy gives a browser the same answer",
}
BROWSER = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"

TURNS = (BROWSER, USER_AGENT, USER_AGENT, BROWSER, BROWSER, USER_AGENT)
"""Who asks. A proxy that fails every second connection, or some of them, is not even-handed in this order."""


@check(
    "user-agent", WORDS, needs={"tunnel": "denied closed reset"}, connections=len(TURNS), routes=("proxy",)
)
async def user_agent(trip: Trip) -> Finding:
    """Is the answer another one for a browser, each time?

    For evidence: no traffic is ever sent under that name.
    """
    only_plain(trip)
    seen: list[int] = []
    for name in TURNS:
        seen.append(await _asked(trip, name))
        is_open = 200 <= seen[-1] < 300
        if is_open != (name == BROWSER):
            if is_open or len(seen) > 1:
                raise CannotTest("it answers differently from one connection to the next, whoever asks")
            return found("user-agent", "ignored", status=seen[0])
    return found("user-agent", "matters", status=seen[0], ours=seen[1])


async def _asked(trip: Trip, name: str) -> int:
    stream = await to_proxy(trip)
    try:
        handshake = ConnectHandshake(str(trip.route.target), user_agent=name)
        return await status_of(handshake, stream, trip.patience.control)
    finally:
        await stream.aclose()
