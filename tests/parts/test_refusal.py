"""What a refusal looks like on the wire, and which one each failure becomes."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.failure import DialFailed, Failure, Reason, Stage, TimedOut
from relay.refusal import (
    Refusal,
    denied,
    malformed,
    not_for_a_proxy,
    not_implemented,
    other_version,
    too_large,
    too_slow,
    unreachable,
    went_in_a_circle,
)

PROXY_STATUS = re.compile(r'framework-relay; error=[a-z_]+; details="(?:[ !#-\[\]-~]|\\["\\])*"')


@given(st.text())
def test_any_words_make_a_structured_field(words: str) -> None:
    """Proxy-Status stays an item with a token and a string (RFC 8941), and one line, whatever the words."""
    refusal = malformed(words)
    assert PROXY_STATUS.fullmatch(refusal.proxy_status)
    assert 1 == refusal.reply(with_body=False).count(b"Proxy-Status: ")


def test_the_reply_is_whole() -> None:
    """Status line, date, reason, length, no caching, close; and the words for people."""
    reply = denied('port 25 is "not" allowed').reply()
    head, _, body = reply.partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    assert "HTTP/1.1 403 Forbidden" == lines[0]
    assert [
        "Date", "Proxy-Status", "Content-Type", "Content-Length", "Cache-Control", "Connection",
    ] == [line.partition(":")[0] for line in lines[1:]]  # fmt: skip
    assert (
        r'Proxy-Status: framework-relay; error=http_request_denied; details="port 25 is \"not\" allowed"'
        in lines
    )
    assert f"Content-Length: {len(body)}" in lines
    assert b'403 Forbidden\n\nframework-relay: port 25 is "not" allowed\n' == body


def test_without_a_body_the_head_is_the_same() -> None:
    """A reply to HEAD tells the length of what it leaves out."""
    refusal = malformed("x")
    whole, head = refusal.reply(), refusal.reply(with_body=False)
    assert re.findall(rb"Content-Length: \d+", whole) == re.findall(rb"Content-Length: \d+", head)
    assert head.endswith(b"\r\n\r\n")


@pytest.mark.parametrize(
    ("refusal", "status", "error"),
    [
        (malformed(""), 400, "http_request_error"),
        (denied(""), 403, "http_request_denied"),
        (not_for_a_proxy(), 405, "http_request_error"),
        (too_slow(""), 408, "http_request_error"),
        (too_large(""), 431, "http_request_error"),
        (not_implemented(""), 501, "proxy_internal_response"),
        (went_in_a_circle(), 502, "proxy_loop_detected"),
        (other_version(), 505, "proxy_internal_response"),
    ],
    ids=lambda value: getattr(value, "words", value),
)
def test_every_refusal_has_its_type(refusal: Refusal, status: int, error: str) -> None:
    """The error types are those of RFC 9209 section 2.3."""
    assert (status, error) == (refusal.status, refusal.error)


FAILURES = [
    (Stage.RESOLVE, Reason.NAME_NOT_FOUND, 502, "dns_error"),
    (Stage.RESOLVE, Reason.NAME_LOOKUP_FAILED, 502, "dns_error"),
    (Stage.RESOLVE, Reason.TIMED_OUT, 504, "dns_timeout"),
    (Stage.CONNECT, Reason.TIMED_OUT, 504, "connection_timeout"),
    (Stage.CONNECT, Reason.REFUSED, 502, "connection_refused"),
    (Stage.CONNECT, Reason.UNREACHABLE, 502, "destination_ip_unroutable"),
    (Stage.CONNECT, Reason.NOT_PERMITTED, 502, "destination_ip_unroutable"),
    (Stage.CONNECT, Reason.RESET, 502, "connection_terminated"),
    (Stage.CONNECT, Reason.NO_RESOURCES, 503, "proxy_internal_error"),
    (Stage.CONNECT, Reason.OTHER, 502, "destination_unavailable"),
]


@pytest.mark.parametrize(("stage", "reason", "status", "error"), FAILURES)
def test_every_failure_has_its_status(stage: Stage, reason: Reason, status: int, error: str) -> None:
    """The recommended codes of RFC 9209; the words are the failure's own."""
    failure = Failure(stage, reason, "a:80")
    raised = TimedOut(failure) if reason is Reason.TIMED_OUT else DialFailed(failure)
    refusal = unreachable(raised)
    assert (status, error, failure.sentence) == (refusal.status, refusal.error, refusal.words)


def test_every_reason_becomes_something() -> None:
    """No reason is forgotten."""
    for reason in Reason:
        assert 500 <= unreachable(DialFailed(Failure(Stage.CONNECT, reason, "a:80"))).status < 600
