"""The way along a route, hop by hop, as a generator of commands: no sockets, no waiting.

`relay.tunnel` carries the commands out with asyncio, `relay.blocking` with threads; so both walk alike.
"""

import time
from collections.abc import Callable, Generator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from protocol.errors import LoginUnusable, StreamTruncated, WireError
from relay import __version__
from relay.failure import (
    DialFailed,
    Failure,
    PeerMisbehaved,
    ProxyRefused,
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
MAX_QUOTE_CHARACTERS = 320
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
    targets = [*(hop.endpoint for hop in route.hops), route.target][1:]
    shakes = [_shake(hop, target, route.fields) for hop, target in zip(route.hops, targets, strict=True)]
    while True:
        yield from dial(route, trace, ways_left)
        for index, (hop, target, shake) in enumerate(zip(route.hops, targets, shakes, strict=True)):
            if shake is None:
                from relay.hop_socks import pass_socks

                yield from pass_socks(index, hop, target, trace)
                continue
            carrier = yield from _carrier(index, hop, trace)
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


def _carrier(index: int, hop: Hop, trace: Trace) -> Generator[Command, Any, Carrier]:
    """TLS where the hop has it, and what carries the exchange then."""
    if hop.tls:
        with trace.step(Stage.TLS, str(hop), index, hop.timeout_seconds) as step:
            step.evidence["alpn"] = alpn = yield StartTls(hop)
        if alpn == "h2":
            return Http2Carrier(str(hop), index)
    return PlainCarrier()


def _shake(
    hop: Hop, target: Endpoint, fields: tuple[tuple[str, str], ...]
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
    )
    return ConnectHandshake(
        str(target), schemes=schemes, headers=fields, user_agent=USER_AGENT, defers_logins=True
    )


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
    with trace.step(Stage.PROXY, peer, index, hop.timeout_seconds) as step:
        while not shake.done:
            if request := shake.data_to_send():
                yield from carrier.send(request)
                if shake.credentials_sent:
                    trace.limit_stage(Stage.LOGIN)
            if shake.awaits_body:
                body_ends = body_ends or time.monotonic() + BODY_GRACE_SECONDS
                data = yield from _receive_body(body_ends, carrier)
            else:
                body_ends = 0.0
                data = (yield from carrier.receive()) or b""
            try:
                shake.receive_data(data)
            except StreamTruncated as error:
                raise PeerMisbehaved(_truncated(error, peer, target, index)) from error
            if shake.must_answer or shake.must_redial:
                return False
        reply = shake.reply
        assert reply is not None
        step.evidence["status"] = reply.status
        step.evidence["leniencies"] = reply.leniencies
        step.evidence |= shake.login.evidence
        if not reply.is_success:
            failure = _evident(_refusal(reply, shake, peer, target, index), reply, hop)
            raise ProxyRefused(failure, reply.status, reply.headers, reply.body)
        yield from _begin_tunnel(reply, shake.leftover, carrier, peer, target, index)
    return True


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


def _evident(failure: Failure, reply: "Reply", hop: Hop) -> Failure:
    """The same failure with what the proxy said, and no secret that it repeated."""
    from relay.hop_evidence import answered, redacted

    return replace(failure, detail=redacted(failure.detail, hop), reply=answered(reply, hop))


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


def _truncated(error: StreamTruncated, peer: str, target: str, index: int) -> Failure:
    detail = f"instead of answering CONNECT {target}: {error}"
    return Failure(Stage.PROXY, Reason.CLOSED, peer, detail, index)


def _refusal(reply: "Reply", shake: "ConnectHandshake", peer: str, target: str, index: int) -> Failure:
    """Say in words what a non-2xx reply means, with the proxy's own words behind it."""
    stage, status = Stage.PROXY, reply.status
    if status == 407 or (status == 401 and shake.credentials_sent):
        stage = Stage.LOGIN
        if shake.refused_credentials:
            reason, words = Reason.LOGIN_REFUSED, f"{_refused_words(shake)} not accepted"
        else:
            reason, words = Reason.LOGIN_REQUIRED, "it wants a login" + _offers(reply)
        words += "".join(f"; {obstacle}" for obstacle in shake.login.obstacles)
    elif 300 <= status < 400:
        where = _clean(reply.header("location") or "nowhere")
        reason, words = Reason.REDIRECTED, f"it redirects to {where}, a login or consent page perhaps"
    elif status in (405, 501):
        reason, words = Reason.NO_CONNECT, "it does not do CONNECT: a web server, or CONNECT is off"
    elif status >= 500:
        reason, words = Reason.GATEWAY, "it could not reach the target, or failed itself"
    else:
        reason, words = Reason.DENIED, "its policy does not allow it"
    evidence = _own_words(reply)
    detail = f"answered {status} {_clean(reply.reason)}".rstrip() + f" to CONNECT {target}: {words}"
    return Failure(stage, reason, peer, detail + (f" ({evidence})" if evidence else ""), index)


def _refused_words(shake: "ConnectHandshake") -> str:
    if shake.scheme_name == "Negotiate" and shake.login.mechanism == "kerberos":
        return "the Kerberos ticket was"
    return "user or password were"


def _offers(reply: "Reply") -> str:
    offered = [_clean(value.split(",")[0].split(" ")[0]) for value in reply.all("proxy-authenticate")]
    return f", offered: {', '.join(offered)}" if offered else " but offers no way to log in"


def _own_words(reply: "Reply") -> str:
    for name in ("Proxy-Status", "X-Squid-Error"):
        if value := reply.header(name):
            return f"{name}: {_clean(value)}"
    return ""


def _clean(text: str) -> str:
    """What a peer said, fit for a terminal: printable, one line, bounded."""
    kept = "".join(c if c.isprintable() else " " for c in text)
    return kept if len(kept) <= MAX_QUOTE_CHARACTERS else kept[: MAX_QUOTE_CHARACTERS - 3] + "..."
