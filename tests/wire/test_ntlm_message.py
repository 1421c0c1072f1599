"""Whom an NTLM message names: at every cut, and when its fields point anywhere."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.errors import AuthMalformed
from protocol.ntlm_message import (
    AUTHENTICATE,
    MAX_NAME_BYTES,
    ClaimedAccount,
    answers_in_version_1,
    claimed_account,
    whole_negotiate,
)


def message(domain: bytes, user: bytes, flags: int = 1, user_at: int | None = None) -> bytes:
    fields = struct.pack("<HHI", len(domain), len(domain), 64)
    fields += struct.pack("<HHI", len(user), len(user), 64 + len(domain) if user_at is None else user_at)
    return AUTHENTICATE + bytes(16) + fields + bytes(16) + struct.pack("<I", flags) + domain + user


LAB_ADA = message("LAB".encode("utf-16-le"), "ad\u00e4".encode("utf-16-le"))


def test_names_in_both_charsets() -> None:
    """UTF-16 with the flag for it, else the charset of western Windows; bare, and inside another token."""
    assert ClaimedAccount("LAB", "ad\u00e4") == claimed_account(LAB_ADA)
    assert ClaimedAccount("", "ad\u00e4") == claimed_account(message(b"", b"ad\xe4", 2))
    assert ClaimedAccount("LAB", "ad\u00e4") == claimed_account(b"\xa1\x81\x30" + LAB_ADA)


@pytest.mark.parametrize("token", [b"", b"NTLMSSP\0\x01\0\0\0" + bytes(40), AUTHENTICATE[:-1], bytes(100)])
def test_tokens_without_a_name(token: bytes) -> None:
    """No message of that type: nobody is named."""
    assert claimed_account(token) is None


@pytest.mark.parametrize("size", range(len(AUTHENTICATE), len(LAB_ADA)))
def test_every_cut(size: int) -> None:
    """One that ends too early is malformed."""
    with pytest.raises(AuthMalformed):
        claimed_account(LAB_ADA[:size])


def test_names_beyond_limits() -> None:
    """Too long, outside the message, half a character."""
    for wrong in (
        message(b"", b"x" * (MAX_NAME_BYTES + 2)), message(b"", b"ab", user_at=2**32 - 1),
        message(b"", b"abc"),
    ):  # fmt: skip
        with pytest.raises(AuthMalformed):
            claimed_account(wrong)


def test_which_version_answers() -> None:
    """By the length of the response; what is no answer is of neither."""
    for size, is_old in ((0, True), (24, True), (60, False)):
        fields = bytes(8) + struct.pack("<HHI", size, size, 64) + bytes(40)
        assert is_old == answers_in_version_1(b"\x60\x48" + AUTHENTICATE + fields)
    assert [False] * 3 == [answers_in_version_1(token) for token in (b"", AUTHENTICATE, FLAGS + bytes(60))]


FLAGS = b"NTLMSSP\0\x01\0\0\0\x02\x02\0\0"


@pytest.mark.parametrize("size", range(len(FLAGS), 32))
def test_a_first_message_that_ends_behind_its_flags(size: int) -> None:
    """openvpn leaves out the names, and the fields that say where they are."""
    assert FLAGS + bytes(16) == whole_negotiate(FLAGS + b"x" * (size - len(FLAGS)))


@pytest.mark.parametrize("token", [b"", FLAGS[:-1], FLAGS + bytes(16), AUTHENTICATE + bytes(8), b"\x60" * 20])
def test_other_tokens_are_left_alone(token: bytes) -> None:
    """Whole ones, those without flags, other messages, SPNEGO."""
    assert token == whole_negotiate(token)


@given(st.binary(max_size=200))
def test_no_message_breaks_it(data: bytes) -> None:
    """A name, none, or AuthMalformed."""
    try:
        found = claimed_account(AUTHENTICATE + data)
    except AuthMalformed:
        return
    assert isinstance(found, ClaimedAccount)
