"""Forward absolute-form requests (`GET http://host/path`), as a proxy that understands HTTP must.

curl, apt and pip send these for http URLs. One connection to the origin per request.
"""

from collections.abc import Awaitable, Callable

from relay.authority import AbsoluteTarget
from relay.client_request import ClientRequest
from relay.exchange import Exchange, Forwarded
from relay.failure import RelayError
from relay.fields import local_reply, names_us
from relay.outbound import Reached
from relay.persona import Persona
from relay.refusal import unreachable, went_in_a_circle
from relay.refused import Refused
from relay.route import Endpoint

# Origins think before they answer; squid waits 15 minutes, most clients give up after one.
ANSWER_SECONDS = 60.0

Dial = Callable[[Endpoint], Awaitable[Reached]]


async def forward(
    request: ClientRequest, done: Forwarded, *, dial: Dial, via: str, answer_seconds: float,
    persona: Persona | None = None,
) -> None:  # fmt: skip
    """Forward one request and its reply; `done` tells how far it came, whatever happens.

    Raises: Refused while nothing of a final reply has been written; ConnectionError when the client has gone.
    Source: RFC 9112 section 3.2.2, RFC 9110 section 7.6.
    """
    head = request.head
    if names_us(head, via):
        raise Refused(went_in_a_circle())
    local = None if persona is not None and persona.habits["last_hop"] == "accept" else local_reply(head)
    if local is not None:
        done.status, done.keep_alive = 200, head.keeps_alive and head.body_bytes == 0
        await request.write(local)
        done.ended = "complete"
        return
    target = head.to
    assert isinstance(target, AbsoluteTarget)
    try:
        way = await dial(target.endpoint)
    except RelayError as error:
        raise Refused(unreachable(error)) from error
    try:
        added = None if persona is None else persona.forwarded
        await Exchange(request, way, target, via, answer_seconds, done, added).run()
    finally:
        await way.stream.aclose()
