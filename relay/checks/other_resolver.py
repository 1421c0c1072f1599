"""Ask another name server for the same name: do inside and outside agree?"""

from relay.check import Trip, check, found
from relay.checks.nameserver import question
from relay.finding import Finding

WORDS = {
    "same": "the other name server gives the same address",
    "differs": "the other name server gives another address",
    "unknown": "the other name server does not know the name",
    "silent": "the other name server does not answer",
}


@check("other-resolver", WORDS, on_request="resolver", needs={"resolve": "found sinkhole"}, connections=0)
async def other_resolver(trip: Trip) -> Finding:
    """Does the name server of --resolver give the same address?"""
    server = trip.extras.resolver
    word, addresses = await question(server, trip.first.host, trip.patience.control)
    ours = sorted(str(address[1][0]) for address in trip.addresses)
    evidence = {"server": server, "theirs": addresses, "ours": ours}
    if word != "answers":
        outcome = "silent" if word in ("silent", "unreachable") else "unknown"
        return found("other-resolver", outcome, f"{server}: {WORDS[outcome]}", **evidence)
    outcome = "same" if set(addresses) & set(ours) else "differs"
    words = f"{trip.first.host} is {', '.join(addresses) or 'without an address'} for {server}"
    return found("other-resolver", outcome, words, **evidence)
