"""SOCKS as a client: every byte of every version, every reply code, at every cut."""

import pytest

from protocol.errors import HeadMalformed, LocalWireError, StreamTruncated, WireError
from protocol.socks import SocksHandshake, SocksOutcome

GRANTED_5 = b"\x05\x00\x00\x01\x7f\x00\x00\x01\x13\x88"
GRANTED_5_NAME = b"\x05\x00\x00\x03\x04name\x13\x88"
GRANTED_5_IPV6 = b"\x05\x00\x00\x04" + bytes(16) + b"\x13\x88"
NAME = b"\x03\x0cdest.example\x13\x88"


def played(shake: SocksHandshake, *answers: bytes, cut: int | None = None) -> list[bytes]:
    """What is sent, when each answer comes whole, or cut in two at `cut`."""
    sent = [shake.data_to_send()]
    for answer in answers:
        for piece in [answer] if cut is None else [answer[:cut], answer[cut:]]:
            if piece:
                shake.receive_data(piece)
        if more := shake.data_to_send():
            sent.append(more)
    return sent


@pytest.mark.parametrize("cut", range(30))
@pytest.mark.parametrize("granted", [GRANTED_5, GRANTED_5_NAME, GRANTED_5_IPV6])
def test_version_5_with_a_login(granted: bytes, cut: int) -> None:
    """Greeting, login, request: each only when it is its turn; bytes behind the answer are the tunnel's."""
    shake = SocksHandshake(5, "dest.example", 5000, user="bob", password="sécret")
    sent = played(shake, b"\x05\x02", b"\x01\x00", granted + b"early", cut=cut)
    assert [
        b"\x05\x02\x00\x02",
        b"\x01\x03bob\x07s\xc3\xa9cret",
        b"\x05\x01\x00" + NAME,
    ] == sent
    assert shake.reply is not None
    assert (True, SocksOutcome.GRANTED) == (shake.reply.is_success, shake.reply.outcome)
    assert (b"early", 1) == (shake.leftover, shake.credentials_sent)


def test_the_login_stays_here_when_nobody_asks_for_it() -> None:
    """A server that picks "no login" never sees the password."""
    shake = SocksHandshake(5, "::1", 5000, user="bob", password="secret")
    sent = played(shake, b"\x05\x00", GRANTED_5)
    assert [b"\x05\x02\x00\x02", b"\x05\x01\x00\x04" + bytes(15) + b"\x01\x13\x88"] == sent
    assert 0 == shake.credentials_sent


def test_an_empty_password_is_one() -> None:
    """`user:` logs in with an empty password, it does not go without a login."""
    shake = SocksHandshake(5, "192.0.2.1", 5000, user="bob", password="")
    assert b"\x01\x03bob\x00" == played(shake, b"\x05\x02")[1]


@pytest.mark.parametrize(
    ("code", "outcome"),
    [
        (1, SocksOutcome.FAILED),
        (2, SocksOutcome.DENIED),
        (3, SocksOutcome.NETWORK_UNREACHABLE),
        (4, SocksOutcome.HOST_UNREACHABLE),
        (5, SocksOutcome.REFUSED),
        (6, SocksOutcome.EXPIRED),
        (7, SocksOutcome.NO_CONNECT),
        (8, SocksOutcome.NO_SUCH_ADDRESS),
        (9, SocksOutcome.FAILED),
        (255, SocksOutcome.FAILED),
    ],
)
def test_every_reply_code_of_version_5(code: int, outcome: SocksOutcome) -> None:
    """Known at once, also where the rest of the reply is left out."""
    shake = SocksHandshake(5, "dest.example", 5000)
    played(shake, b"\x05\x00", bytes([5, code]))
    assert shake.reply is not None
    assert (outcome, code, False) == (shake.reply.outcome, shake.reply.code, shake.reply.is_success)


@pytest.mark.parametrize("cut", range(1, 13))
@pytest.mark.parametrize(
    ("host", "request_bytes"),
    [
        ("192.0.2.1", b"\x04\x01\x13\x88\xc0\x00\x02\x01bob\x00"),
        ("dest.example", b"\x04\x01\x13\x88\x00\x00\x00\x01bob\x00dest.example\x00"),
    ],
)
def test_version_4_and_4a(host: str, request_bytes: bytes, cut: int) -> None:
    """An address goes as one (4), a name as one (4a); early bytes are kept."""
    shake = SocksHandshake(4, host, 5000, user="bob")
    assert [request_bytes] == played(shake, b"\x00\x5a" + bytes(6) + b"early", cut=cut)
    assert shake.reply is not None
    assert shake.reply.is_success
    assert b"early" == shake.leftover


@pytest.mark.parametrize(
    ("code", "outcome"),
    [(91, SocksOutcome.FAILED), (92, SocksOutcome.NO_IDENT), (93, SocksOutcome.OTHER_IDENT)],
)
def test_every_reply_code_of_version_4(code: int, outcome: SocksOutcome) -> None:
    """Each says another thing."""
    shake = SocksHandshake(4, "dest.example", 5000)
    played(shake, bytes([0, code]) + bytes(6))
    assert shake.reply is not None
    assert (outcome, code) == (shake.reply.outcome, shake.reply.code)


def test_refused_logins() -> None:
    """No method, and a wrong password, are two things."""
    shake = SocksHandshake(5, "dest.example", 5000, user="bob", password="wrong")
    played(shake, b"\x05\x02", b"\x01\x01")
    assert shake.reply is not None
    assert SocksOutcome.LOGIN_REFUSED is shake.reply.outcome
    shake.redialled()
    assert (False, b"\x05\x02\x00\x02") == (shake.done, shake.data_to_send())
    shake.receive_data(b"\x05\xff")
    assert shake.reply is not None
    assert SocksOutcome.NO_METHOD is shake.reply.outcome


@pytest.mark.parametrize(
    ("version", "answers", "words"),
    [
        (5, [b"HTTP/1.1 400 Bad Request\r\n"], "an HTTP reply"),
        (5, [b"SSH-2.0-x\r\n"], "an SSH banner"),
        (5, [b"\x05\x01"], "method 1, which was not offered"),
        (5, [b"\x05\x02"], "method 2, which was not offered"),
        (5, [b"\x05\x00\x05\x00"], "answered before it was asked"),
        (5, [b"\x05\x00", b"\x05\x00\x00\x02\x00"], "an address of type 2"),
        (4, [b"HTTP/1.1 400"], "an HTTP reply"),
        (4, [b"\x00\x00" + bytes(6)], "answered 0; expected 90 to 93"),
    ],
)
def test_what_is_no_socks(version: int, answers: list[bytes], words: str) -> None:
    """Bytes that cannot be an answer end it at once, and are named."""
    shake = SocksHandshake(version, "dest.example", 5000)
    with pytest.raises(HeadMalformed, match=words):
        played(shake, *answers)


def test_an_end_in_the_middle() -> None:
    """It says how far the answer had come."""
    shake = SocksHandshake(5, "dest.example", 5000)
    played(shake, b"\x05\x00", GRANTED_5[:4])
    with pytest.raises(StreamTruncated, match="after 4 bytes"):
        shake.receive_data(b"")


@pytest.mark.parametrize(
    ("version", "options"),
    [
        (5, {"host": "x", "user": "u" * 256}),
        (5, {"host": "x", "user": "u", "password": "p" * 256}),
        (5, {"host": "x" * 256}),
        (4, {"host": "x", "user": "u", "password": "guess7"}),
        (4, {"host": "x", "user": "nul\0guess7"}),
        (4, {"host": "::1"}),
    ],
)
def test_what_cannot_be_carried(version: int, options: dict[str, str]) -> None:
    """Refused before a byte is sent, and no secret is quoted."""
    with pytest.raises(LocalWireError) as caught:
        SocksHandshake(version, port=5000, **options)  # type: ignore[arg-type]
    assert "guess7" not in str(caught.value)
    assert isinstance(caught.value, WireError)
