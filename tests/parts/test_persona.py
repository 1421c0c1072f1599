"""Personas as data: what a file may hold, which reply a reason gets, and how a head is read."""

import pytest

from relay.failure import SettingsError
from relay.persona import load, names, parse
from relay.persona_gate import PersonaGate
from relay.persona_reply import PersonaRefusal, reason_of
from relay.persona_words import ODDITIES
from relay.refusal import Refusal, denied, login_required, malformed
from relay.refused import Refused
from relay.route import Endpoint

LEAST = 'habits = {}\n[[reply]]\nreasons = ["other"]\nstatus_line = "HTTP/1.1 500 No"\n'


def test_every_persona_can_be_read_and_says_where_it_is_from() -> None:
    """Captures or documents: nobody takes the one for the other."""
    found = [load(name) for name in names()]
    assert {"squid-5", "squid-6", "tinyproxy", "apache", "privoxy"} <= {persona.name for persona in found}
    assert [] == [persona.name for persona in found if not persona.summary]
    sources = {persona.source.partition(" ")[0] for persona in found}
    assert {"captures", "from"} == sources


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("reply = [", "persona x: "),
        ("nonsense = 1\n" + LEAST, "unknown key 'nonsense'; expected established"),
        (LEAST.replace("other", "who"), "'who'; expected one of denied, dns"),
        (LEAST.replace('"other"', '"dns"'), "no reply has the reason 'other'"),
        (LEAST.replace("habits = {}", "habits = {odd = 'accept'}"), "habits.odd = 'accept' is not known"),
        (LEAST.replace("habits = {}", "habits = {tls = 'maybe'}"), "habits.tls = 'maybe' is not known"),
        (LEAST.replace("habits = {}", "limits = {head_bytes = 0}"), "limits.head_bytes = 0; expected"),
        (LEAST.replace("habits = {}", "fault = [{name = 'x'}]"), "there is no fault 'x'"),
        (LEAST + "more = 1\n", "reply 1: unknown key 'more'; expected body"),
        (LEAST.replace("500 No", "500 No\\r\\nX: y"), "expected lines of printable text"),
    ],
)  # fmt: skip
def test_what_a_persona_may_not_hold(text: str, expected: str) -> None:
    """The message names the persona, the key, and what was expected."""
    with pytest.raises(SettingsError) as caught:
        parse(text, "x")
    assert str(caught.value).startswith("persona x")
    assert expected in str(caught.value)


def test_an_unknown_persona_is_named() -> None:
    """No path gets in by a name."""
    with pytest.raises(SettingsError, match=r"there is no '\.\./x'; expected one of 3proxy, apache"):
        load("../x")


@pytest.mark.parametrize(
    ("refusal", "status"),
    [
        (denied("port 25 is not allowed"), b"403 Access violation"),
        (denied("the host is on the list"), b"403 Filtered"),
        (Refusal(502, "dns_error", "no such name"), b"500 Unable to connect"),
        (Refusal(502, "connection_refused", "refused"), b"500 Unable to connect"),
        (Refusal(407, "http_request_denied", "log in"), b"407 Proxy Authentication Required"),
        (malformed("nonsense"), b"400 Bad Request"),
    ],
)  # fmt: skip
def test_a_reason_gets_its_reply_or_the_next_wider_one(refusal: Refusal, status: bytes) -> None:
    """tinyproxy tells a port from a host, and a name from nothing."""
    if refusal.status == 407:
        refusal = Refusal(407, "x", "log in", (("Proxy-Authenticate", "Basic realm=here"),))
    wire = load("tinyproxy").reply(refusal).wire(refusal)
    assert wire.partition(b"\r\n")[0].endswith(status)
    if refusal.status == 407:
        assert b"\r\nProxy-Authenticate: Basic realm=here\r\n" in wire


def test_words_from_outside_are_no_html() -> None:
    """What goes into a page is escaped."""
    persona = parse(LEAST + 'body = "<p>{words}</p>"\n', "x")
    wire = persona.replies["other"].wire(malformed("<script>"))
    assert wire.endswith(b"\r\n\r\n<p>&lt;script&gt;</p>")


ACCEPTED = {
    "lf_only": b"CONNECT h:1 HTTP/1.1\nHost: h\n\n",
    "leading_crlf": b"\r\n\r\nCONNECT h:1 HTTP/1.1\r\nHost: h\r\n\r\n",
    "bad_version": b"CONNECT h:1 HTTP/9.9\r\nHost: h\r\n\r\n",
    "no_version": b"CONNECT h:1\r\n\r\n",
    "lower_method": b"connect h:1 HTTP/1.0\r\n\r\n",
    "userinfo": b"CONNECT u:p@h:1 HTTP/1.0\r\n\r\n",
    "path": b"CONNECT h:1/x HTTP/1.0\r\n\r\n",
    "absolute_uri": b"CONNECT http://h:1/ HTTP/1.0\r\n\r\n",
    "no_colon": b"CONNECT h:1 HTTP/1.0\r\ngarbage\r\n\r\n",
    "space_before_colon": b"CONNECT h:1 HTTP/1.0\r\nX : y\r\n\r\n",
    "nul": b"CONNECT h:1 HTTP/1.0\r\nX: a\0b\r\n\r\n",
    "two_hosts": b"CONNECT h:1 HTTP/1.1\r\nHost: h\r\nHost: i\r\n\r\n",
    "no_host": b"CONNECT h:1 HTTP/1.1\r\n\r\n",
    "body": b"CONNECT h:1 HTTP/1.0\r\nContent-Length: 5\r\n\r\n",
}


@pytest.mark.parametrize("oddity", ACCEPTED)
@pytest.mark.parametrize("in_pieces", [False, True])
def test_a_habit_decides_what_becomes_of_an_oddity(oddity: str, in_pieces: bool) -> None:
    """Accepted it means h:1, whole or byte by byte; refused it gets the reason that the habit names."""
    request = ACCEPTED[oddity]
    pieces = [request[n : n + 1] for n in range(len(request))] if in_pieces else [request]
    gate = PersonaGate(parse(LEAST.replace("habits = {}", f"habits = {{{oddity} = 'accept'}}"), "x"))
    for piece in pieces:
        gate.receive(piece)
    assert gate.head is not None
    assert (None, Endpoint("h", 1)) == (gate.verdict, gate.head.to)
    gate = PersonaGate(parse(LEAST.replace("habits = {}", f"habits = {{{oddity} = 'not-http'}}"), "x"))
    try:
        for piece in pieces:
            gate.receive(piece)
    except Refused as error:
        gate.verdict = error.refusal
    assert isinstance(gate.verdict, PersonaRefusal)
    assert "not-http" == gate.verdict.reason


@pytest.mark.parametrize(
    ("target", "habits", "expected"),
    [
        ("h", "no_port = '443'", Endpoint("h", 443)), ("h:", "empty_port = '443'", Endpoint("h", 443)),
        ("h:abc", "port_word = '443'", Endpoint("h", 443)),
        ("h:70536", "port_over = 'wrap'", Endpoint("h", 5000)),
        ("::1:5", "bare_ipv6 = 'accept'", Endpoint("::1", 5)), ("[::1]:5", "", Endpoint("::1", 5)),
        ("0x7f000001:5", "", Endpoint("127.0.0.1", 5)), ("127.1:5", "", Endpoint("127.0.0.1", 5)),
        ("h:65536", "port_over = 'wrap'", "port-denied"), ("h:0", "", "malformed"), ("h", "", "malformed"),
        ("h:-1", "port_negative = 'denied'", "denied"), (f"{'a' * 300}:5", "", "dns"),
    ],
)  # fmt: skip
def test_targets_are_read_with_a_personas_eyes(target: str, habits: str, expected: Endpoint | str) -> None:
    """Ports that are left out, wrap round, or are no numbers."""
    gate = PersonaGate(parse(LEAST.replace("habits = {}", f"habits = {{{habits}}}"), "x"))
    gate.receive(f"CONNECT {target} HTTP/1.0\r\n\r\n".encode())
    assert gate.head is not None
    if isinstance(expected, Endpoint):
        assert expected == gate.head.to
    else:
        assert isinstance(gate.verdict, PersonaRefusal)
        assert expected == gate.verdict.reason


def test_silence_keeps_nothing() -> None:
    """A persona that is silent reads on, and holds none of it."""
    gate = PersonaGate(parse(LEAST.replace("habits = {}", "habits = {tls = 'silence'}"), "x"))
    for _ in range(10):
        assert b"" == gate.receive(b"\x16\x03" * 100_000)
    assert (None, False, b"") == (gate.head, gate.is_idle, gate.take_early())


def test_a_head_has_a_limit_whatever_the_persona_says() -> None:
    """A persona without limits of its own does not fill our memory."""
    gate = PersonaGate(parse(LEAST, "x"))

    def flood() -> None:
        for _ in range(100):
            gate.receive(b"X" * 100_000)

    with pytest.raises(Refused):
        flood()


def test_every_oddity_is_told_in_the_manual() -> None:
    """docs/personas.md lists what a habit can be about."""
    from pathlib import Path

    text = (Path(__file__).parents[2] / "docs" / "personas.md").read_text()
    assert [] == [oddity for oddity in ODDITIES if f"`{oddity}`" not in text]


def test_a_reason_that_is_kept_back() -> None:
    """`{words}` of a page are those that the client may know."""
    persona = parse(LEAST + 'body = "{words}"\n', "x")
    for tells in (True, False):
        refusal = denied("a secret reason", tells=tells)
        assert tells == (b"secret" in persona.reply(refusal).wire(refusal))


@pytest.mark.parametrize(("was_wrong", "reason"), [(False, "login"), (True, "login-wrong")])
def test_a_login_is_no_denied_target(was_wrong: bool, reason: str) -> None:
    """What RFC 9209 names alike are two things for a persona, and a wrong login is a third."""
    assert reason == reason_of(login_required("no", ["Basic"], was_wrong=was_wrong))
