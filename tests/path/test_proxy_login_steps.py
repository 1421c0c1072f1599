"""Logins at the proxy, message by message: replays, garbage and mix-ups of Digest, NTLM and Negotiate."""

import base64
import hmac
import json
import os
import re
import socket
import struct
from collections.abc import Iterator
from functools import partial

import pytest

from protocol.digest_hash import base_hash, digest_of
from protocol.scheme import parse_challenges
from protocol.schemes.digest import Digest
from relay.backoff import FREE_FAILURES
from relay.commands.passwd import MAKERS
from relay.login_gate import Login
from relay.login_hashes import hash_in, kind_of, nt_verifier
from relay.login_steps import MAX_BODY_BYTES
from relay.security_context import Account, SecurityContext, ntlm, ntlm_in_negotiate
from relay.token_login import MAX_STEPS
from relay.users import Users
from tests.path.proxied import (
    LOOPS,
    Proxied,
    Target,
    connect_head,
    fields_of,
    get_head,
    read_all,
    read_exactly,
    read_head,
    status_of,
)

pytestmark = pytest.mark.usefixtures("no_kerberos")

USER, PASSWORD, REALM = "alice", "correct horse", "proxy"
MADE = [made for make in MAKERS.values() for made in make(USER, REALM, PASSWORD)]
USERS = Users({USER: {kind_of(made): made for made in MADE}})
SCHEMES = ("Negotiate", "NTLM", "Digest", "Basic")
LOGIN = Login(USERS, REALM, SCHEMES)
NOWHERE = "127.0.0.1:1"


@pytest.fixture
def proxied(monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxied]:
    """Every scheme is offered, and nobody is held back."""
    monkeypatch.setattr("relay.backoff.FREE_FAILURES", 10_000)
    with Proxied(login=LOGIN) as running:
        yield running
        assert (0, 0, 0) == running.settled()
        while running.has_entries():
            assert PASSWORD not in json.dumps(running.entry())


def asked(proxied: Proxied, authority: str, authorization: str) -> tuple[int, list[str]]:
    """Status and challenges of a CONNECT on a connection of its own."""
    with proxied.client(connect_head(authority, f"Proxy-Authorization: {authorization}")) as near:
        reply = read_head(near)
        return status_of(reply), fields_of(reply).get("proxy-authenticate", [])


# Digest


def digest_answer(proxied: Proxied, authority: str, password: str = PASSWORD, algorithm: str = "MD5") -> str:
    """What a client says to a fresh challenge."""
    challenges = asked(proxied, authority, "Basic Og==")[1]
    offered = [value for value in challenges if f"algorithm={algorithm}," in value]
    answer = Digest(USER, password, uri=authority).step(parse_challenges(offered))
    assert answer is not None
    return answer


@pytest.mark.parametrize("algorithm", ["SHA-256", "MD5"])
def test_digest_is_offered_twice(proxied: Proxied, algorithm: str) -> None:
    """The stronger algorithm first, qop=auth alone; either opens a tunnel, and the proxy proves itself."""
    with Target() as target:
        offered = [one for one in asked(proxied, target.authority, "Basic Og==")[1] if "Digest" in one]
        assert ["SHA-256", "MD5"] == [re.findall("algorithm=([^,]*)", one)[0] for one in offered]
        assert ["auth"] * 2 == [re.findall('qop="([^"]*)"', one)[0] for one in offered]
        answer = digest_answer(proxied, target.authority, algorithm=algorithm)
        with proxied.client(connect_head(target.authority, f"Proxy-Authorization: {answer}")) as near:
            with target.accept():
                told = fields_of(head := read_head(near))
        given = parse_challenges([answer])[0].params
        ha1 = base_hash(algorithm, USER.encode(), REALM.encode(), PASSWORD.encode())
        proof = digest_of(
            algorithm, ha1, nonce=given["nonce"], count="00000001", cnonce=given["cnonce"], qop="auth",
            method="", uri=target.authority,
        )  # fmt: skip
        assert 200 == status_of(head)
        assert f'rspauth="{proof}"' in told["proxy-authentication-info"][0]


def test_a_digest_proof_is_for_one_request(proxied: Proxied) -> None:
    """Again: 407 with stale=true. For another target or method: refused."""
    with Target() as target, Target() as other:
        answer = digest_answer(proxied, target.authority)
        assert 407 == asked(proxied, other.authority, answer)[0]
        with proxied.client(get_head(target.authority, f"Proxy-Authorization: {answer}")) as near:
            assert 407 == status_of(read_head(near))
        assert 200 == asked(proxied, target.authority, answer)[0]
        status, challenges = asked(proxied, target.authority, answer)
        assert (407, 2) == (status, sum("stale=true" in value for value in challenges))
        assert not other.was_called()


def test_a_nonce_grows_old() -> None:
    """stale=true, and no failure is counted; a proof with a wrong password is none the less refused."""
    now = [0.0]
    login = Login(USERS, REALM, ("Digest",), {"Digest": {"nonce_seconds": 60.0, "clock": lambda: now[0]}})
    with Proxied(login=login) as proxied:
        answers = [digest_answer(proxied, NOWHERE, password) for password in (PASSWORD, "guess")]
        now[0] = 61.0
        found = [any("stale=true" in one for one in asked(proxied, NOWHERE, one)[1]) for one in answers]
        assert [True, False] == found
        assert (1, 1) == tuple(proxied.proxy._keeper.login_outcomes[name] for name in ("stale", "failed"))


def test_a_nonce_of_a_profile_read_again_is_stale(proxied: Proxied) -> None:
    """How often it was used is forgotten, so it is good no more; the client is asked once more."""
    answer = digest_answer(proxied, NOWHERE)
    proxy = proxied.proxy
    proxied.run(proxy.change(proxy.access, proxy.limits, LOGIN))
    status, challenges = asked(proxied, NOWHERE, answer)
    assert (407, True) == (status, any("stale=true" in value for value in challenges))


@pytest.mark.parametrize("change", [
    ("qop=auth", "qop=auth-int"), ("qop=auth,", ""), ("nc=00000001", "nc=1"), ("nonce=", "n0nce="),
    (f'username="{USER}"', 'username="nobody"'), ('realm="proxy"', 'realm="other"'),
    ('response="', 'response="0'), ("algorithm=MD5", "algorithm=MD5-sess"), ("algorithm=MD5", "algorithm=X"),
    ('uri="', 'uri="x'), ("cnonce=", 'uri="a", cnonce='), ('username="', 'username="\xff'),
    ("Digest ", "Digest , ="),
])  # fmt: skip
def test_digests_that_are_none(proxied: Proxied, change: tuple[str, str]) -> None:
    """407 with a new challenge, whatever is wrong with them."""
    answer = digest_answer(proxied, NOWHERE)
    changed = answer.replace(*change)
    assert answer != changed
    status, challenges = asked(proxied, NOWHERE, changed)
    assert (407, 5, False) == (status, len(challenges), any("stale" in one for one in challenges))


# NTLM and Negotiate


class Speaker:
    """A client's side of NTLM, bare or inside Negotiate, on one connection to the proxy."""

    def __init__(
        self, near: socket.socket, scheme: str = "NTLM", user: str = USER, password: str = PASSWORD
    ) -> None:
        self.near = near
        self.version = "1.1"
        self.scheme = scheme
        begin = ntlm if scheme == "NTLM" else ntlm_in_negotiate
        self._context = SecurityContext(begin, Account(user, password, "proxy.test"))

    def token(self, challenge: bytes | None = None) -> bytes:
        token = self._context.step(challenge)
        assert token is not None
        return token

    def say(self, token: bytes, authority: str = NOWHERE) -> tuple[int, bytes | None]:
        """Send a CONNECT with this token; return the status and the proxy's token."""
        text = base64.b64encode(token).decode()
        field = f"Proxy-Authorization: {self.scheme} {text}"
        self.near.sendall(connect_head(authority, field, version=self.version))
        return self.heard()

    def heard(self) -> tuple[int, bytes | None]:
        told = fields_of(head := read_head(self.near))
        read_exactly(self.near, int(told.get("content-length", ["0"])[0]))
        values = [value.split() for value in told.get("proxy-authenticate", [])]
        found = [value[1] for value in values if value[0] == self.scheme and len(value) == 2]
        return status_of(head), base64.b64decode(found[0]) if found else None

    def challenge(self) -> bytes:
        """The first two messages."""
        status, challenge = self.say(self.token())
        assert 407 == status
        assert challenge is not None
        return challenge


BOTH = pytest.mark.parametrize("scheme", ["NTLM", "Negotiate"])


@BOTH
@pytest.mark.parametrize("loop", LOOPS)
def test_a_handshake(scheme: str, loop: str) -> None:
    """The challenge alone, on a connection that stays; then the tunnel opens for the user."""
    with Proxied(loop, login=LOGIN) as proxied, Target() as target:
        with proxied.client() as near:
            speaker = Speaker(near, scheme)
            answer = speaker.token(speaker.challenge())
            assert 200 == speaker.say(answer, target.authority)[0]
            target.accept().close()
        assert [(407, None), (200, USER)] == [
            ((entry := proxied.entry())["status"], entry.get("user")) for _ in range(2)
        ]
        assert (0, 0, 0) == proxied.settled()


def ntlm_v2_answer(challenge: bytes) -> bytes:
    """An AUTHENTICATE_MESSAGE as openvpn makes it: no Unicode, no MIC ([MS-NLMP] section 3.3.2)."""
    nt_hash = bytes.fromhex(hash_in(nt_verifier(PASSWORD)))
    key = hmac.digest(nt_hash, USER.upper().encode("utf-16-le"), "md5")
    blob = b"\x01\x01" + bytes(14) + os.urandom(8) + bytes(12)
    proof = hmac.digest(key, challenge[24:32] + blob, "md5")
    return forged(b"", proof + blob, 0x00000202, charset="cp1252")


@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_an_old_client_of_ntlm(proxied: Proxied, version: str) -> None:
    """openvpn: HTTP/1.0, a first message without names, no Unicode; the connection stays all the same."""
    with Target() as target, proxied.client() as near:
        speaker = Speaker(near)
        speaker.version = version
        status, challenge = speaker.say(b"NTLMSSP\0\x01\0\0\0\x02\x02\0\0", target.authority)
        assert (407, True) == (status, challenge is not None)
        assert 200 == speaker.say(ntlm_v2_answer(challenge or b""), target.authority)[0]
        target.accept().close()


def test_who_wants_to_close_may(proxied: Proxied) -> None:
    """A step on a connection that the client will close cannot go on, so all is offered again."""
    text = base64.b64encode(b"NTLMSSP\0\x01\0\0\0\x02\x02\0\0").decode()
    fields = (f"Proxy-Authorization: NTLM {text}", "Proxy-Connection: close")
    head = connect_head(NOWHERE, *fields, version="1.0")
    with proxied.client(head) as near:
        data, end = read_all(near)
        assert (407, "FIN") == (status_of(data), end)


@BOTH
def test_what_is_refused_closes(proxied: Proxied, scheme: str) -> None:
    """A wrong password, an unknown user: all is offered again, and a handshake begins on a new connection."""
    for user, password in ((USER, "guess"), ("nobody", PASSWORD), ("LAB\\nobody", PASSWORD)):
        with proxied.client() as near:
            speaker = Speaker(near, scheme, user, password)
            assert (407, None) == speaker.say(speaker.token(speaker.challenge()))
            assert (b"", "FIN") == read_all(near)


@BOTH
def test_two_connections_do_not_mix(proxied: Proxied, scheme: str) -> None:
    """The answer to one connection's challenge proves nothing on another, with one of its own or none."""
    for begins in (True, False):
        with proxied.client() as one, proxied.client() as two:
            speaker, other = Speaker(one, scheme), Speaker(two, scheme)
            answer = speaker.token(speaker.challenge())
            if begins:
                other.challenge()
            assert (407, None) == other.say(answer)
            assert 502 == speaker.say(answer)[0]


def test_two_schemes_do_not_mix(proxied: Proxied) -> None:
    """An answer under another scheme's name begins anew, and proves nothing; then neither does its own."""
    with proxied.client() as near:
        speaker = Speaker(near, "NTLM")
        answer = speaker.token(speaker.challenge())
        speaker.scheme = "Negotiate"
        assert (407, None) == speaker.say(answer)
        assert (b"", "FIN") == read_all(near)


@BOTH
def test_a_handshake_over_a_reload(proxied: Proxied, scheme: str) -> None:
    """It was begun with users who may be none any more: what answers the old challenge begins anew."""
    with proxied.client() as near:
        speaker = Speaker(near, scheme)
        answer = speaker.token(speaker.challenge())
        proxied.run(proxied.proxy.change(proxied.proxy.access, proxied.proxy.limits, LOGIN))
        assert (407, None) == speaker.say(answer)


@BOTH
def test_a_body_before_each_step(proxied: Proxied, scheme: str) -> None:
    """407, the body is read, and the same again on the same connection; the target gets the body once."""
    body = b"x" * 200_000
    with Target() as target, proxied.client() as near:
        speaker = Speaker(near, scheme)

        def post(token: bytes) -> None:
            text = base64.b64encode(token).decode()
            length = f"Content-Length: {len(body)}"
            fields = (f"Proxy-Authorization: {scheme} {text}", length)
            near.sendall(get_head(target.authority, *fields, method="POST") + body)

        post(speaker.token())
        status, challenge = speaker.heard()
        assert (407, False) == (status, target.was_called())
        post(speaker.token(challenge))
        with target.accept() as origin:
            assert str(len(body)) == fields_of(read_head(origin))["content-length"][0]
            assert body == read_exactly(origin, len(body))
            origin.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")
            assert 204 == status_of(read_head(near))


@pytest.mark.parametrize("fields", [
    (f"Content-Length: {MAX_BODY_BYTES * 2}",), ("Content-Length: 9", "Expect: 100-continue"),
    ("Transfer-Encoding: chunked", "Expect: 100-continue"),
])  # fmt: skip
def test_a_body_that_is_too_much_closes(proxied: Proxied, fields: tuple[str, ...]) -> None:
    """One beyond the limit, or one that may come or not: nobody could tell it from the next request."""
    with proxied.client() as near:
        text = base64.b64encode(Speaker(near).token()).decode()
        head = get_head(NOWHERE, f"Proxy-Authorization: NTLM {text}", *fields, method="POST")
        near.sendall(head if "Expect" in str(fields) else head + bytes(MAX_BODY_BYTES + 1))
        reply, end = read_all(near)
        assert (407, ["close"], "FIN") == (status_of(reply), fields_of(reply)["connection"], end)


def test_who_begins_again_and_again_is_stopped(proxied: Proxied) -> None:
    """No connection can ask for challenges without end."""
    with proxied.client() as near:
        first = Speaker(near).token()
        speaker = Speaker(near)
        found = [speaker.say(first)[0]]
        while len(found) <= MAX_STEPS and found[-1] == 407:
            try:
                found.append(speaker.say(first)[0])
            except (OSError, AssertionError):
                break
        assert len(found) <= MAX_STEPS


AUTHENTICATE = b"NTLMSSP\0\x03\0\0\0"


def forged(lm: bytes, nt: bytes, flags: int, user: str = USER, charset: str = "utf-16-le") -> bytes:
    """An AUTHENTICATE_MESSAGE of our own making ([MS-NLMP] section 2.2.1.3)."""
    fields, payload = b"", b""
    for data in (lm, nt, b"", user.encode(charset), b"", b""):
        fields += struct.pack("<HHI", len(data), len(data), 64 + len(payload))
        payload += data
    return AUTHENTICATE + fields + struct.pack("<I", flags) + payload


@BOTH
@pytest.mark.parametrize("lm", [b"12345678" + bytes(16), bytes(24), b"\0"])
@pytest.mark.parametrize("flags", [0x00080201, 0x00000201])
def test_no_answer_without_a_password(proxied: Proxied, scheme: str, lm: bytes, flags: int) -> None:
    """LM responses, which can be made up without knowing anything, and NTLMv1 are refused."""
    for nt in (b"", lm):
        with proxied.client() as near:
            speaker = Speaker(near, scheme)
            near_token = Speaker(near).token() if scheme == "Negotiate" else speaker.token()
            status, challenge = speaker.say(near_token)  # bare NTLM inside Negotiate too, as Windows has it
            assert (407, True) == (status, challenge is not None)
            assert (407, None) == speaker.say(forged(lm, nt, flags))
        while "only version 2 is taken" not in proxied.entry()["words"]:
            continue


def tokens_that_are_none(scheme: str) -> list[str]:
    first = base64.b64encode(b"NTLMSSP\0\x01\0\0\0" + bytes(24)).decode()
    return [
        "", "=", "!!!", "YQ", "TlRMTVNTUAA=", first[:20], f"{first}, {first}", f'realm="{first}"',
        "A" * 10_924,
        base64.b64encode(AUTHENTICATE).decode(), base64.b64encode(AUTHENTICATE + b"\xff" * 100).decode(),
        base64.b64encode(forged(b"", b"\xff" * 60, 0x201, "a:b\nc")).decode(),
        base64.b64encode(forged(b"", bytes(9000), 0x201)).decode(),
        base64.b64encode(b"\x60\x82\xff\xff\x06\x06\x2b\x06\x01\x05\x05\x02" + bytes(40)).decode(),
        base64.b64encode(b"\x60\x80" * 3000).decode(),
        "YIIB" + "A" * 60_000 if scheme == "Negotiate" else "YA==",
    ]  # fmt: skip


@BOTH
def test_tokens_that_are_none(proxied: Proxied, scheme: str) -> None:
    """407 that offers everything, for each of them, also where a challenge was asked for; never a 500."""
    for text in tokens_that_are_none(scheme):
        for begins in (False, True):
            with proxied.client() as near:
                if begins:
                    Speaker(near, scheme).challenge()
                near.sendall(connect_head(NOWHERE, f"Proxy-Authorization: {scheme} {text}"))
                reply = read_all(near)[0]
                offered = fields_of(reply)["proxy-authenticate"]
                assert (407, 5) == (status_of(reply), len(offered)), text[:40]


@BOTH
def test_messages_cut_short_and_changed(proxied: Proxied, scheme: str) -> None:
    """Whatever a token loses or has changed: never a tunnel, never a 500."""
    with proxied.client() as near:
        speaker = Speaker(near, scheme)
        whole = speaker.token(speaker.challenge())
    cuts = [whole[:size] for size in range(0, len(whole), 67)]
    flips = [whole[:at] + bytes([whole[at] ^ 0x80]) + whole[at + 1 :] for at in range(0, len(whole), 53)]
    for token in cuts + flips:
        with proxied.client() as near:
            other = Speaker(near, scheme)
            other.challenge()
            assert 407 == other.say(token)[0]


@pytest.mark.parametrize("scheme", ["NTLM", "Negotiate", "Digest"])
def test_failures_of_every_scheme_count(scheme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """After some of them nothing from this address is looked at: 429, for every scheme."""
    monkeypatch.setattr("relay.backoff.FIRST_WAIT_SECONDS", 60.0)
    with Proxied(login=LOGIN) as proxied:
        for _ in range(FREE_FAILURES):
            if scheme == "Digest":
                assert 407 == asked_with_digest(proxied)
                continue
            with proxied.client() as near:
                speaker = Speaker(near, scheme, password="guess")
                assert 407 == speaker.say(speaker.token(speaker.challenge()))[0]
        statuses = [asked(proxied, NOWHERE, f"{name} TlRMTVNTUAA=")[0] for name in SCHEMES]
        assert [429] * 4 == statuses


def asked_with_digest(proxied: Proxied) -> int:
    """A wrong password; the nonce is made here, as asking for one with credentials would be a failure too."""
    with proxied.client(connect_head(NOWHERE)) as near:
        offered = fields_of(read_head(near))["proxy-authenticate"]
    values = [value for value in offered if value.startswith("Digest")]
    answer = Digest(USER, "guess", uri=NOWHERE).step(parse_challenges(values))
    assert answer is not None
    return asked(proxied, NOWHERE, answer)[0]


def test_an_unknown_user_costs_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """Digest hashes as often for a user who is not there; only a proof that holds costs more."""
    hashed: list[str] = []
    real = digest_of
    monkeypatch.setattr(
        "protocol.schemes.digest_server.digest_of",
        lambda name, *a, **k: hashed.append(name) or real(name, *a, **k),
    )
    with Proxied(login=Login(USERS, REALM, ("Digest",))) as proxied:
        answer = partial(digest_answer, proxied, NOWHERE, "guess")
        costs = []
        for text in (answer(), answer().replace(USER, "mallory")):
            hashed.clear()
            asked(proxied, NOWHERE, text)
            costs.append(list(hashed))
        assert [["MD5"]] * 2 == costs
