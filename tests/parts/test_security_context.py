"""NTLM by pyspnego on both sides, over real connections; what is said when a library is missing."""

import base64
import contextlib
import importlib.util
import io
import json
import logging
import socket
import sys
import traceback
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import relay.commands
from protocol.errors import AuthMalformed, LoginUnusable
from protocol.schemes.token_server import TokenVerifier
from relay.accepting_context import AcceptingSecurityContext
from relay.client_logins import LoginRules
from relay.failure import ProxyRefused, Reason, RelayError, Stage
from relay.kerberos_words import kerberos_code, kerberos_words
from relay.security_context import Account, SecurityContext, kerberos, ntlm, ntlm_in_negotiate
from relay.trace import Trace
from tests.corpus import BANNER
from tests.parts.scripted_proxy import OK, WAYS, Opening, Played, ScriptedProxy, read_exactly

USER, PASSWORD = "LAB\\ada", "planted p\u00e4ssword 7"
NTLM = LoginRules(("ntlm",))
NEGOTIATE = LoginRules(("negotiate",))


@pytest.fixture(params=WAYS)
def opening(request: pytest.FixtureRequest) -> Iterator[Opening]:
    """Each way to open a tunnel."""
    with WAYS[request.param]() as opened:
        yield opened


@pytest.fixture(autouse=True)
def users(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who the acceptor knows; no Kerberos of this machine's own."""
    (tmp_path / "users").write_text(f"LAB:ada:{PASSWORD}\n", "utf-8")
    (tmp_path / "krb5.conf").write_text("[libdefaults]\n dns_lookup_kdc = false\n")
    monkeypatch.setenv("NTLM_USER_FILE", str(tmp_path / "users"))
    monkeypatch.setenv("KRB5_CONFIG", str(tmp_path / "krb5.conf"))
    monkeypatch.setenv("KRB5CCNAME", f"FILE:{tmp_path}/none")


class Acceptor:
    """A scene: a proxy that wants NTLM or Negotiate, by our own verifier, on each connection anew."""

    def __init__(self, name: str, *, closes_first: bool = False) -> None:
        self.name = name
        self.users: list[str | None] = []
        self.refused = 0
        self._closes_first = closes_first

    def __call__(self, played: Played) -> None:
        verifier = TokenVerifier(self.name, partial(AcceptingSecurityContext, self.name.lower()))
        while True:
            head = played.head().decode("latin-1")
            given = [line for line in head.splitlines() if line.startswith("Proxy-Authorization: ")]
            if not given:
                played.write(self._asks(self.name, "Connection: close" if self._closes_first else ""))
                if self._closes_first:
                    return
                continue
            found = verifier.verify(given[0].removeprefix("Proxy-Authorization: "))
            if found.user is not None:
                self.users.append(found.user)
                break
            self.refused += found.is_refused
            played.write(self._asks(found.token or self.name))
        played.write(OK + BANNER)
        played.echo()

    @staticmethod
    def _asks(challenge: str, field: str = "") -> bytes:
        lines = ["HTTP/1.1 407 Log in", f"Proxy-Authenticate: {challenge}"]
        lines += ['Proxy-Authenticate: Basic realm="x"']
        lines += ["Content-Length: 5", *([field] if field else []), "", "body."]
        return "\r\n".join(lines).encode()


every_scheme = pytest.mark.parametrize(("name", "rules"), [("NTLM", NTLM), ("Negotiate", NEGOTIATE)])


@every_scheme
@pytest.mark.parametrize("closes_first", [False, True], ids=["kept", "closed"])
def test_ntlm_logs_in(opening: Opening, name: str, rules: LoginRules, closes_first: bool) -> None:
    """By itself and inside Negotiate; where the first 407 closes, all messages go over the next."""
    scene = Acceptor(name, closes_first=closes_first)
    trace = Trace(30.0)
    with ScriptedProxy(scene) as proxy:
        tunnel = opening(proxy.route(user=USER, password=PASSWORD, login=rules), trace=trace)
        assert BANNER == read_exactly(tunnel, len(BANNER))
        tunnel.write(b"hello")
        assert b"hello" == read_exactly(tunnel, 5)
    assert ["LAB\\ada"] == scene.users
    assert ([1, 2] if closes_first else [3]) == [len(played.heads) for played in proxy.played]
    assert name == trace.steps[-1].evidence["login"]


@every_scheme
def test_a_wrong_password_is_answered_for_once(opening: Opening, name: str, rules: LoginRules) -> None:
    """One refusal at the proxy; Basic, which it offers too, stays silent."""
    scene = Acceptor(name)
    both = LoginRules((*rules.schemes, "basic"))
    with ScriptedProxy(scene) as proxy, pytest.raises(ProxyRefused) as caught:
        opening(proxy.route(user=USER, password="guess7", login=both))
    failure = caught.value.failure
    assert (Stage.LOGIN, Reason.LOGIN_REFUSED) == (failure.stage, failure.reason)
    assert (1, []) == (scene.refused, scene.users)
    assert b"Basic" not in b"".join(proxy.heads)


def test_a_proxy_that_sends_no_ntlm(opening: Opening) -> None:
    """A token that is none: malformed, by name, without a word of it."""

    def scene(played: Played) -> None:
        for challenge in (b"NTLM", b"NTLM " + base64.b64encode(b"NTLMSSP\0nonsense")):
            played.head()
            played.write(b"HTTP/1.1 407 P\r\nContent-Length: 0\r\n")
            played.write(b"Proxy-Authenticate: " + challenge + b"\r\n\r\n")
        played.wait_for_end()

    with ScriptedProxy(scene) as proxy, pytest.raises(RelayError) as caught:
        opening(proxy.route(user=USER, password=PASSWORD, login=NTLM))
    assert "the proxy's login token does not hold" in str(caught.value)
    assert (Stage.LOGIN, Reason.MALFORMED) == (caught.value.failure.stage, caught.value.failure.reason)


@given(st.binary(max_size=300), st.sampled_from([b"", b"NTLMSSP\0", b"NTLMSSP\0\2\0\0\0", b"`\x82"]))
def test_no_token_breaks_a_context(noise: bytes, start: bytes) -> None:
    """Whatever the proxy or the client sends: an answer or AuthMalformed."""
    for begin in (ntlm, ntlm_in_negotiate):
        client = SecurityContext(begin, Account(USER, PASSWORD, "proxy.test"))
        assert client.step(None)
        with contextlib.suppress(AuthMalformed):
            client.step(start + noise)
    acceptor = AcceptingSecurityContext("ntlm")
    with contextlib.suppress(AuthMalformed):
        acceptor.step(start + noise)
    assert not acceptor.complete


@pytest.mark.parametrize("begin", [ntlm, ntlm_in_negotiate])
def test_ntlm_asks_no_kerberos_server(begin, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    """The password is no business of the KDC's, which would count an attempt that we do not."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as kdc:
        kdc.bind(("127.0.0.1", 0))
        (tmp_path / "krb5.conf").write_text(
            "[libdefaults]\n default_realm = LAB.TEST\n dns_lookup_kdc = false\n"
            f"[realms]\n LAB.TEST = {{\n  kdc = 127.0.0.1:{kdc.getsockname()[1]}\n }}\n"
        )
        assert SecurityContext(begin, Account(USER, PASSWORD, "proxy.test")).step(None)
        kdc.setblocking(False)
        with pytest.raises(BlockingIOError):
            kdc.recv(65_536)


# Each thing that is missing has words of its own


def words_of(begin, **account) -> str:  # type: ignore[no-untyped-def]
    given = {"user": None, "password": None, "host": "proxy.test", **account}
    context = SecurityContext(begin, Account(**given))
    with pytest.raises(LoginUnusable) as caught:
        context.step(None)
    return str(caught.value)


def test_without_pyspnego(monkeypatch: pytest.MonkeyPatch) -> None:
    """The library is named."""
    monkeypatch.setitem(sys.modules, "spnego", None)
    assert "it needs pyspnego, which is not installed (pip install pyspnego)" == words_of(ntlm)


def test_without_gssapi(monkeypatch: pytest.MonkeyPatch) -> None:
    """The extra is named."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    words = "Kerberos needs gssapi and krb5, which is not installed: pip install 'framework-relay[kerberos]'"
    assert words == words_of(kerberos)


def test_a_proxy_without_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """No tickets for addresses; --proxy-spn is the way out. It is told before Kerberos is asked at all."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    assert "give its name, or --proxy-spn HTTP/NAME" in words_of(kerberos, host="10.0.0.1", is_address=True)


@pytest.mark.parametrize(
    ("offset", "words", "is_spent"),
    [
        (141, "there is no Kerberos ticket here", False),
        (32, "has expired: renew it with kinit", False),
        (37, "this machine's clock", False),
        (148, "this machine's clock", False),
        (7, "does not know the service HTTP/proxy.test", False),
        (6, "does not know the user", False),
        (24, "did not accept the password", True),
        (18, "the account is locked", True),
        (154, "no Kerberos server of the realm", False),
        (224, "this machine has no Kerberos realm", False),
        (1, "Kerberos failed (error -1765328383)", False),
    ],
)
def test_each_error_of_kerberos_has_its_words(offset: int, words: str, is_spent: bool) -> None:
    """By MIT's numbers, signed or not; and whether the password has counted."""
    error = Exception()
    error.base_error = Exception()  # type: ignore[attr-defined]
    error.base_error.min_code = 2**32 - 1_765_328_384 + offset  # type: ignore[attr-defined]
    code = kerberos_code(error)
    assert -1_765_328_384 + offset == code
    said, spent = kerberos_words(code, "HTTP/proxy.test", has_password=True)
    assert words in said
    assert is_spent == spent
    assert "Kerberos failed" == kerberos_words(kerberos_code(Exception()), "x", has_password=True)[0]


# What is never shown

PLANTED = [
    PASSWORD,
    base64.b64encode(PASSWORD.encode()).decode(),
    base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode(),
    json.dumps(PASSWORD)[1:-1],
    ascii(PASSWORD)[1:-1],
    repr(PASSWORD.encode())[2:-1],
]


@pytest.mark.parametrize("scheme", ["NTLM", "Negotiate", "Digest", "Basic"])
@pytest.mark.parametrize("output", [["--json"], []], ids=["json", "words"])
def test_no_output_has_the_password(
    scheme: str, output: list[str], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """A refused login of each kind, with logging wide open: the planted password is nowhere."""
    log = io.StringIO()
    handler = logging.StreamHandler(log)
    logging.getLogger().addHandler(handler)
    monkeypatch.setattr(logging.getLogger(), "level", logging.DEBUG)
    monkeypatch.setenv("RELAY_PROXY_USER", USER)
    monkeypatch.setenv("RELAY_PROXY_PASSWORD", PASSWORD)

    def scene(played: Played) -> None:
        while True:
            head = played.head()
            field = b'Digest realm="r", nonce="n", qop="auth"' if scheme == "Digest" else scheme.encode()
            # A proxy that shows our own head in its error page
            played.write(b"HTTP/1.1 407 Log in\r\nProxy-Authenticate: %s\r\n" % field)
            played.write(b"Content-Length: %d\r\n\r\n" % len(head), head)

    try:
        with ScriptedProxy(scene) as proxy:
            words = ["ping", "-c", "1", "-x", f"http://{proxy.endpoint}", *output, "dest.example"]
            assert 1 == relay.commands.main(words)
    finally:
        logging.getLogger().removeHandler(handler)
    shown = "\n".join([*capfd.readouterr(), log.getvalue()])
    assert "login: " in shown
    assert [] == [secret for secret in PLANTED if secret in shown]
    heads = [line for head in proxy.heads for line in head.decode().splitlines()]
    said = [line.split()[-1] for line in heads if line.startswith("Proxy-Authorization")]
    assert [] == [token for token in said if token in shown]


@pytest.mark.parametrize("begin", [ntlm, ntlm_in_negotiate])
def test_no_error_or_repr_has_the_password(begin) -> None:  # type: ignore[no-untyped-def]
    """Of accounts and contexts, and of what a broken token raises, with its whole traceback."""
    account = Account(USER, PASSWORD, "proxy.test")
    context = SecurityContext(begin, account)
    context.step(None)
    with pytest.raises(AuthMalformed) as caught:
        context.step(b"NTLMSSP\0" + PASSWORD.encode())
    shown = [repr(account), str(account), repr(context), *traceback.format_exception(caught.value)]
    assert [] == [secret for secret in PLANTED if secret in "\n".join(shown)]


def test_the_first_message_of_ntlm_tells_nothing() -> None:
    """It has no user, no password and no name of this machine."""
    first = SecurityContext(ntlm, Account(USER, PASSWORD, "proxy.test")).step(None)
    assert first is not None
    assert b"ada" not in first
    assert socket.gethostname().encode() not in first
