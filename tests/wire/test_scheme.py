"""Login challenges and the scheme Basic."""

import base64
import contextlib
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.errors import AuthMalformed, LocalWireError
from protocol.scheme import Challenge, Scheme, parse_challenges
from protocol.schemes import Basic

TOKENS = st.text("!#$%&'*+.^_`|~09AZaz-", min_size=1, max_size=8)
CHALLENGES = st.builds(
    Challenge,
    TOKENS,
    st.none() | st.from_regex(r"[A-Za-z0-9._~+/-]{1,9}={0,2}", fullmatch=True),
    st.dictionaries(TOKENS.map(str.lower), st.text(st.characters(max_codepoint=255)), max_size=3),
).map(lambda challenge: Challenge(challenge.scheme, challenge.token68) if challenge.token68 else challenge)


def written(challenge: Challenge) -> str:
    params = ", ".join(
        '{}="{}"'.format(name, value.replace("\\", "\\\\").replace('"', '\\"'))
        for name, value in challenge.params.items()
    )
    return f"{challenge.scheme} {challenge.token68 or params}"


@pytest.mark.parametrize(
    ("values", "challenges"),
    [
        ([], []),
        (["", " , ,\t"], []),
        (["Basic"], [Challenge("Basic")]),
        (['Basic realm="lab"'], [Challenge("Basic", None, {"realm": "lab"})]),
        (["basic   REALM = plain "], [Challenge("basic", None, {"realm": "plain"})]),
        (['Basic realm=""'], [Challenge("Basic", None, {"realm": ""})]),
        (['Basic realm="a \\"b\\" \\\\, c=d"'], [Challenge("Basic", None, {"realm": 'a "b" \\, c=d'})]),
        (['Basic realm="b\xe9r"'], [Challenge("Basic", None, {"realm": "b\xe9r"})]),
        (["Negotiate", "NTLM"], [Challenge("Negotiate"), Challenge("NTLM")]),
        (["Negotiate,NTLM ,  Basic realm=x"],
         [Challenge("Negotiate"), Challenge("NTLM"), Challenge("Basic", None, {"realm": "x"})]),
        (["NTLM TlRMTVNTUAAC+/AA=="], [Challenge("NTLM", "TlRMTVNTUAAC+/AA==")]),
        (["NTLM abc=, Negotiate"], [Challenge("NTLM", "abc="), Challenge("Negotiate")]),
        (["NTLM abc"], [Challenge("NTLM", "abc")]),
        ([', Digest realm="a", nonce="b,c", qop="auth,auth-int", algorithm=M , stale=NO,, Basic realm="d",'],
         [Challenge("Digest", None, {"realm": "a", "nonce": "b,c", "qop": "auth,auth-int", "algorithm": "M",
                                     "stale": "NO"}),
          Challenge("Basic", None, {"realm": "d"})]),
    ],
)  # fmt: skip
def test_challenges_are_read_as_the_rfc_writes_them(values: list[str], challenges: list[Challenge]) -> None:
    """Several fields, several challenges in one field, tokens, parameters, quotes and empty list elements."""
    assert challenges == parse_challenges(values)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ('Basic realm="open', "neither a parameter nor a token behind Basic at index 6: 'realm=\"open'"),
        ('Basic realm="a" nonce="b"', "neither a parameter nor a token behind Basic"),
        ('Basic realm="a"x', "neither a parameter nor a token behind Basic"),
        ("NTLM abc def", "neither a parameter nor a token behind NTLM"),
        ('Basic="x"', "no scheme at index 0"),
        ('"Basic"', "no scheme at index 0"),
        ("Basic realm=a, =b", "no scheme at index 15"),
        ("NTLM abc, b=c", "no scheme at index 10"),
        ('Basic realm="a", REALM="b"', "Basic has the parameter realm twice"),
    ],
)
def test_other_challenges_are_refused_with_the_place(value: str, words: str) -> None:
    """What could be read in two ways is not read at all."""
    with pytest.raises(AuthMalformed) as refusal:
        parse_challenges(["Negotiate", value])
    assert words in str(refusal.value)


def test_an_unquoted_realm_with_spaces_is_read_as_meant() -> None:
    """Proxies send it although a token belongs there; the challenges behind it are still seen."""
    challenges = parse_challenges(["Basic realm=Our  Proxy , charset=UTF-8, NTLM abc=="])
    assert [
        Challenge("Basic", None, {"realm": "Our  Proxy", "charset": "UTF-8"}),
        Challenge("NTLM", "abc=="),
    ] == challenges


@given(st.lists(CHALLENGES, max_size=4), st.booleans())
def test_what_is_written_is_read_again(challenges: list[Challenge], is_one_field: bool) -> None:
    """Any list of challenges survives being written, in one field or in many."""
    values = [written(challenge) for challenge in challenges]
    assert challenges == parse_challenges([", ".join(values)] if is_one_field else values)


@given(st.text('aB=", \t\\;\xe9/'))
def test_any_text_is_read_or_refused(value: str) -> None:
    """No header value makes the parser raise anything but AuthMalformed."""
    with contextlib.suppress(AuthMalformed):
        parse_challenges([value])


@pytest.mark.parametrize(
    "value",
    ["a" * 130_000 + " x y", "a " + "b" * 130_000 + " " * 9 + "!!", "a," * 65_000, 'a b="' + "\\" * 130_001,
     "a " + " " * 130_000 + '"', "a b=c" + " " * 130_000 + "d", "a b=c" + ", ," * 40_000,
     "a " + "=" * 130_000],
    ids=range(8),
)  # fmt: skip
def test_long_values_take_linear_time(value: str) -> None:
    """Nothing that fits into a head holds the parser: quadratic work on these takes minutes."""
    begun = time.process_time()
    with contextlib.suppress(AuthMalformed):
        parse_challenges([value])
    assert time.process_time() - begun < 2


def credentials(user: str, password: str) -> bytes:
    value = Basic(user, password).step(None)
    assert value is not None
    scheme, _, token = value.partition(" ")
    assert "Basic" == scheme
    return base64.b64decode(token, validate=True)


@pytest.mark.parametrize(
    ("user", "password", "octets"),
    [
        ("Aladdin", "open sesame", b"Aladdin:open sesame"),
        ("user", "a:b@c/d%20#?", b"user:a:b@c/d%20#?"),
        ("", "", b":"),
        ("DOM\\user", "", b"DOM\\user:"),
        ("test", "123\u00a3", b"test:123\xc2\xa3"),
        ("me", "A\u030a", b"me:\xc3\x85"),
        ("me", "\u20ac\U0001f511", b"me:\xe2\x82\xac\xf0\x9f\x94\x91"),
    ],
)
def test_basic_sends_utf_8(user: str, password: str, octets: bytes) -> None:
    """The pair goes out as it is, in UTF-8 and NFC; the second and the fifth are those of RFC 7617."""
    assert octets == credentials(user, password)


def test_basic_is_written_as_in_rfc_7617() -> None:
    """The example of section 2."""
    assert "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==" == Basic("Aladdin", "open sesame").step(Challenge("Basic"))


def test_basic_speaks_once() -> None:
    """Whatever is asked the second time, the same password is not said again."""
    scheme: Scheme = Basic("user", "pass")
    assert ("Basic", False) == (scheme.name, scheme.connection_bound)
    assert scheme.step(Challenge("Basic", None, {"realm": "a"})) is not None
    assert [None, None] == [scheme.step(Challenge("Basic", None, {"realm": "b"})), scheme.step(None)]


@pytest.mark.parametrize(
    ("user", "password", "words"),
    [
        ("hidden:x", "hidden", "colon"),
        ("hidden\n", "hidden", r"user name has the control character U\+000A"),
        ("hidden", "hidden\x00", r"password has the control character U\+0000"),
        ("hidden", "hidden\x7f", r"password has the control character U\+007F"),
        ("hidden", "hidden\x9f", r"password has the control character U\+009F"),
        ("hidden", "hidden\udce9", "password has bytes in it that are no text"),
    ],
)
def test_basic_refuses_what_it_cannot_carry(user: str, password: str, words: str) -> None:
    """The error names the character and quotes neither user nor password."""
    with pytest.raises(LocalWireError, match=words) as refusal:
        Basic(user, password)
    assert "hidden" not in str(refusal.value)


def test_basic_hides_its_password() -> None:
    """A password does not get into a log by way of repr."""
    assert "Basic(user='user', password=<hidden>)" == repr(Basic("user", "secret"))
    assert not hasattr(Basic("user", "secret"), "__dict__")
