"""ConnectHandshake with a login: what is answered, where the answer goes, and when it ends."""

from collections.abc import Sequence

import pytest

from protocol.connect import MAX_DRAIN_BYTES, MAX_LOGIN_STEPS, ConnectHandshake
from protocol.errors import AuthMalformed, LocalWireError, StreamTruncated
from protocol.scheme import Challenge
from protocol.schemes import Basic
from tests.corpus import BANNER, OK
from tests.outcome import TARGET, feed, outcome_of

LOGIN = b"Basic dXNlcjpwYXNz"  # user:pass
REQUEST = b"CONNECT dest.example:5000 HTTP/1.1\r\nHost: dest.example:5000\r\n%s\r\n"
FIRST = REQUEST % b""
SECOND = REQUEST % (b"Proxy-Authorization: %s\r\n" % LOGIN)
ASKS = b'HTTP/1.1 407 Log in\r\nProxy-Authenticate: Basic realm="lab"\r\nContent-Length: 4\r\n\r\nbody'


class Scripted:
    """A scheme that says `lines` in turn, and remembers what it was asked.

    `secret_at`: the line, from 1, with which the password is answered for.
    """

    def __init__(
        self, name: str, *lines: str | None, connection_bound: bool = False, secret_at: int = 1
    ) -> None:
        self.name = name
        self.connection_bound = connection_bound
        self.asked: list[list[Challenge]] = []
        self.concluded: list[tuple[list[Challenge], str | None]] = []
        self.begun_again = 0
        self._lines = list(lines)
        self._said = 0
        self._secret_at = secret_at

    @property
    def has_said_secret(self) -> bool:
        return self._said >= self._secret_at

    def step(self, challenges: Sequence[Challenge]) -> str | None:
        self.asked.append(list(challenges))
        line = self._lines.pop(0) if self._lines else None
        self._said += line is not None
        return line

    def again(self) -> str | None:
        self.begun_again += 1
        return f"{self.name} again{self.begun_again}"

    def conclude(self, challenges: Sequence[Challenge], info: str | None) -> None:
        self.concluded.append((list(challenges), info))


def basic() -> Basic:
    return Basic("user", "pass")


def asked(*schemes: Basic | Scripted, headers: Sequence[tuple[str, str]] = ()) -> ConnectHandshake:
    handshake = ConnectHandshake(TARGET, schemes=schemes or (basic(),), headers=headers)
    assert handshake.data_to_send()
    return handshake


def asks(*challenges: bytes) -> bytes:
    fields = b"".join(b"Proxy-Authenticate: %s\r\n" % challenge for challenge in challenges)
    return b"HTTP/1.1 407 Log in\r\nContent-Length: 0\r\n" + fields + b"\r\n"


def test_a_407_is_answered_on_the_same_connection() -> None:
    """The body is read by its length, the second head has the login, the tunnel's first bytes are kept."""
    handshake = ConnectHandshake(TARGET, schemes=[basic()])
    assert FIRST == handshake.data_to_send()
    handshake.receive_data(ASKS[:-1])
    assert b"" == handshake.data_to_send()
    handshake.receive_data(ASKS[-1:])
    assert (0, "Basic", False) == (handshake.credentials_sent, handshake.scheme_name, handshake.must_redial)
    assert (SECOND, b"", b"") == tuple(handshake.data_to_send() for _ in range(3))
    assert 1 == handshake.credentials_sent
    handshake.receive_data(OK + BANNER)
    assert (True, BANNER, False) == (handshake.done, handshake.leftover, handshake.refused_credentials)
    assert handshake.reply is not None
    assert (200, b"") == (handshake.reply.status, handshake.reply.body)


# What real proxies send, shortened: what of it decides is all here.
SQUID = (
    b'HTTP/1.1 407 P\r\nContent-Length: 4\r\nProxy-Authenticate: Basic realm="lab"\r\n'
    b"Connection: keep-alive\r\n\r\nbody"
)
TINYPROXY = b'HTTP/1.0 407 P\r\nProxy-Authenticate: Basic realm="Tinyproxy"\r\nConnection: close\r\n\r\n<?xml'
PROXY_PY = (
    b"HTTP/1.1 407 P\r\nProxy-Authenticate: Basic\r\nConnection: close\r\n\r\nProxy Authentication Required"
)
PPROXY = b'HTTP/1.1 407 P\r\nConnection: close\r\nProxy-Authenticate: Basic realm="simple"\r\n\r\n'
MITMPROXY = b'HTTP/1.1 407 P\r\nProxy-Authenticate: Basic realm="mitmproxy"\r\ncontent-length: 4\r\n\r\nbody'

BASIC = b"Proxy-Authenticate: Basic\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"
BIG = b"Content-Length: %d\r\n\r\n"


@pytest.mark.parametrize(
    ("reply", "stays"),
    [
        (SQUID, True),
        (MITMPROXY, True),
        (TINYPROXY, False),
        (PROXY_PY, False),
        (PPROXY, False),
        (b"HTTP/1.1 407 P\r\n" + BASIC + CHUNKED + b"\r\n1\r\nb\r\n0\r\n\r\n", True),
        (b"HTTP/1.1 407 P\r\n" + BASIC + CHUNKED + b"Content-Length: 11\r\n\r\n1\r\nb\r\n0\r\n\r\n", False),
        (b"HTTP/1.1 407 P\r\n" + BASIC + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nab", False),
        (b"HTTP/1.1 407 P\r\n" + BASIC + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", False),
        (b"HTTP/1.1 407 P\r\n" + BASIC + CHUNKED + b"\r\nbroken\r\n", False),
        (b"HTTP/1.1 407 P\r\n" + BASIC + b"\r\nbody until the end", False),
        (b"HTTP/1.1 407 P\r\n" + BASIC + b"Content-Length: 0\r\nProxy-Connection: Close\r\n\r\n", False),
        (b"HTTP/1.1 407 P\r\n" + BASIC + b"Content-Length: 0\r\nConnection: x, CLOSE\r\n\r\n", False),
        (b"HTTP/1.0 407 P\r\n" + BASIC + b"Content-Length: 0\r\n\r\n", False),
        (b"HTTP/1.0 407 P\r\n" + BASIC + b"Content-Length: 0\r\nConnection: Keep-Alive\r\n\r\n", True),
        (b"HTTP/1.0 407 P\r\n" + BASIC + b"Content-Length: 0\r\nProxy-Connection: keep-alive\r\n\r\n", True),
        (b"HTTP/1.0 407 P\r\n" + BASIC + CHUNKED + b"Connection: keep-alive\r\n\r\n0\r\n\r\n", False),
        (b"HTTP/1.1 407 P\r\n" + BASIC + b"Content-Length: 2\r\n\r\nbodylonger", False),
        (b"HTTP/1.1 407 P\r\n" + BASIC + BIG % MAX_DRAIN_BYTES + b"b" * MAX_DRAIN_BYTES, True),
        (b"HTTP/1.1 407 P\r\n" + BASIC + BIG % MAX_DRAIN_BYTES + b"b" * (MAX_DRAIN_BYTES + 1), False),
        (b"HTTP/1.1 407 P\r\n" + BASIC + BIG % (MAX_DRAIN_BYTES + 1) + b"b" * (MAX_DRAIN_BYTES + 1), False),
    ],
)  # fmt: skip
@pytest.mark.parametrize("step", [1, 7, 2_000_000])
def test_the_connection_is_used_again_only_where_that_is_safe(reply: bytes, stays: bool, step: int) -> None:
    """A new connection is asked for unless the 407 has one end, within the limit, and does not close."""
    if len(reply) > 10_000:
        step = max(step, 10_000)
    handshake = asked()
    for place in range(0, len(reply), step):
        handshake.receive_data(reply[place : place + step])
    assert stays == (not handshake.must_redial)
    if handshake.must_redial:
        assert b"" == handshake.data_to_send()
        handshake.redialled()
    assert (False, SECOND) == (handshake.must_redial, handshake.data_to_send())
    handshake.receive_data(OK + BANNER)
    assert (True, BANNER, 1) == (handshake.done, handshake.leftover, handshake.credentials_sent)


def test_an_end_while_draining_asks_for_a_new_connection() -> None:
    """A proxy that closes inside the body of its 407 may still be logged in to."""
    handshake = asked()
    handshake.receive_data(ASKS[:-1])
    handshake.receive_data(b"")
    assert handshake.must_redial


@pytest.mark.parametrize("data", [b"", b"stray"])
def test_what_comes_before_the_answer_is_sent_spoils_the_connection(data: bytes) -> None:
    """Bytes behind the 407, or its end, in a read of their own: the answer goes to a new connection."""
    handshake = asked()
    handshake.receive_data(ASKS)
    handshake.receive_data(data)
    assert (True, b"") == (handshake.must_redial, handshake.data_to_send())
    handshake.receive_data(OK)  # whatever the old connection still gives
    handshake.redialled()
    assert (SECOND, False) == (handshake.data_to_send(), handshake.done)


def test_an_own_close_is_kept_to() -> None:
    """Who asks the proxy to close does not send it another request."""
    handshake = asked(headers=[("Connection", "close")])
    handshake.receive_data(ASKS)
    assert handshake.must_redial


def test_redialled_needs_a_reason() -> None:
    """Saying that there is a new connection when none was asked for is a mistake of the driver."""
    with pytest.raises(LocalWireError, match="not asked for"):
        asked().redialled()


def test_an_open_tunnel_may_be_asked_for_again() -> None:
    """In a chain a connection may be needed anew: the credentials that opened the tunnel do it again."""
    handshake = asked()
    handshake.receive_data(ASKS)
    assert SECOND == handshake.data_to_send()
    handshake.receive_data(OK + b"old")
    handshake.redialled()
    assert (False, b"", SECOND) == (handshake.done, handshake.leftover, handshake.data_to_send())
    handshake.receive_data(OK + BANNER)
    assert (True, BANNER, 2) == (handshake.done, handshake.leftover, handshake.credentials_sent)


def test_a_refusal_is_not_asked_for_again() -> None:
    """After a final refusal a new connection is of no use."""
    handshake = asked()
    handshake.receive_data(b"HTTP/1.1 403 No\r\nContent-Length: 1\r\n\r\n")
    assert (True, False) == (handshake.awaits_body, handshake.done)
    handshake.receive_data(b"x")
    assert (False, True) == (handshake.awaits_body, handshake.done)
    with pytest.raises(LocalWireError, match="not asked for"):
        handshake.redialled()


def test_credentials_are_tried_once() -> None:
    """A second 407 ends it: the same password is never said twice, for proxies lock accounts."""
    handshake = asked()
    handshake.receive_data(ASKS)
    handshake.data_to_send()
    handshake.receive_data(ASKS)
    assert (True, True, False, 1) == (
        handshake.done,
        handshake.refused_credentials,
        handshake.must_redial,
        handshake.credentials_sent,
    )
    assert handshake.reply is not None
    assert (407, b"body", b"") == (handshake.reply.status, handshake.reply.body, handshake.data_to_send())


def test_a_401_after_a_login_refuses_it_too() -> None:
    """tinyproxy answers 401 to a wrong password: the credentials were refused all the same."""
    tinyproxy = (
        b'HTTP/1.0 401 Unauthorized\r\nWWW-Authenticate: Basic realm="Tinyproxy"\r\nConnection: close\r\n\r\n'
    )
    outcome = outcome_of([TINYPROXY], schemes=[basic()], answers=[[tinyproxy]], is_ended=True)
    assert (True, True) == (outcome.done, outcome.refused_credentials)


def test_another_refusal_after_a_login_is_not_about_it() -> None:
    """A 403 behind the login says nothing against the credentials."""
    outcome = outcome_of(
        [ASKS], schemes=[basic()], answers=[[b"HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n"]]
    )
    assert (True, False, 1) == (outcome.done, outcome.refused_credentials, outcome.credentials_sent)


@pytest.mark.parametrize(
    ("reply", "schemes"),
    [
        (ASKS, []),
        (asks(), [basic()]),
        (asks(b""), [basic()]),
        (asks(b"NTLM, Negotiate"), [basic()]),
        (b'HTTP/1.1 407 P\r\nWWW-Authenticate: Basic realm="x"\r\nContent-Length: 0\r\n\r\n', [basic()]),
        (b'HTTP/1.1 401 P\r\nProxy-Authenticate: Basic realm="x"\r\nContent-Length: 0\r\n\r\n', [basic()]),
        (b'HTTP/1.1 403 P\r\nProxy-Authenticate: Basic realm="x"\r\nContent-Length: 0\r\n\r\n', [basic()]),
    ],
    ids=["no scheme of ours", "no challenge", "empty challenge", "other schemes", "www", "401", "403"],
)
def test_a_refusal_that_asks_for_nothing_we_have_is_final(reply: bytes, schemes: list[Basic]) -> None:
    """Without a challenge for one of our schemes, in a 407, no credentials leave."""
    outcome = outcome_of([reply], schemes=schemes)
    assert (True, 0, None, False, b"") == (
        outcome.done,
        outcome.credentials_sent,
        outcome.scheme_name,
        outcome.refused_credentials,
        outcome.next_request,
    )


def test_a_challenge_that_cannot_be_read_is_an_error_only_to_those_who_need_it() -> None:
    """With a scheme at hand it is AuthMalformed, and the reply can be looked at; else a plain refusal."""
    broken = asks(b'Basic realm="open')
    handshake = asked()
    with pytest.raises(AuthMalformed, match="neither a parameter nor a token behind Basic"):
        handshake.receive_data(broken)
    assert handshake.reply is not None
    assert (407, False) == (handshake.reply.status, handshake.done)
    assert outcome_of([broken]).done


@pytest.mark.parametrize(
    "challenges", [[b"basic, NEGOTIATE tok"], [b"basic", b"NEGOTIATE tok"], [b"NEGOTIATE tok,basic"]]
)
def test_our_order_of_schemes_decides(challenges: list[bytes]) -> None:
    """The strongest of our schemes that is offered is used, in whatever order and case they are offered."""
    strong, weak = Scripted("Negotiate", "Negotiate abc"), Scripted("Basic", "Basic x")
    handshake = asked(Scripted("Digest"), strong, weak)
    handshake.receive_data(asks(*challenges))
    assert ("Negotiate", REQUEST % b"Proxy-Authorization: Negotiate abc\r\n") == (
        handshake.scheme_name,
        handshake.data_to_send(),
    )
    assert ([[Challenge("NEGOTIATE", "tok")]], []) == (strong.asked, weak.asked)


def test_a_scheme_with_nothing_to_say_leaves_it_to_the_next() -> None:
    """Before a password was answered for the next scheme may speak; each gets all challenges of its name."""
    digest = Scripted("Digest", "Digest b")
    handshake = asked(Scripted("Negotiate"), digest)
    handshake.receive_data(asks(b"Negotiate", b"Digest algorithm=X, Digest algorithm=MD5"))
    assert "Digest" == handshake.scheme_name
    assert [["X", "MD5"]] == [[one.params["algorithm"] for one in challenges] for challenges in digest.asked]


def test_a_login_of_several_steps_stays_with_its_scheme() -> None:
    """Each 407 goes to the scheme that has spoken; when it has no more to say, no weaker one follows."""
    ntlm, weak = Scripted("NTLM", "NTLM one", "NTLM two", connection_bound=True), basic()
    handshake = asked(ntlm, weak)
    sent = []
    for challenge in (b"NTLM, Basic", b"NTLM type2=="):
        handshake.receive_data(asks(challenge))
        sent.append(handshake.data_to_send().splitlines()[-2])
    assert [b"Proxy-Authorization: NTLM one", b"Proxy-Authorization: NTLM two"] == sent
    assert [[Challenge("NTLM")], [Challenge("NTLM", "type2==")]] == ntlm.asked
    handshake.receive_data(asks(b"NTLM, Basic"))
    assert (True, True, 2) == (handshake.done, handshake.refused_credentials, handshake.credentials_sent)


def test_a_bound_login_may_begin_on_a_new_connection() -> None:
    """A 407 without a token that closes: the login begins on the next connection."""
    handshake = asked(Scripted("NTLM", "NTLM one", connection_bound=True))
    handshake.receive_data(b"HTTP/1.1 407 P\r\nProxy-Authenticate: NTLM\r\nConnection: close\r\n\r\n")
    assert handshake.must_redial


@pytest.mark.parametrize("end", [b"Connection: close\r\n\r\n", b"Content-Length: 1\r\n\r\n"])
def test_a_bound_login_cannot_go_on_elsewhere(end: bytes) -> None:
    """A proxy that closes between two steps of NTLM cannot be logged in to, and the error says so."""
    handshake = asked(Scripted("NTLM", "NTLM one", "NTLM two", connection_bound=True))
    handshake.receive_data(asks(b"NTLM"))
    handshake.data_to_send()
    error = feed(handshake, [b"HTTP/1.1 407 P\r\nProxy-Authenticate: NTLM abc\r\n" + end, b""], is_end=True)
    assert AuthMalformed == error
    with pytest.raises(AuthMalformed, match="in the middle of the NTLM login"):
        handshake.receive_data(OK)


def test_a_login_that_never_ends_is_ended() -> None:
    """A scheme that always has an answer is stopped after MAX_LOGIN_STEPS."""
    handshake = asked(Scripted("X", *["X y"] * 100))
    while not handshake.done:
        handshake.receive_data(asks(b"X"))
        handshake.data_to_send()
    assert (MAX_LOGIN_STEPS, True) == (handshake.credentials_sent, handshake.refused_credentials)


def test_credentials_that_cannot_be_sent_are_not_quoted() -> None:
    """What a scheme gives is checked like everything else that goes out."""
    handshake = asked(Scripted("X", "X secret\r\nY: z"))
    with pytest.raises(LocalWireError, match=r"credentials of X: character U\+000D") as refusal:
        handshake.receive_data(asks(b"X"))
    assert "secret" not in str(refusal.value)


def test_no_reply_to_the_login_is_not_answered_by_another_login() -> None:
    """When the connection ends after the credentials went out, they may have been read: that is an error."""
    handshake = asked()
    handshake.receive_data(ASKS)
    handshake.data_to_send()
    with pytest.raises(StreamTruncated, match=r"after 0 bytes of the reply head$"):
        handshake.receive_data(b"")


def test_interim_replies_count_over_the_whole_handshake() -> None:
    """1xx replies may come before the 407 and before the 200."""
    interim = b"HTTP/1.1 100 Continue\r\n\r\n"
    outcome = outcome_of([interim, ASKS], schemes=[basic()], answers=[[interim + OK + BANNER]])
    assert (2, BANNER, None) == (outcome.interim_replies, outcome.leftover, outcome.error)
