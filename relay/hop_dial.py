"""The first leg of a route: look the first name up, and connect to one of its addresses."""

from dataclasses import replace

from relay.dial import literal_addresses
from relay.failure import Stage, classify
from relay.moves import Connect, Resolve, Walk
from relay.race import Outcome
from relay.route import Route
from relay.trace import Trace


def dial(route: Route, trace: Trace, ways_left: int = 1) -> Walk:
    """Connect to the first proxy of `route`, or to its target; the outcome of every address is in the trace.

    Args:    ways_left: that many chains, this one included, share the time that is left.
    Raises:  DialFailed, TimedOut.
    """
    hop = route.hops[0] if route.hops else None
    first = hop.endpoint if hop else route.target
    peer, index = (str(hop), 0) if hop else (str(first), None)
    limit_seconds = hop.timeout_seconds if hop else None
    addresses = literal_addresses(first.host, first.port)
    if addresses is None:
        with trace.step(Stage.RESOLVE, first.host, index, limit_seconds) as step:
            trace.share(ways_left)
            addresses = yield Resolve(first)
            step.evidence["addresses"] = [address[1][0] for address in addresses]
    with trace.step(Stage.CONNECT, peer, index, limit_seconds) as step:
        trace.share(ways_left)
        outcomes: list[Outcome] = []
        step.evidence["tried"] = outcomes
        try:
            yield Connect(tuple(addresses), trace.remaining_seconds(), outcomes)
        except OSError as error:
            raised = classify(error, Stage.CONNECT, peer, index)
            words = [f"{outcome.address}: {outcome.result}" for outcome in outcomes if len(outcomes) > 1]
            if isinstance(error, TimeoutError) and error.errno is None:
                words.insert(0, trace.limit_reached())
            if words:
                raised.failure = replace(raised.failure, detail="; ".join(words))
            raise raised from error
