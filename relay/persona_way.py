"""How a proxy with a persona goes on after a refusal, and when it dials."""

from collections.abc import Awaitable, Callable

from relay.client_request import ClientRequest
from relay.failure import RelayError
from relay.fault_plan import Binder, FaultPlan, JoinedFaults
from relay.persona import Persona
from relay.refusal import Refusal, unreachable
from relay.refused import Refused
from relay.route import Endpoint
from relay.stream import Stream

Dial = Callable[[Endpoint], Awaitable[Stream]]


class Dialled:
    """A target that was reached before anybody asked for it. Called, it gives it away."""

    def __init__(self, stream: Stream) -> None:
        self._stream: Stream | None = stream

    async def __call__(self, target: Endpoint) -> Stream:
        assert self._stream is not None, "given away"
        stream, self._stream = self._stream, None
        return stream

    def drop(self) -> None:
        """Reset it, if nobody ever came for it: it was dialled for nobody."""
        if self._stream is not None:
            self._stream.reset()
            self._stream = None


async def keep_after(request: ClientRequest, refusal: Refusal, persona: Persona) -> bool:
    """Refuse as the persona does where its connection goes on after that; False when it does not."""
    is_connect = request.head.line.method == "CONNECT"
    reply = persona.reply(refusal, is_connect=is_connect)
    if not reply.keeps or not request.head.keeps_alive or request.head.body_bytes != 0:
        return False
    try:
        await request.write(reply.wire(refusal, with_body=request.head.line.method != "HEAD"))
    except ConnectionError:
        return False
    return True


def with_habits(faults: Binder | None, persona: Persona | None) -> Binder | None:
    """The faults, and those that are a persona's habits."""
    if persona is None or not persona.faults:
        return faults
    return JoinedFaults(FaultPlan(persona.faults), faults)


def reply_to(
    refusal: Refusal, persona: Persona | None, *, with_body: bool = True, is_connect: bool = True
) -> bytes:
    """The reply, in the persona's words or in ours."""
    if persona is None:
        return refusal.reply(with_body=with_body)
    return persona.reply(refusal, is_connect=is_connect).wire(refusal, with_body=with_body)


def step_reply(refusal: Refusal, persona: Persona | None, *, with_body: bool) -> bytes:
    """The reply to a step of a login, which goes on over the same connection.

    The words are the persona's only where it keeps the connection: no login in steps could succeed otherwise.
    """
    reply = persona.reply(refusal) if persona is not None else None
    if reply is None or not reply.keeps:
        return refusal.reply(with_body=with_body, keeps_alive=True)
    return reply.wire(refusal, with_body=with_body)


async def take_over(
    request: ClientRequest, target: Endpoint, dial: Dial, is_dialled_first: bool
) -> tuple[Stream, Dial, Callable[[], None] | None]:
    """Take the client's connection; with `is_dialled_first` a refusal until then may leave it open.

    Returns: the client's connection; what gives the stream that was dialled; and what is to be called at the
             end, because a tunnel that never ran has not asked for it.
    Raises:  Refused, ConnectionResetError when the client has gone.
    """
    if not is_dialled_first:
        return await request.take_over(), dial, None
    try:
        dialled = Dialled(await dial(target))
    except RelayError as error:
        raise Refused(unreachable(error)) from error
    try:
        return await request.take_over(), dialled, dialled.drop
    except BaseException:  # cancelled, or the client has gone
        dialled.drop()
        raise
