"""The way along a route, hop by hop, as a generator of commands: no sockets, no waiting.

`relay.tunnel` carries the commands out with asyncio, `relay.blocking` with threads; so both walk alike.
"""

import time
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any

from protocol.errors import LoginUnusable, StreamTruncated, WireError
from relay import __version__
from relay.channel_binding import ChannelBinding
from relay.failure import (
    DialFailed,
    Failure,
    PeerMisbehaved,
    Reason,
    RelayError,
    Stage,
    TimedOut,
)
from relay.hop_carrier import Carrier, Http2Carrier, PlainCarrier
from relay.hop_dial import dial
from relay.moves import Call, Command, Drop, Receive, StartTls, Unread, Walk
from relay.route import Endpoint, Hop, Route
from relay.trace import Trace

if TYPE_CHECKING:
    # The reading of HTTP takes as long to import as all the rest: a ping without a proxy does without it
    from protocol.connect import ConnectHandshake, Reply

USER_AGENT = f"framework-relay/{__version__}"
# A refusal is complete when its head is; its body is only worth a short wait.
BODY_GRACE_SECONDS = 1.0
# A 2xx that announces an HTML body: wait so long for the page before believing that it is a tunnel.
PORTAL_GRACE_SECONDS = 0.5
# A Kerberos library asks each server of a realm for some seconds, and goes round them a few times.
TICKET_SECONDS = 20.0
# A chain whose first proxy failed here was not reached; what fails later is an answer, and no other is tried.
_NOT_REACHED = (Stage.RESOLVE, Stage.CONNECT, Stage.TLS)


def walk(route: Route, trace: Trace) -> Walk:
    """Yield what must be done until the connection reaches the target of `route`.

    Raises: ProxyRefused, DialFailed, TimedOut, PeerMisbehaved; `.failure` says where.
    Source: RFC 9110 section 9.3.6.
    """
    for left in range(len(route.ways), 0, -1):
        hops = route.ways[-left]
        trace.hops = len(hops)
        try:
            yield from _walk_one(Route(route.target, hops, fields=route.fields), trace, left)
        except RelayError as error:
            failure = error.failure
            if left == 1 or failure.hop not in (0, None) or failure.stage not in _NOT_REACHED:
                raise
            yield Drop()
        else:
            return


def _walk_one(route: Route, trace: Trace, ways_left: int) -> Walk:
    targets = yield from _targets(route, trace)
    bindings = [ChannelBinding() for _ in route.hops]
    shakes = [
        _shake(*each, route.fields) for each in zip(route.hops, targets, bindings, strict=True)
    ]
    while True:
        yield from dial(route, trace, ways_left)
        for index, (hop, target, shake) in enumerate(zip(route.hops, targets, shakes, strict=True)):
            if shake is None:
                from relay.hop_socks import pass_socks

                yield from pass_socks(index, hop, target, trace)
                continue
            carrier = yield from _carrier(index, hop, bindings[index], trace)
            through = yield from _pass(index, hop, str(target), shake, carrier, trace)
            if not through:
                break
        else:
            return
        # The proxy closed after its challenge: begin again, every hop with what it has learnt.
        for number, shake in enumerate(shakes[: index + 1]):
            if shake is not None and shake.done and shake.login.scheme is not None:
                # It let us through, and must be told once more who we are
                yield from _log_in(number, route.hops[number], shake.redialled, trace)
            elif shake is not None:
                shake.redialled()


def _targets(route: Route, trace: Trace) -> Generator[Command, Any, list[Endpoint]]:
    """What each hop is asked for: the next one, by its address where that hop is to be spared the lookup."""
    asked = []
    following = [*(hop.endpoint for hop in route.hops[1:]), route.target]
    for hop, target in zip(route.hops, following, strict=False):
        if hop.looks_up_here and hop.socks is None:
            from relay.hop_socks import looked_up

            asked.append((yield from looked_up(hop, target, trace)))
        else:
            asked.append(target)
    return asked


def _carrier(
    index: int, hop: Hop, binding: ChannelBinding, trace: Trace
) -> Generator[Command, Any, Carrier]:
    """TLS where the hop has it, and what carries the exchange then."""
    if hop.tls:
        with trace.step(Stage.TLS, str(hop), index, hop.timeout_seconds) as step:
            alpn, certificate = yield StartTls(hop)
            step.evidence["alpn"] = alpn
        if hop.binds_logins:
            binding.bind(certificate)
        if alpn == "h2":
            return Http2Carrier(str(hop), index)
    return PlainCarrier()


def _shake(
    hop: Hop, target: Endpoint, binding: ChannelBinding, fields: tuple[tuple[str, str], ...]
) -> "ConnectHandshake | None":
    """None: the hop does not speak HTTP."""
    if hop.socks is not None:
        return None
    from protocol.connect import ConnectHandshake
    from relay.client_logins import schemes_for

    schemes = schemes_for(
        hop.user,
        hop.password,
        hop.login,
        target=str(target),
        host=hop.endpoint.host,
        is_address=hop.endpoint.is_literal,
        binding=binding,
    )
    return ConnectHandshake(
        str(target), schemes=schemes, headers=fields, user_agent=USER_AGENT, defers_logins=True,
        old_form=hop.old_form,
    )  # fmt: skip


def _pass(
    index: int, hop: Hop, target: str, shake: "ConnectHandshake", carrier: Carrier, trace: Trace
) -> Generator[Command, Any, bool]:
    """One CONNECT exchange. True: the tunnel goes on. False: dial again, the next credentials are ready."""
    shake.login.bound_obstacle = carrier.bound_obstacle
    while not (yield from _ask(index, hop, target, shake, carrier, trace)):
        if shake.must_answer:
            yield from _log_in(index, hop, shake.answer, trace)
        if shake.must_redial:
            return False
    return True


def _log_in(index: int, hop: Hop, work: Callable[[], None], trace: Trace) -> Walk:
    """Let a login make its next words; it may have to fetch a ticket first.

    Raises: DialFailed, TimedOut; what `work` raises, as a failure of stage `login`.
    """

    def guarded() -> WireError | None:
        try:
            work()
        except WireError as error:
            return error
        return None

    with trace.step(Stage.LOGIN, str(hop), index, hop.timeout_seconds):
        trace.limit(TICKET_SECONDS, "the limit for a ticket")
        try:
            error = yield Call(guarded)
        except TimeoutError as late:
            words = "no Kerberos ticket came in time: is the Kerberos server (KDC) within reach?"
            detail = f"{trace.limit_reached()}: {words}"
            raise TimedOut(Failure(Stage.LOGIN, Reason.TIMED_OUT, str(hop), detail, index)) from late
        if isinstance(error, LoginUnusable):
            raise DialFailed(Failure(Stage.LOGIN, Reason.LOGIN_REQUIRED, str(hop), str(error), index))
        if error is not None:
            raise error


def _ask(
    index: int, hop: Hop, target: str, shake: "ConnectHandshake", carrier: Carrier, trace: Trace
) -> Generator[Command, Any, bool]:
    """One request and its reply. True: the tunnel goes on. False: a login or a new connection is needed."""
    peer = str(hop)
    body_ends = 0.0
    head_bytes = 0
    with trace.step(Stage.PROXY, peer, index, hop.timeout_seconds) as step:
        while not shake.done:
            if request := shake.data_to_send():
                head_bytes = len(request)
                yield from carrier.send(request)
                if shake.credentials_sent:
                    trace.limit_stage(Stage.LOGIN)
                    _note_clear_text(hop, shake)
            if shake.awaits_body:
                body_ends = body_ends or time.monotonic() + BODY_GRACE_SECONDS
                data = yield from _receive_body(body_ends, carrier)
            else:
                body_ends = 0.0
                data = (yield from carrier.receive()) or b""
            try:
                shake.receive_data(data)
            except StreamTruncated as error:
                detail = f"instead of answering CONNECT {target}: {error}"
                raise PeerMisbehaved(Failure(Stage.PROXY, Reason.CLOSED, peer, detail, index)) from error
            if shake.must_answer or shake.must_redial:
                return False
        reply = shake.reply
        assert reply is not None
        step.evidence["status"] = reply.status
        step.evidence["leniencies"] = reply.leniencies
        step.evidence |= shake.login.evidence
        if not reply.is_success:
            from relay.hop_refusal import refused

            raise refused(reply, shake, hop, target, index, head_bytes)
        yield from _begin_tunnel(reply, shake.leftover, carrier, peer, target, index)
    return True


def _note_clear_text(hop: Hop, shake: "ConnectHandshake") -> None:
    if shake.scheme_name == "Basic" and not hop.tls:
        from relay.clear_text import note_clear_text

        note_clear_text(str(hop), hop.endpoint.host)


def _begin_tunnel(
    reply: "Reply", leftover: bytes, carrier: Carrier, peer: str, target: str, index: int
) -> Walk:
    """Keep the bytes behind a 2xx for the tunnel, unless they are the page of a portal."""
    yield from carrier.start_tunnel()
    if not leftover and _announces_page(reply):
        leftover = (yield Receive(PORTAL_GRACE_SECONDS)) or b""
    if page := _page_in(leftover):
        detail = f"answered {reply.status} to CONNECT {target} and then sent {page}: "
        detail += "a login or consent page stands between, this is no tunnel"
        raise PeerMisbehaved(Failure(Stage.PROXY, Reason.PORTAL, peer, detail, index))
    if leftover:
        yield Unread(leftover)


def _receive_body(ends: float, carrier: Carrier) -> Generator[Command, Any, bytes]:
    """More of a refusal's body, until `ends` (time.monotonic()); b"" when no more comes, whatever the reason:
    the refusal is known by its head."""
    try:
        return (yield from carrier.receive(max(0.0, ends - time.monotonic()))) or b""
    except OSError:
        return b""


def _announces_page(reply: "Reply") -> bool:
    return (reply.header("content-type") or "").lower().startswith("text/html")


def _page_in(leftover: bytes) -> str | None:
    from protocol.resemblance import resembles

    found = resembles(leftover)
    return found if found in ("an HTML page", "an HTTP reply") else None
