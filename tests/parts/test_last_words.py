"""What a peer said before it was gone is heard, although our request could not be sent any more."""

import ssl

import pytest

from relay.hop_carrier import PlainCarrier
from relay.moves import Receive, Send, Unread, Walk

GONE = ConnectionResetError("gone")


def failed_send() -> Walk:
    """A carrier that is told that its Send has failed, and asks for what came before."""
    walk = PlainCarrier().send(b"request")
    assert Send(b"request") == next(walk)
    assert isinstance(walk.throw(GONE), Receive)
    return walk


def test_an_alert_is_the_failure() -> None:
    """TLS tells of a missing certificate behind the handshake, and closes: that, not the reset."""
    alert = ssl.SSLError("TLSV13_ALERT_CERTIFICATE_REQUIRED")
    with pytest.raises(ssl.SSLError) as caught:
        failed_send().throw(alert)
    assert alert is caught.value


def test_a_refusal_is_read() -> None:
    """A reply that came without a request is read as one to it."""
    walk = failed_send()
    assert Unread(b"HTTP/1.1 403 No\r\n\r\n") == walk.send(b"HTTP/1.1 403 No\r\n\r\n")
    with pytest.raises(StopIteration):
        walk.send(None)


@pytest.mark.parametrize("said", [b"", None])
def test_without_any_the_reset_is_the_failure(said: bytes | None) -> None:
    """Nothing came, or the connection had ended."""
    with pytest.raises(ConnectionResetError) as caught:
        failed_send().send(said)
    assert GONE is caught.value


def test_a_second_reset_tells_no_more() -> None:
    """The first is the one that counts."""
    with pytest.raises(ConnectionResetError) as caught:
        failed_send().throw(ConnectionResetError("again"))
    assert GONE is caught.value


def test_a_time_that_runs_out_is_no_last_word() -> None:
    """Only a peer that is gone is asked for its last words."""
    walk = PlainCarrier().send(b"request")
    next(walk)
    with pytest.raises(TimeoutError):
        walk.throw(TimeoutError())
