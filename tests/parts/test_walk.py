"""The walk along a route, over real sockets: asyncio and threads make the same of whatever a proxy does."""


import pytest

from relay import __version__
from relay.failure import PeerMisbehaved, ProxyRefused, Reason, RelayError, Stage, TimedOut
from relay.trace import Trace
from tests.corpus import MORE_REPLIES, REPLIES, ReplyCase
from tests.parts.scripted_proxy import WAYS, Opening, Played, ScriptedProxy, read_exactly

CASES = [*REPLIES, *MORE_REPLIES]
REQUEST = (
    b"CONNECT dest.example:5000 HTTP/1.1\r\nHost: dest.example:5000\r\n"
    b"User-Agent: framework-relay/%b\r\n\r\n" % __version__.encode()
)
SILENCE_SECONDS = 0.15


def scene_of(case: ReplyCase):  # type: ignore[no-untyped-def]
    def scene(played: Played) -> None:
        played.head()
        played.write(*case.pieces)
        if case.then == "rst":
            played.reset()
        elif case.then == "open":
            played.echo()

    return scene


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_every_reply(case: ReplyCase, opening: Opening) -> None:
    """One request goes out, once; then a tunnel with every early byte, or the error that fits."""
    with ScriptedProxy(scene_of(case)) as proxy:
        trace = Trace(SILENCE_SECONDS if case.expect == "silent" else 10.0)
        if case.expect == "tunnel":
            check_tunnel(case, opening, proxy, trace)
        else:
            check_error(case, opening, proxy, trace)
    assert [REQUEST] == proxy.heads
    assert [Stage.CONNECT, Stage.PROXY] == [step.stage for step in trace.steps]
    assert all(step.seconds is not None and not step.interrupted for step in trace.steps)


def check_tunnel(case: ReplyCase, opening: Opening, proxy: ScriptedProxy, trace: Trace) -> None:
    tunnel = opening(proxy.route(), trace=trace)
    assert case.early == read_exactly(tunnel, len(case.early))
    if case.then == "open":
        tunnel.write(b"hello")
        assert b"hello" == read_exactly(tunnel, 5)
        tunnel.half_close()
    if case.then == "rst":
        with pytest.raises(ConnectionResetError):
            tunnel.read()
    else:
        assert b"" == tunnel.read()
    assert case.status == trace.steps[-1].evidence["status"]
    assert None is trace.steps[-1].failure


ERRORS = {
    "portal": (PeerMisbehaved, {Reason.PORTAL}),
    "malformed": (PeerMisbehaved, {Reason.NOT_HTTP, Reason.MALFORMED}),
    "truncated": (PeerMisbehaved, {Reason.CLOSED}),
    "silent": (TimedOut, {Reason.TIMED_OUT}),
}
REFUSALS = {
    302: Reason.REDIRECTED,
    401: Reason.DENIED,
    403: Reason.DENIED,
    407: Reason.LOGIN_REQUIRED,
    502: Reason.GATEWAY,
    503: Reason.GATEWAY,
}


def check_error(case: ReplyCase, opening: Opening, proxy: ScriptedProxy, trace: Trace) -> None:
    with pytest.raises(RelayError) as caught:
        opening(proxy.route(), trace=trace)
    failure = caught.value.failure
    assert (str(proxy.hop()), 0) == (failure.peer, failure.hop)
    assert failure is trace.steps[-1].failure
    assert failure.sentence.isprintable()
    if case.expect == "refused":
        assert isinstance(caught.value, ProxyRefused)
        assert case.status is not None
        assert (case.status, REFUSALS[case.status]) == (caught.value.status, failure.reason)
        stage = Stage.LOGIN if case.status == 407 else Stage.PROXY
        assert stage is failure.stage
        assert f"answered {case.status} " in failure.sentence
        return
    kind, reasons = ERRORS[case.expect]
    assert isinstance(caught.value, kind)
    assert failure.reason in reasons
    assert Stage.PROXY is failure.stage


@pytest.mark.parametrize("case", [c for c in CASES if c.expect != "silent"], ids=lambda case: case.name)
def test_both_ways_say_the_same(case: ReplyCase) -> None:
    """Asyncio and threads raise the same error with the same words, or read the same bytes."""
    told = []
    with ScriptedProxy(scene_of(case)) as proxy:
        for way in WAYS.values():
            with way() as opening:
                try:
                    tunnel = opening(proxy.route(), timeout_seconds=10.0)
                except ProxyRefused as error:
                    told.append((type(error), str(error), error.status, error.headers, error.body))
                except RelayError as error:
                    told.append((type(error), str(error)))
                else:
                    told.append(read_exactly(tunnel, len(case.early)))
    assert told[0] == told[1]


def test_the_body_of_a_refusal_is_kept() -> None:
    """A block page is evidence: headers in order, and the body without its framing."""
    (case,) = [case for case in CASES if case.name == "403_with_x_squid_error"]
    with ScriptedProxy(scene_of(case)) as proxy, WAYS["threads"]() as opening:
        with pytest.raises(ProxyRefused) as caught:
            opening(proxy.route())
    assert case.pieces[1] == caught.value.body
    assert ("X-Squid-Error", "ERR_ACCESS_DENIED 0") in caught.value.headers
    assert "(X-Squid-Error: ERR_ACCESS_DENIED 0)" in str(caught.value)


def test_a_proxy_that_wants_us_to_wait(opening: Opening) -> None:
    """429 (RFC 6585 section 4) is about how often one asks: no policy about the target, and so it says."""

    def play(played: Played) -> None:
        played.head()
        played.write(b"HTTP/1.1 429 Too Many Requests\r\nContent-Length: 0\r\n\r\n")

    with ScriptedProxy(play) as proxy, pytest.raises(ProxyRefused) as caught:
        opening(proxy.route())
    failure = caught.value.failure
    assert Reason.DENIED is failure.reason
    assert failure.sentence.endswith("it wants us to wait: too many requests, or failed logins")
