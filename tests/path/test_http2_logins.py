"""Logins at an HTTP/2 proxy, from asyncio and from threads: what HTTP/2 can carry, and what it cannot."""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from relay.failure import ProxyRefused, Reason, Stage
from relay.route import Hop, Route
from relay.trace import Trace
from tests.path import hop_peers, login_peers, peers
from tests.path.conftest import FarEnd
from tests.path.login_peers import PASSWORD, USER
from tests.path.real import Tool
from tests.path.test_logins import SECONDS, Ping, by_asyncio, by_threads

BOTH = pytest.mark.parametrize("ping", [by_asyncio, by_threads], ids=["asyncio", "threads"])
Auth = Callable[[Path], list[str]]


@contextlib.contextmanager
def guarded(tool: Tool, certificate: bytes, auth: Auth) -> Iterator[Hop]:
    """An HTTP/2 proxy that hands logins on to a squid with these auth_param lines, and takes them from it."""
    key, mark, rest = certificate.partition(b"-----BEGIN CERTIFICATE-----")
    with (
        peers.squid(tool, auth=auth) as squid,
        hop_peers.nghttpx(tool, squid.endpoint, key=key, chain=mark + rest) as front,
    ):
        yield Hop(front.endpoint, tls=True, http2=True, verify=False, user=USER, password=PASSWORD)


def everything(place: Path) -> list[str]:
    return [*login_peers.squid_ntlm(place), *peers.basic_auth(place)]


def steps_of(trace: Trace, stage: Stage) -> list[dict[str, Any]]:
    return [step.evidence for step in trace.steps if step.stage is stage]


@BOTH
@pytest.mark.parametrize(
    ("auth", "scheme"),
    [(login_peers.squid_digest, "Digest"), (peers.basic_auth, "Basic"), (everything, "Basic")],
    ids=["digest", "basic", "ntlm or basic"],
)
async def test_the_right_password_gets_through(
    auth: Auth, scheme: str, ping: Ping, tool: Tool, certificate: bytes, far: FarEnd
) -> None:
    """A ping is answered over HTTP/2, on one connection, with the strongest login that it can carry."""
    trace = Trace(SECONDS)
    with guarded(tool, certificate, auth) as hop:
        await ping(Route(far.server.endpoint, (hop,)), trace)
    record = await far.record()
    assert (1, peers.SQUID_SOURCE) == (record.pings, record.peer.rpartition(":")[0])
    assert [{"alpn": "h2"}] == steps_of(trace, Stage.TLS)
    assert scheme == steps_of(trace, Stage.PROXY)[-1]["login"]


@BOTH
async def test_a_wrong_password_is_said_once(
    ping: Ping, tool: Tool, certificate: bytes, far: FarEnd
) -> None:
    """Digest's answer goes out once, and is refused as a login."""
    trace = Trace(SECONDS)
    with guarded(tool, certificate, login_peers.squid_digest) as hop:
        route = Route(far.server.endpoint, (replace(hop, password="guess-seven"),))
        with pytest.raises(ProxyRefused) as caught:
            await ping(route, trace)
    failure = caught.value.failure
    assert (Stage.LOGIN, Reason.LOGIN_REFUSED) == (failure.stage, failure.reason)
    assert 2 == len(steps_of(trace, Stage.LOGIN))  # the answer, and that there is no second one
    assert "guess-seven" not in failure.sentence
    assert [] == far.server.journal.records


@BOTH
async def test_a_login_that_is_bound_to_its_connection(
    ping: Ping, tool: Tool, certificate: bytes, far: FarEnd
) -> None:
    """NTLM alone: nothing of it goes out, and the sentence says why and what would help."""
    with guarded(tool, certificate, login_peers.squid_ntlm) as hop, pytest.raises(ProxyRefused) as caught:
        await ping(Route(far.server.endpoint, (hop,)), Trace(SECONDS))
    failure = caught.value.failure
    assert (Stage.LOGIN, Reason.LOGIN_REQUIRED) == (failure.stage, failure.reason)
    assert "it wants a login, offered: NTLM; NTLM: it logs in a connection, which HTTP/2 cannot do: " in (
        failure.sentence
    )
    assert "leave --proxy-http2 out" in failure.sentence
    assert [] == far.server.journal.records
