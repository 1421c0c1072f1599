"""CONNECT to the target's IPv4 and IPv6 address: has the proxy a way for one kind only?"""

from relay.check import CannotTest, Trip, check, found
from relay.checks import tunnel as connect_reply
from relay.checks.direct import addresses_of
from relay.finding import Finding

WORDS = {
    "opened": "by an address of one kind the proxy opens the tunnel, by the other it does not",
    "both": "by both kinds of address the proxy opens the tunnel",
    "neither": "by neither kind of address the proxy opens the tunnel",
}


@check(
    "other-family",
    WORDS,
    needs={"tunnel": "gateway-unreachable gateway-failed gateway-timed-out"},
    connections=2,
    routes=("proxy",),
)
async def other_family(trip: Trip) -> Finding:
    """Does the proxy open the tunnel to an address of the other kind?"""
    try:
        addresses = await addresses_of(trip.route.target)
    except OSError as error:
        raise CannotTest(f"{trip.route.target.host} cannot be looked up from here: {error}") from None
    hosts = {address[0]: str(address[1][0]) for address in reversed(addresses)}
    if len(hosts) < 2:
        raise CannotTest("the target has addresses of one kind only")
    each = {}
    for family, host in sorted(hosts.items()):
        word, _, _ = await connect_reply.try_connect(trip, trip.beside(host=host), trip.patience.control)
        each[family.name] = word
    count = list(each.values()).count("opened")
    return found("other-family", ("neither", "opened", "both")[count], each=each)
