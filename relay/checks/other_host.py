"""Try another host in the same way: is it this destination, or every one? Only one that was named."""

from relay.check import CannotTest, Trip, check, found
from relay.checks import other_port
from relay.checks import tunnel as connect_reply
from relay.checks.direct import addresses_of
from relay.finding import Finding


@check("other-host", other_port.WORDS, on_request="control")
async def other_host(trip: Trip) -> Finding:
    """Does the host that --control names answer in the same way?"""
    control = trip.extras.control
    assert control is not None
    if trip.route.hops:
        word, words, evidence = await connect_reply.try_connect(trip, control, trip.patience.control)
        return found("other-host", word, words, answers=connect_reply.is_answer(word), **evidence)
    try:
        addresses = await addresses_of(control)
    except OSError as error:
        raise CannotTest(f"{control.host}: {error.strerror or error}") from None
    dialled = await trip.dial(addresses[0], trip.patience.control)
    dialled.close()
    words = f"{control} {other_port.WORDS[dialled.word]}"
    return found(
        "other-host", dialled.word, words, answers=dialled.word in ("open", "refused"), **dialled.evidence
    )
