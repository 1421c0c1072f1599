"""What ConnectHandshake sends, and refuses to send."""

import pytest

from protocol.connect import ConnectHandshake
from protocol.errors import LocalWireError
from protocol.request import checked_value


def test_the_request_is_one_whole_head() -> None:
    """Host comes first and is the target, own headers keep order and spelling, nothing announces a body."""
    handshake = ConnectHandshake(
        "dest.example:5000", headers=[("x-TWO", "2"), ("X-One", "1 a")], user_agent="Mozilla/5.0 (X11)"
    )
    assert (
        b"CONNECT dest.example:5000 HTTP/1.1\r\n"
        b"Host: dest.example:5000\r\n"
        b"User-Agent: Mozilla/5.0 (X11)\r\n"
        b"x-TWO: 2\r\n"
        b"X-One: 1 a\r\n"
        b"\r\n"
    ) == handshake.data_to_send()
    assert b"" == handshake.data_to_send()


def test_nothing_is_sent_that_was_not_asked_for() -> None:
    """Without headers and user agent the head is its two lines."""
    assert (
        b"CONNECT [::1]:5000 HTTP/1.1\r\nHost: [::1]:5000\r\n\r\n"
        == ConnectHandshake("[::1]:5000").data_to_send()
    )


@pytest.mark.parametrize(
    "target",
    [
        "a:1",
        "a:65535",
        "10.0.0.1:443",
        "xn--bcher-kva.example:5000",
        "a_b.c:5000",
        "[2001:db8::1]:5000",
        "[::ffff:1.2.3.4]:5",
    ],
)
def test_authority_forms_are_accepted(target: str) -> None:
    """Names, IPv4 addresses and IPv6 addresses in brackets, each with a port, go out as given."""
    assert ConnectHandshake(target).data_to_send().startswith(f"CONNECT {target} HTTP/1.1\r\n".encode())


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("", "is not HOST:PORT"),
        ("dest.example", "is not HOST:PORT"),
        (":5000", "no host name"),
        ("dest.example:", "is not HOST:PORT"),
        ("dest.example:0", "not within 1 to 65535"),
        ("dest.example:65536", "not within 1 to 65535"),
        ("dest.example:999999", "is not HOST:PORT"),
        ("dest.example:+1", "is not HOST:PORT"),
        ("dest.example:http", "is not HOST:PORT"),
        ("2001:db8::1:5000", "is not HOST:PORT"),
        ("[::1]", "is not HOST:PORT"),
        ("[::1]5000", "is not HOST:PORT"),
        ("[[::1]]:5000", "is not HOST:PORT"),
        ("[1.2.3.4]:5000", "no IPv6 address"),
        ("[]:5000", "no IPv6 address"),
        ("[fe80::1%eth0]:5000", "has a zone"),
        ("user@dest.example:5000", "no host name"),
        ("http://dest.example:5000", "is not HOST:PORT"),
        ("dest.example/x:5000", "no host name"),
        ("b\u00fccher.example:5000", "only visible ASCII"),
        ("dest.example:\u0665000", "only visible ASCII"),
        ("dest example:5000", "only visible ASCII"),
        ("dest.example:5000\r\nX: y", "only visible ASCII"),
        ("dest.example:5000\n", "only visible ASCII"),
        ("dest\x00.example:5000", "only visible ASCII"),
        ("dest\x7f.example:5000", "only visible ASCII"),
    ],
)  # fmt: skip
def test_other_targets_are_refused_before_a_byte_is_made(target: str, words: str) -> None:
    """What is not an authority-form with a port is refused, and what could end the line."""
    with pytest.raises(LocalWireError, match=words):
        ConnectHandshake(target)


@pytest.mark.parametrize(
    "bad", ["\r\nX: y", "\n", "\r", "\x00", "\t", "\x1b", "\x7f", "\x80", "\u00e9", "\u2028"]
)
def test_no_header_can_end_its_line(bad: str) -> None:
    """Names and values with a control or non-ASCII character are refused; no error quotes a value."""
    for headers, user_agent in (
        ([(f"X{bad}", "y")], None),
        ([("X", f"secret{bad}y")], None),
        ([], f"secret{bad}y"),
    ):
        with pytest.raises(LocalWireError) as refusal:
            ConnectHandshake("a:1", headers=headers, user_agent=user_agent)
        assert "secret" not in str(refusal.value)


@pytest.mark.parametrize("name", ["", "a b", "a:", "(a)", "a/b"])
def test_header_names_are_tokens(name: str) -> None:
    """A header name that a proxy could read in another way is refused."""
    with pytest.raises(LocalWireError, match="is not a token"):
        ConnectHandshake("a:1", headers=[(name, "y")])


@pytest.mark.parametrize("name", ["Host", "CONTENT-LENGTH", "Transfer-Encoding", "proxy-authorization"])
def test_headers_that_are_not_the_callers_are_refused(name: str) -> None:
    """Target, body and login have their own ways; a header must not contradict them."""
    with pytest.raises(LocalWireError, match=f"header {name} cannot be set"):
        ConnectHandshake("a:1", headers=[(name, "0")])


def test_one_user_agent_is_sent() -> None:
    """The user agent is given once, whichever way."""
    with pytest.raises(LocalWireError, match="set twice"):
        ConnectHandshake("a:1", headers=[("user-agent", "x")], user_agent="y")


@pytest.mark.parametrize("value", [" x", "x ", " "])
def test_white_space_round_a_value_is_refused(value: str) -> None:
    """It would not arrive: every reader takes it off."""
    with pytest.raises(LocalWireError, match="would be lost"):
        checked_value(value, "header X")
