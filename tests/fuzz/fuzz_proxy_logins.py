"""Fuzz what clients log in with: `python tests/fuzz/fuzz_proxy_logins.py -max_total_time=20`.

What must hold for any input: nobody gets in, nothing but a verdict comes out, and it comes. Byte 0 of an
input picks the scheme; byte 1 whether a token is the input itself or a good one with bytes changed, and
whether a challenge was asked for before; the rest is the token, or where and how the good one is changed.
Good ones are made for a wrong password: the fuzzer begins deep inside, and can still not be right.
"""

import asyncio
import base64
import sys
from pathlib import Path

import atheris  # type: ignore[import-untyped]

sys.path.insert(0, str(Path(__file__).parents[2]))  # the sources beside these tests, installed or not

from tests.fuzz.fuzzing import fuzz

with atheris.instrument_imports(include=["protocol", "relay.login", "relay.token", "spnego"]):
    from protocol.scheme import parse_challenges
    from protocol.schemes.digest import Digest
    from relay.accounts import Accounts
    from relay.commands.passwd import MAKERS
    from relay.login import Accepted, Continue, Conversation, Credentials, Failed, LoginScheme, Verdict
    from relay.login_hashes import kind_of
    from relay.logins import LOGINS
    from relay.security_context import Account, SecurityContext, ntlm
    from relay.users import Users

USER, REALM, METHOD, TARGET = "ada", "proxy", "CONNECT", "far.test:443"
MADE = [made for name in ("digest", "ntlm") for made in MAKERS[name](USER, REALM, "the right one")]
USERS = Users({USER: {kind_of(made): made for made in MADE}})


class HereAccounts(Accounts):
    """Does the steps in this very thread: a fuzzer wants each to have ended."""

    async def step(self, work):  # type: ignore[no-untyped-def]
        """As the real one, without its threads."""
        return work()


ACCOUNTS = HereAccounts(USERS)
SCHEMES = [LOGINS[name](ACCOUNTS, REALM) for name in ("NTLM", "Negotiate", "Digest")]
LOOP = asyncio.new_event_loop()


def checked(scheme: LoginScheme, text: str, conversation: Conversation) -> Verdict:
    """One step. The gate does no more: whatever is raised would be a 500."""
    credentials = Credentials(text, METHOD, TARGET, "192.0.2.1")
    verdict = LOOP.run_until_complete(scheme.check(credentials, conversation))
    assert not isinstance(verdict, Accepted), "somebody got in"
    assert isinstance(verdict, Continue | Failed)
    assert "the right one" not in repr(verdict)
    return verdict


def changed(good: bytes, data: bytes) -> bytes:
    """Put bytes of `data` into `good`: two say where, one what."""
    made = bytearray(good)
    for at in range(0, len(data) - 2, 3):
        made[int.from_bytes(data[at : at + 2], "big") % len(made)] = data[at + 2]
    return bytes(made)


def token_login(scheme: LoginScheme, how: int, data: bytes) -> None:
    """NTLM, bare; Negotiate takes that too."""
    conversation = Conversation()
    if not how & 3:
        checked(scheme, data.decode("latin-1") if how & 4 else base64.b64encode(data).decode(), conversation)
        return
    client = SecurityContext(ntlm, Account(USER, "a wrong one", "proxy.test"))
    good = client.step(None)
    assert good is not None
    if how & 1:
        verdict = checked(scheme, base64.b64encode(good).decode(), conversation)
        assert isinstance(verdict, Continue)
        good = client.step(base64.b64decode(verdict.challenge.split()[1]))
        assert good is not None
    token = changed(good, data) if how & 2 else data
    checked(scheme, base64.b64encode(token).decode(), conversation)


def digest_login(scheme: LoginScheme, how: int, data: bytes) -> None:
    """A whole answer with bytes of it changed, or any text."""
    client = Digest(USER, "a wrong one", uri=TARGET)
    answer = client.step(parse_challenges(scheme.challenges()))
    assert answer is not None
    good = answer.removeprefix("Digest ").encode("latin-1")
    text = changed(good, data) if how & 2 else data
    checked(scheme, text.decode("latin-1"), Conversation())


def test_one_input(data: bytes) -> None:
    """Two bytes choose, the rest is the input."""
    if len(data) < 2:
        return
    scheme = SCHEMES[data[0] % len(SCHEMES)]
    login = digest_login if scheme.name == "Digest" else token_login
    login(scheme, data[1], data[2:])


if __name__ == "__main__":
    fuzz(test_one_input)
