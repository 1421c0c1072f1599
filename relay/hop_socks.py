"""One SOCKS hop of the walk: version 5 or 4, names looked up here or there, and its refusals in our words."""

from collections.abc import Generator
from typing import Any

from protocol.errors import LocalWireError, StreamTruncated
from protocol.socks import SocksHandshake, SocksOutcome
from relay.dial import literal_addresses
from relay.failure import DialFailed, Failure, PeerMisbehaved, ProxyRefused, Reason, Stage
from relay.moves import Command, Receive, Resolve, Send, Unread, Walk
from relay.route import Endpoint, Hop
from relay.trace import Trace

_REASONS = {
    SocksOutcome.FAILED: (Stage.PROXY, Reason.GATEWAY),
    SocksOutcome.DENIED: (Stage.PROXY, Reason.DENIED),
    SocksOutcome.NETWORK_UNREACHABLE: (Stage.PROXY, Reason.GATEWAY),
    SocksOutcome.HOST_UNREACHABLE: (Stage.PROXY, Reason.GATEWAY),
    SocksOutcome.REFUSED: (Stage.PROXY, Reason.GATEWAY),
    SocksOutcome.EXPIRED: (Stage.PROXY, Reason.GATEWAY),
    SocksOutcome.NO_CONNECT: (Stage.PROXY, Reason.NO_CONNECT),
    SocksOutcome.NO_SUCH_ADDRESS: (Stage.PROXY, Reason.NO_CONNECT),
    SocksOutcome.NO_METHOD: (Stage.LOGIN, Reason.LOGIN_REQUIRED),
    SocksOutcome.LOGIN_REFUSED: (Stage.LOGIN, Reason.LOGIN_REFUSED),
    SocksOutcome.NO_IDENT: (Stage.LOGIN, Reason.LOGIN_REQUIRED),
    SocksOutcome.OTHER_IDENT: (Stage.LOGIN, Reason.LOGIN_REFUSED),
}


def pass_socks(index: int, hop: Hop, target: Endpoint, trace: Trace) -> Walk:
    """Ask a SOCKS server for the way to `target`.

    Raises: ProxyRefused, DialFailed (the name could not be looked up here), TimedOut, PeerMisbehaved.
    Source: RFC 1928, RFC 1929; the memoranda on SOCKS 4 and 4A.
    """
    assert hop.socks is not None
    named = target
    if hop.looks_up_here or hop.socks in ("socks4", "socks5"):
        target = yield from looked_up(hop, target, trace)
    with trace.step(Stage.PROXY, str(hop), index, hop.timeout_seconds) as step:
        try:
            shake = SocksHandshake(
                int(hop.socks[5]), target.host, target.port, user=hop.user, password=hop.password
            )
        except LocalWireError as error:
            failure = Failure(Stage.PROXY, Reason.NO_CONNECT, str(hop), f"cannot be asked: {error}", index)
            raise DialFailed(failure) from None
        yield from _exchange(index, hop, shake, trace)
        reply = shake.reply
        assert reply is not None
        step.evidence["status"] = reply.code
        if not reply.is_success:
            stage, reason = _REASONS[reply.outcome]
            asked = str(target) if target == named else f"{target} ({named.host})"
            detail = f"answered {reply.code} to SOCKS{hop.socks[5]} CONNECT {asked}: {reply.outcome.value}"
            if reply.outcome is SocksOutcome.NO_METHOD and hop.user is not None:
                detail += " that is not user and password"
            raise ProxyRefused(Failure(stage, reason, str(hop), detail, index), reply.code)
        if shake.leftover:
            yield Unread(shake.leftover)


def _exchange(index: int, hop: Hop, shake: SocksHandshake, trace: Trace) -> Walk:
    while not shake.done:
        if request := shake.data_to_send():
            yield Send(request)
        if shake.credentials_sent:
            trace.limit_stage(Stage.LOGIN)
        data = yield Receive()
        try:
            shake.receive_data(data)
        except StreamTruncated as error:
            failure = Failure(Stage.PROXY, Reason.CLOSED, str(hop), f"in the SOCKS exchange: {error}", index)
            raise PeerMisbehaved(failure) from error


def looked_up(hop: Hop, target: Endpoint, trace: Trace) -> Generator[Command, Any, Endpoint]:
    """The target as an address, which this machine looks up and not the proxy.

    Raises: DialFailed, TimedOut.
    """
    addresses = literal_addresses(target.host, target.port)
    if addresses is None:
        with trace.step(Stage.RESOLVE, target.host, None) as step:
            addresses = yield Resolve(target)
            step.evidence["addresses"] = [address[1][0] for address in addresses]
    hosts = [str(address[1][0]) for address in addresses]
    # SOCKS 4 carries IPv4 only; a list without any is refused in its own words
    if hop.socks in ("socks4", "socks4a"):
        hosts = [host for host in hosts if ":" not in host] or hosts
    return Endpoint(hosts[0], target.port)
