"""CONNECT with a browser's User-Agent: does the proxy judge by the program's name?"""

from relay.check import Trip, check, found
from relay.checks.plain_proxy import asked, only_plain
from relay.finding import Finding

WORDS = {
    "matters": "the proxy opens the tunnel for a browser, and not for this program",
    "ignored": "the proxy gives a browser the same answer",
}
BROWSER = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"


@check("user-agent", WORDS, needs={"tunnel": "denied closed reset"}, routes=("proxy",))
async def user_agent(trip: Trip) -> Finding:
    """Is the answer another one for a browser? For evidence; traffic is never sent under that name."""
    only_plain(trip)
    target = trip.route.target
    head = f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\nUser-Agent: {BROWSER}\r\n\r\n"
    status, _ = await asked(trip, head)
    return found("user-agent", "matters" if 200 <= status < 300 else "ignored", status=status)
