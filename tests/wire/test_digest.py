"""Digest, both sides: against the RFCs' examples, and against each other."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.digest_hash import ALGORITHMS, base_hash, digest_of
from protocol.errors import AuthMalformed, LocalWireError
from protocol.scheme import Challenge, parse_challenges, parse_parameters
from protocol.schemes.digest import METHOD, Digest
from protocol.schemes.digest_server import MAX_NONCES, DigestVerifier, Verdict

PASSWORD = "Circle of Life"
URI = "dest.example:5000"
NONCE = "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v"
CNONCE = "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ"


def digest(user: str = "Mufasa", password: str = PASSWORD, **options) -> Digest:  # type: ignore[no-untyped-def]
    return Digest(user, password, uri=URI, make_cnonce=lambda: CNONCE, **options)


def asked(*values: str) -> list[Challenge]:
    return parse_challenges(values)


def said(value: str | None) -> dict[str, str]:
    assert value is not None
    assert value.startswith("Digest ")
    return parse_parameters(value.removeprefix("Digest "))


# RFC 7616 section 3.9.1, RFC 2617 section 3.5, RFC 2069 section 2.4 as corrected by its errata
@pytest.mark.parametrize(
    ("algorithm", "expected"),
    [
        ("MD5", "8ca523f5e9506fed4657c9700eebdbec"),
        ("SHA-256", "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"),
    ],
)
def test_the_examples_of_rfc_7616(algorithm: str, expected: str) -> None:
    """The response of the RFC's own request."""
    ha1 = base_hash(algorithm, b"Mufasa", b"http-auth@example.org", b"Circle of Life")
    given = {"nonce": NONCE, "count": "00000001", "cnonce": CNONCE, "qop": "auth"}
    assert expected == digest_of(algorithm, ha1, method="GET", uri="/dir/index.html", **given)


def test_the_example_of_rfc_2617() -> None:
    """The older RFC's, with another password."""
    ha1 = base_hash("MD5", b"Mufasa", b"testrealm@host.com", b"Circle Of Life")
    nonce = "dcd98b7102dd2f0e8b11d0f600bfb0c093"
    given = {"nonce": nonce, "count": "00000001", "cnonce": "0a4f113b", "qop": "auth"}
    expected = "6629fae49393a05397450978507c4ef1"
    assert expected == digest_of("MD5", ha1, method="GET", uri="/dir/index.html", **given)


def test_the_example_of_rfc_2069() -> None:
    """Without qop, as its errata has it."""
    ha1 = base_hash("MD5", b"Mufasa", b"testrealm@host.com", b"CircleOfLife")
    nonce = "dcd98b7102dd2f0e8b11d0f600bfb0c093"
    given = {"nonce": nonce, "count": "", "cnonce": "", "qop": None}
    expected = "1949323746fe6a43ef61f9606e7febea"
    assert expected == digest_of("MD5", ha1, method="GET", uri="/dir/index.html", **given)


def test_the_userhash_of_rfc_7616() -> None:
    """Section 3.9.2: the user is sent as a hash (its errata has this one), and the flag with it."""
    challenge = asked(
        'Digest realm="api@example.org", qop="auth", algorithm=SHA-512-256, nonce="n", charset=UTF-8, '
        "userhash=true"
    )
    params = said(digest("J\u00e4s\u00f8n Doe", "Secret, or not?").step(challenge))
    assert "793263caabb707a56211940d90411ea4a575adeccb7e360aeb624ed06ece9b0b" == params["username"]
    assert ("true", "SHA-512-256") == (params["userhash"], params["algorithm"])


def test_all_of_an_answer() -> None:
    """The target is the uri; quotes stand where RFC 7616 section 3.4 has them, and nowhere else."""
    challenge = asked(f'Digest realm="a \\"b\\"", nonce="{NONCE}", opaque="o", qop="auth-int, auth"')
    ha1 = base_hash("MD5", b'd\\"u', b'a "b"', b"p")
    response = digest_of(
        "MD5", ha1, nonce=NONCE, count="00000001", cnonce=CNONCE, qop="auth", method="CONNECT", uri=URI
    )
    assert (
        f'Digest username="d\\\\\\"u", realm="a \\"b\\"", nonce="{NONCE}", uri="{URI}", '
        f'response="{response}", '
        f'qop=auth, nc=00000001, cnonce="{CNONCE}", opaque="o"'
    ) == digest('d\\"u', "p").step(challenge)


def test_the_old_form_has_no_counts() -> None:
    """A challenge without qop is answered as RFC 2069 has it."""
    params = said(digest().step(asked('Digest realm="r", nonce="n"')))
    assert {"username", "realm", "nonce", "uri", "response"} == set(params)


@pytest.mark.parametrize(
    ("offered", "used"),
    [
        (["MD5", "SHA-256"], "SHA-256"),
        (["SHA-256", "SHA-512-256", "MD5-sess"], "SHA-512-256"),
        (["MD5-sess", "SHA-256-sess"], "SHA-256-sess"),
        (["X", "MD5"], "MD5"),
    ],
)
def test_the_strongest_algorithm_is_used(offered: list[str], used: str) -> None:
    """Whatever the proxy's order; those we do not know are passed over."""
    values = [f'Digest realm="r", nonce="n", qop="auth", algorithm={name}' for name in offered]
    assert used == said(digest().step(asked(*values)))["algorithm"]


@pytest.mark.parametrize("rest", ["algorithm=X", 'qop="auth-int"'])
def test_what_cannot_be_answered_is_left_to_another_scheme(rest: str) -> None:
    """An unknown algorithm, or a hash of a body that CONNECT has not."""
    scheme = digest()
    assert (None, False) == (
        scheme.step(asked(f'Digest realm="r", nonce="n", {rest}')),
        scheme.has_said_secret,
    )


@pytest.mark.parametrize(
    ("rest", "words"),
    [
        ('realm="r"', "has no nonce"),
        ('nonce="n"', "has no realm"),
        ('realm="r", nonce="' + "x" * 8193 + '"', "nonce .* 8193 characters, more than the limit of 8192"),
    ],
)
def test_a_challenge_that_lacks_something(rest: str, words: str) -> None:
    """AuthMalformed names what is wrong."""
    with pytest.raises(AuthMalformed, match=words):
        digest().step(asked(f"Digest {rest}"))


def test_a_stale_nonce_is_no_wrong_password() -> None:
    """stale=true is answered with the new nonce; the same nonce, or no stale, ends it."""
    scheme = digest()
    first = said(scheme.step(asked('Digest realm="r", nonce="one", qop="auth"')))
    second = said(scheme.step(asked('Digest realm="r", nonce="two", qop="auth", stale=TRUE')))
    assert ["one", "two"] == [first["nonce"], second["nonce"]]
    assert "00000001" == second["nc"]
    assert scheme.step(asked('Digest realm="r", nonce="two", qop="auth", stale=true')) is None
    assert scheme.step(asked('Digest realm="r", nonce="three", qop="auth"')) is None
    assert scheme.step(asked('Digest realm="r", nonce="three", qop="auth", stale=false')) is None


def test_the_count_rises_when_the_nonce_is_used_again() -> None:
    """A further connection says the next count for the same nonce; a -sess keeps its cnonce."""
    drawn = iter(["c1", "c2", "c3"])
    for algorithm, cnonces in (("MD5", ["c1", "c2"]), ("MD5-sess", ["c3", "c3"])):
        scheme = Digest("u", "p", uri=URI, make_cnonce=lambda: next(drawn))
        given = [
            said(scheme.step(asked(f'Digest realm="r", nonce="n", qop="auth", algorithm={algorithm}'))),
            said(scheme.again()),
        ]
        assert ["00000001", "00000002"] == [params["nc"] for params in given]
        assert cnonces == [params["cnonce"] for params in given]
        assert given[0]["response"] != given[1]["response"]


@pytest.mark.parametrize(
    ("charset", "ours", "name", "value"),
    [
        (", charset=UTF-8", "utf-8", "username*", "UTF-8''J%C3%A4"),
        (", charset=UTF-8", "latin-1", "username*", "UTF-8''J%C3%A4"),
        ("", "utf-8", "username", "J\xc3\xa4"),
        ("", "latin-1", "username", "J\xe4"),
    ],
)
def test_names_beyond_ascii(charset: str, ours: str, name: str, value: str) -> None:
    """UTF-8 as RFC 7616 wants it where the proxy says so, else the octets of the charset we were told."""
    params = said(digest("J\u00e4", charset=ours).step(asked(f'Digest realm="r", nonce="n"{charset}')))
    assert value == params[name]


def proof(method: str, nonce: str = "n", password: bytes = b"Circle of Life") -> str:
    ha1 = base_hash("SHA-256", b"Mufasa", b"r", password)
    return digest_of(
        "SHA-256", ha1, nonce=nonce, count="00000001", cnonce=CNONCE, qop="auth", method=method, uri=URI
    )


def logged_in() -> Digest:
    scheme = digest()
    challenge = asked('Digest realm="r", nonce="n", qop="auth", algorithm=SHA-256')
    assert proof("CONNECT") == said(scheme.step(challenge))["response"]
    return scheme


def test_the_proxys_own_proof_is_checked() -> None:
    """rspauth holds, or it is an error; without one nothing is said against the proxy."""
    logged_in().conclude([], None)
    logged_in().conclude([], 'nextnonce="x"')
    logged_in().conclude([], f'rspauth="{proof("")}", qop=auth')
    with pytest.raises(AuthMalformed, match="does not prove that it knows the password") as caught:
        logged_in().conclude([], f'rspauth="{proof("", password=b"other")}"')
    assert "Circle" not in str(caught.value)


def test_the_next_nonce_is_taken() -> None:
    """nextnonce is what a further connection begins with, and counts from 1."""
    scheme = logged_in()
    scheme.conclude([], 'nextnonce="following"')
    params = said(scheme.again())
    assert ("following", "00000001") == (params["nonce"], params["nc"])


@pytest.mark.parametrize("user", ["a\nb", "a\0", "\ud800"])
def test_what_cannot_be_sent_is_refused_at_once(user: str) -> None:
    """Control characters and what is no text; the words do not quote it."""
    for pair in ((user, "p"), ("u", user)):
        with pytest.raises(LocalWireError):
            Digest(*pair, uri=URI)


def test_a_repr_has_no_password() -> None:
    """Nor its hash."""
    assert "Digest(user='Mufasa', password=<hidden>)" == repr(logged_in())


# The proxy's side

SECRET = b"sixteen octets.."


def verifier(algorithm: str = "SHA-256", **options) -> DigestVerifier:  # type: ignore[no-untyped-def]
    def ha1_of(name: str, user: str) -> str | None:
        if user not in ("Mufasa", "J\u00e4"):
            return None
        return base_hash(name, user.encode(), b"our realm", b"Circle of Life")

    return DigestVerifier("our realm", ha1_of, secret=SECRET, algorithms=(algorithm,), **options)


def login(proxy: DigestVerifier, scheme: Digest, now_seconds: float, *, entropy: bytes = b"12345678") -> str:
    answer = scheme.step(parse_challenges(proxy.challenges(now_seconds, entropy)))
    assert answer is not None
    return answer


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("user", ["Mufasa", "J\u00e4"])
def test_both_sides_agree(algorithm: str, user: str) -> None:
    """Every algorithm: accepted with the user's name, and the client believes the proxy's proof."""
    proxy, scheme = verifier(algorithm), digest(user)
    found = proxy.verify(login(proxy, scheme, 100.0), METHOD, URI, 101.0)
    assert (Verdict.ACCEPTED, user) == (found.verdict, found.user)
    scheme.conclude([], found.info)
    again = scheme.again()
    assert again is not None
    assert Verdict.ACCEPTED is proxy.verify(again, METHOD, URI, 102.0).verdict


def test_a_proof_is_good_once() -> None:
    """The same answer again is stale, also in another spelling of its nonce, and so is a smaller count."""
    proxy, scheme = verifier(), digest()
    first = login(proxy, scheme, 0.0)
    second = scheme.again()
    assert second is not None
    assert Verdict.ACCEPTED is proxy.verify(second, METHOD, URI, 0.0).verdict
    for replayed in (second, first):
        assert Verdict.STALE is proxy.verify(replayed, METHOD, URI, 0.0).verdict


def test_a_nonce_grows_old() -> None:
    """After its life it is stale, which the client answers with the new one."""
    proxy, scheme = verifier(life_seconds=10), digest()
    answer = login(proxy, scheme, 0.0)
    assert Verdict.STALE is proxy.verify(answer, METHOD, URI, 10.5).verdict
    more = scheme.step(parse_challenges(proxy.challenges(10.5, b"87654321", is_stale=True)))
    assert more is not None
    assert Verdict.ACCEPTED is proxy.verify(more, METHOD, URI, 10.6).verdict


def test_forgotten_nonces_are_not_good_again() -> None:
    """When there are too many to keep, the oldest are stale and cannot be replayed."""
    proxy = verifier()
    answers = []
    for number in range(MAX_NONCES + 2):
        answers.append(login(proxy, digest(), number / 1000, entropy=number.to_bytes(8, "big")))
        assert Verdict.ACCEPTED is proxy.verify(answers[-1], METHOD, URI, 10.0).verdict
    for answer in (answers[0], answers[1], answers[-1]):
        assert Verdict.STALE is proxy.verify(answer, METHOD, URI, 10.0).verdict


@pytest.mark.parametrize(
    ("user", "password", "method", "uri"),
    [
        ("Mufasa", "guess7", METHOD, URI),
        ("Scar", "Circle of Life", METHOD, URI),
        ("Mufasa", "Circle of Life", "GET", URI),
        ("Mufasa", "Circle of Life", METHOD, "dest.example:443"),
    ],
)
def test_what_is_wrong_is_refused(user: str, password: str, method: str, uri: str) -> None:
    """Password, user, method and target are all part of the proof."""
    proxy = verifier()
    answer = login(proxy, Digest(user, password, uri=URI), 0.0)
    assert Verdict.REFUSED is proxy.verify(answer, method, uri, 0.0).verdict


def test_a_nonce_of_another_is_stale() -> None:
    """Of a proxy that was started anew: the right password asks once more, a wrong one is refused."""
    stranger = DigestVerifier("our realm", lambda *_: None, secret=b"another secret.....")
    for password, verdict in ((PASSWORD, Verdict.STALE), ("guess7", Verdict.REFUSED)):
        answer = login(stranger, digest(password=password), 0.0)
        assert verdict is verifier("SHA-512-256").verify(answer, METHOD, URI, 0.0).verdict


def test_nonces_from_before_the_counts_began_are_stale() -> None:
    """Nobody knows any more how often they were used."""
    first = verifier()
    answer = login(first, digest(), 0.0)
    assert Verdict.STALE is verifier(began_seconds=5.0).verify(answer, METHOD, URI, 6.0).verdict


def test_two_names_of_one_target() -> None:
    """A proof for either of them holds."""
    proxy = verifier()
    for number, uri in enumerate(("http://dest.example/a", "/a")):
        answer = login(proxy, Digest("Mufasa", PASSWORD, uri=uri), 0.0, entropy=bytes([number]) * 8)
        found = proxy.verify(answer, METHOD, ("http://dest.example/a", "/a"), 0.0)
        assert Verdict.ACCEPTED is found.verdict


@pytest.mark.parametrize(
    "value",
    [
        "Basic dXNlcjpwYXNz",
        "Digest",
        'Digest username="u"',
        'Digest username="u", realm="r", nonce="n", uri="u", response="x", cnonce="c", qop=auth, nc=1',
        'Digest username="\xff", nonce="n", uri="u", response="x", cnonce="c", qop=auth, nc=00000001',
        'Digest username="u", realm="r", nonce="n", uri="u", response="x", cnonce="c", nc=00000001',
    ],
)
def test_answers_that_cannot_be_read(value: str) -> None:
    """AuthMalformed, which a proxy answers like a refusal."""
    with pytest.raises(AuthMalformed):
        verifier().verify(value, METHOD, URI, 0.0)


@given(st.text(alphabet=st.characters(min_codepoint=32, max_codepoint=255), max_size=60))
def test_no_answer_breaks_the_verifier(text: str) -> None:
    """Whatever comes: a verdict that is not ACCEPTED, or AuthMalformed."""
    full = f'Digest username="u", realm="our realm", nonce="{text}", uri="{URI}", response="{text}", '
    full += f'cnonce="{text}", qop=auth, nc=00000001, algorithm=SHA-256'
    for value in (text, "Digest " + text, full):
        try:
            found = verifier().verify(value, METHOD, URI, 0.0)
        except AuthMalformed:
            continue
        assert found.verdict is not Verdict.ACCEPTED


@given(st.text(max_size=20), st.text(max_size=20), st.sampled_from(ALGORITHMS))
def test_every_login_that_can_be_sent_is_accepted(user: str, password: str, algorithm: str) -> None:
    """Client and proxy agree on all of Unicode, or the client refuses before it sends."""
    try:
        scheme = Digest(user, password, uri=URI)
    except LocalWireError:
        return
    from protocol.octets import octets

    ha1 = {
        name: base_hash(name, octets(user, "user"), b"r", octets(password, "password"))
        for name in ("MD5", "SHA-256", "SHA-512-256")
    }
    proxy = DigestVerifier("r", lambda name, _: ha1[name], secret=SECRET, algorithms=(algorithm,))
    found = proxy.verify(login(proxy, scheme, 0.0), METHOD, URI, 0.0)
    assert Verdict.ACCEPTED is found.verdict
    scheme.conclude([], found.info)


@pytest.mark.parametrize("options", [{"secret": b"short"}, {"secret": SECRET, "algorithms": ["X"]}])
def test_a_verifier_that_cannot_be(options) -> None:  # type: ignore[no-untyped-def]
    """A mistake in its settings is told at once."""
    with pytest.raises(LocalWireError):
        DigestVerifier("r", lambda *_: None, **options)
