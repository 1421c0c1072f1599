"""Which scheme speaks when: fallbacks, what ends a login, NTLM and Negotiate step by step."""

import base64
from collections.abc import Sequence

import pytest

from protocol.connect import ConnectHandshake
from protocol.errors import AuthMalformed, LocalWireError, LoginUnusable
from protocol.scheme import Challenge, Scheme, parse_parameters
from protocol.schemes import Basic, Negotiate, Ntlm
from protocol.schemes.token_server import Accepting, TokenVerifier
from protocol.token_exchange import MAX_TOKEN_BYTES
from tests.corpus import BANNER, OK
from tests.outcome import TARGET
from tests.wire.test_connect_login import Scripted, asked, asks


class Context:
    """A context that gives `tokens` in turn; an exception among them is raised."""

    def __init__(self, *tokens: bytes | Exception | None, mechanism: str = "ntlm", takes: int = 2) -> None:
        self._tokens = list(tokens)
        self.mechanism: str | None = mechanism
        self.got: list[bytes | None] = []
        self._takes = takes
        self.user = "LAB\\user"

    @property
    def complete(self) -> bool:
        return len(self.got) >= self._takes

    def step(self, token: bytes | None) -> bytes | None:
        self.got.append(token)
        made = self._tokens.pop(0) if self._tokens else None
        if isinstance(made, Exception):
            raise made
        return made


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def lines(handshake: ConnectHandshake) -> list[bytes]:
    """The header lines of the next request that have to do with the login."""
    return [line for line in handshake.data_to_send().splitlines() if line.startswith(b"Proxy-")]


def test_what_is_bound_to_its_connection_is_left_out_where_it_cannot_be_said() -> None:
    """Why is noted once, where the proxy offers it, and the next scheme speaks on the same connection."""
    contexts = [Context(b"one"), Context(b"one")]
    first, second = (Negotiate(iter([context]).__next__) for context in contexts)
    handshake = asked(first, second, Ntlm(Context), Basic("u", "p"))
    handshake.login.bound_obstacle = "not here"
    handshake.receive_data(asks(b"Negotiate", b"Basic"))
    assert [b"Proxy-Authorization: Basic " + base64.b64encode(b"u:p")] == lines(handshake)
    assert ["Negotiate: not here"] == handshake.login.obstacles
    assert [[], []] == [context.got for context in contexts]


def test_ntlm_takes_three_messages_on_one_connection() -> None:
    """Type 1, the proxy's type 2, type 3; the old header that keeps old proxies from closing goes along."""
    context = Context(b"one", b"three")
    handshake = asked(Ntlm(lambda: context), Basic("u", "p"))
    handshake.receive_data(asks(b"NTLM", b"Basic"))
    keep = b"Proxy-Connection: Keep-Alive"
    assert [keep, b"Proxy-Authorization: NTLM " + base64.b64encode(b"one")] == lines(handshake)
    handshake.receive_data(asks(b"NTLM " + base64.b64encode(b"two")))
    assert [keep, b"Proxy-Authorization: NTLM " + base64.b64encode(b"three")] == lines(handshake)
    assert [None, b"two"] == context.got
    handshake.receive_data(OK + BANNER)
    assert (True, BANNER, "NTLM") == (handshake.done, handshake.leftover, handshake.scheme_name)


def test_the_old_header_can_be_left_out() -> None:
    """keep_alive=False: RFC 9112 appendix C.2.2 to the letter."""
    handshake = ConnectHandshake(TARGET, schemes=[Ntlm(lambda: Context(b"one"))], keep_alive=False)
    handshake.data_to_send()
    handshake.receive_data(asks(b"NTLM"))
    assert [b"Proxy-Authorization: NTLM " + base64.b64encode(b"one")] == lines(handshake)


def test_a_proxy_may_let_in_after_the_first_message() -> None:
    """Some remember the address: 200 to type 1 is a tunnel."""
    handshake = asked(Ntlm(lambda: Context(b"one")))
    handshake.receive_data(asks(b"NTLM"))
    handshake.data_to_send()
    handshake.receive_data(OK)
    assert handshake.done


def test_ntlm_begins_anew_on_a_further_connection() -> None:
    """In a chain: every connection has an exchange and a context of its own."""
    contexts = [Context(b"one", b"three"), Context(b"1", b"3")]
    left = iter(contexts)
    handshake = asked(Ntlm(lambda: next(left)))
    two = asks(b"NTLM " + base64.b64encode(b"two"))
    for reply in (asks(b"NTLM"), two, OK):
        handshake.receive_data(reply)
        handshake.data_to_send()
    handshake.redialled()
    for reply in (two, OK + BANNER):
        assert handshake.data_to_send()
        handshake.receive_data(reply)
    assert (True, BANNER) == (handshake.done, handshake.leftover)
    assert [[None, b"two"], [None, b"two"]] == [context.got for context in contexts]


def test_a_refused_ntlm_login_is_the_end() -> None:
    """After type 3 the password was answered for: Basic must not say it again."""
    handshake = asked(Ntlm(lambda: Context(b"one", b"three", b"never")), Basic("u", "p"))
    for challenge in (b"NTLM, Basic", b"NTLM dHdv", b"NTLM, Basic"):
        handshake.receive_data(asks(challenge))
        handshake.data_to_send()
    assert (True, True, 2) == (handshake.done, handshake.refused_credentials, handshake.credentials_sent)


@pytest.mark.parametrize("make", [Ntlm, Negotiate])
def test_what_is_turned_away_before_the_password_leaves_it_to_the_next(make: type[Ntlm]) -> None:
    """A 407 without a token refuses the first message only; the next scheme gets a connection of its own."""
    handshake = asked(make(lambda: Context(b"one")), Basic("u", "p"))
    both = asks(make.name.encode(), b"Basic")
    handshake.receive_data(both)
    handshake.data_to_send()
    handshake.receive_data(both)
    assert handshake.must_redial
    handshake.redialled()
    assert [b"Proxy-Authorization: Basic dTpw"] == lines(handshake)
    handshake.receive_data(OK)
    assert (True, "Basic") == (handshake.done, handshake.scheme_name)


@pytest.mark.parametrize("made", [Ntlm, Negotiate])
@pytest.mark.parametrize(
    ("token", "words"),
    [
        (b"!!", "neither a parameter nor a token"),
        (b"abc", "token is no base64"),
        (base64.b64encode(bytes(MAX_TOKEN_BYTES + 1)), f"the limit is {MAX_TOKEN_BYTES}"),
    ],
)
def test_a_token_that_cannot_be_read(made: type[Ntlm], token: bytes, words: str) -> None:
    """AuthMalformed, and nothing more is said on this connection."""
    handshake = asked(made(lambda: Context(b"one")))
    handshake.receive_data(asks(made.name.encode()))
    handshake.data_to_send()
    with pytest.raises(AuthMalformed, match=words):
        handshake.receive_data(asks(made.name.encode() + b" " + token))


def test_the_last_token_of_negotiate_is_checked() -> None:
    """The proxy proves itself in its 200; a proof that does not hold is no tunnel."""
    reply = b"HTTP/1.1 200 OK\r\nProxy-Authenticate: Negotiate bGFzdA==\r\n\r\n"
    good = Context(b"ticket", None, mechanism="kerberos")
    handshake = asked(Negotiate(lambda: good))
    handshake.receive_data(asks(b"Negotiate"))
    handshake.data_to_send()
    handshake.receive_data(reply)
    assert (True, [None, b"last"], "kerberos") == (handshake.done, good.got, handshake.login.mechanism)
    bad = Context(b"ticket", AuthMalformed("does not hold"), mechanism="kerberos")
    handshake = asked(Negotiate(lambda: bad))
    handshake.receive_data(asks(b"Negotiate"))
    handshake.data_to_send()
    with pytest.raises(AuthMalformed):
        handshake.receive_data(reply)
    assert not handshake.done


def test_an_obstacle_is_kept_and_passed_by() -> None:
    """A scheme that lacks something says what; the next one logs in."""
    first = Negotiate(lambda: Context(LoginUnusable("there is no ticket")))
    handshake = asked(first, Basic("u", "p"))
    handshake.receive_data(asks(b"Negotiate", b"Basic"))
    assert ["Negotiate: there is no ticket"] == handshake.login.obstacles
    assert [b"Proxy-Authorization: Basic dTpw"] == lines(handshake)


def test_a_password_that_was_spent_elsewhere_is_not_said() -> None:
    """The KDC has refused it: that was the one attempt."""
    spent = Negotiate(lambda: Context(LoginUnusable("wrong", is_spent=True)))
    handshake = asked(spent, Basic("u", "p"))
    handshake.receive_data(asks(b"Negotiate", b"Basic"))
    assert (True, True, 0) == (handshake.done, handshake.refused_credentials, handshake.credentials_sent)


def test_schemes_hear_what_the_proxy_says_as_it_accepts() -> None:
    """conclude gets the challenges of its name in the 2xx, and Proxy-Authentication-Info."""
    scheme = Scripted("Digest", "Digest x")
    handshake = asked(scheme)
    handshake.receive_data(asks(b'Digest realm="r"'))
    handshake.data_to_send()
    handshake.receive_data(b'HTTP/1.1 200 OK\r\nproxy-authentication-info: rspauth="x"\r\n\r\n')
    assert [([], 'rspauth="x"')] == scheme.concluded


class Slow(Scripted):
    """A scheme that must not be asked by `receive_data`."""


def test_a_login_can_be_left_to_the_driver() -> None:
    """defers_logins: the 407 waits for `answer`, and only one that names a scheme of ours does."""
    slow = Slow("Digest", "Digest x")
    handshake = ConnectHandshake(TARGET, schemes=[slow], defers_logins=True)
    handshake.data_to_send()
    handshake.receive_data(asks(b'Digest realm="r"'))
    assert (True, [], b"") == (handshake.must_answer, slow.asked, handshake.data_to_send())
    with pytest.raises(LocalWireError, match="is to be answered first"):
        ConnectHandshake.receive_data(handshake, b"more")
    handshake = ConnectHandshake(TARGET, schemes=[Slow("Digest", "Digest x")], defers_logins=True)
    handshake.data_to_send()
    handshake.receive_data(asks(b'Digest realm="r"'))
    handshake.answer()
    assert [b"Proxy-Authorization: Digest x"] == lines(handshake)
    with pytest.raises(LocalWireError, match="no 407"):
        handshake.answer()
    other = ConnectHandshake(TARGET, schemes=[Slow("Digest")], defers_logins=True)
    other.data_to_send()
    other.receive_data(asks(b"NTLM"))
    assert (True, False) == (other.done, other.must_answer)


@pytest.mark.parametrize("scheme", [Ntlm(Context), Negotiate(Context), Basic("user", "secret")])
def test_no_repr_has_a_secret(scheme: Scheme) -> None:
    """Nor anything made of one."""
    assert "secret" not in repr(scheme)
    assert "c2VjcmV0" not in repr(scheme)


@pytest.mark.parametrize(
    ("value", "params"),
    [
        ('rspauth="a b", qop=auth', {"rspauth": "a b", "qop": "auth"}),
        (" , nextnonce=x,", {"nextnonce": "x"}),
        ("", {}),
    ],
)
def test_parameters(value: str, params: dict[str, str]) -> None:
    """Proxy-Authentication-Info is a list of parameters, with empty elements."""
    assert params == parse_parameters(value)


@pytest.mark.parametrize("value", ["x", "a=1, a=2", 'a="', "Basic a=1"])
def test_parameters_that_cannot_be_read(value: str) -> None:
    """AuthMalformed."""
    with pytest.raises(AuthMalformed):
        parse_parameters(value)


# The proxy's side


def verified(context: Context, *values: str) -> list[Accepting]:
    verifier = TokenVerifier("NTLM", lambda: context)
    return [verifier.verify(value) for value in values]


def test_the_proxys_side_of_two_messages() -> None:
    """A challenge for the first, the user for the second."""
    context = Context(b"two", None)
    assert [Accepting(token=f"NTLM {b64(b'two')}"), Accepting("LAB\\user")] == verified(
        context, f"NTLM {b64(b'one')}", f"ntlm {b64(b'three')}"
    )
    assert [b"one", b"three"] == context.got


def test_the_proxys_side_refuses() -> None:
    """A token that does not hold is a refusal, and the next begins anew."""
    context = Context(AuthMalformed("no"), b"two")
    assert [Accepting(is_refused=True), Accepting("LAB\\user", f"NTLM {b64(b'two')}")] == verified(
        context, "NTLM AAAA", "NTLM AAAA"
    )


@pytest.mark.parametrize("value", ["Basic AAAA", "NTLM", "NTLM x=y", "", "NTLM !"])
def test_the_proxys_side_cannot_read(value: str) -> None:
    """AuthMalformed."""
    with pytest.raises(AuthMalformed):
        verified(Context(), value)


def test_challenges_are_given_by_name() -> None:
    """Each scheme hears of its own challenges only, whatever their case."""
    scheme = Scripted("NTLM", "NTLM x")
    heard: Sequence[Sequence[Challenge]] = scheme.asked
    asked(scheme).receive_data(asks(b"ntlm, Basic realm=x"))
    assert [[Challenge("ntlm")]] == list(heard)
