"""NTLM messages of clients: whom one is from, and one that is cut short ([MS-NLMP] section 2.2.1)."""

import struct
from dataclasses import dataclass
from typing import Final

from protocol.errors import AuthMalformed

AUTHENTICATE: Final = b"NTLMSSP\0" + struct.pack("<I", 3)
MAX_NAME_BYTES: Final = 1024
"""Longer than any name of a user or domain: 256 characters, four bytes each."""

_NEGOTIATE: Final = b"NTLMSSP\0" + struct.pack("<I", 1)
_NEGOTIATE_FLAGS_END, _NEGOTIATE_BYTES = 16, 32
_UNICODE: Final = 1
_NT_RESPONSE_AT, _DOMAIN_AT, _USER_AT, _FLAGS_AT = 20, 28, 36, 60
# A response of version 2 is longer: 16 bytes of proof, and what they prove.
_VERSION_1_BYTES: Final = 24


@dataclass(frozen=True)
class ClaimedAccount:
    """What the client calls itself; `domain` is "" when it names none."""

    domain: str
    user: str


def whole_negotiate(token: bytes) -> bytes:
    """A bare NEGOTIATE_MESSAGE that ends behind its flags, with the empty names that it left out.

    Windows 9x sent it so, openvpn still does, and Windows and Samba take it; pyspnego wants the names. Any
    other token is returned as it is.
    """
    if token.startswith(_NEGOTIATE) and _NEGOTIATE_FLAGS_END <= len(token) < _NEGOTIATE_BYTES:
        return token[:_NEGOTIATE_FLAGS_END].ljust(_NEGOTIATE_BYTES, b"\0")
    return token


def answers_in_version_1(token: bytes) -> bool:
    """Whether a bare or wrapped AUTHENTICATE_MESSAGE proves the password as NTLM version 1 or LM do."""
    start = token.find(AUTHENTICATE)
    if start < 0 or len(token) < start + _FLAGS_AT:
        return False
    (length,) = struct.unpack_from("<H", token, start + _NT_RESPONSE_AT)
    return bool(length <= _VERSION_1_BYTES)


def claimed_account(token: bytes) -> ClaimedAccount | None:
    """Find the AUTHENTICATE_MESSAGE in a token, bare or inside SPNEGO, and read whom it names.

    Returns: None when there is none.
    Raises:  AuthMalformed when it ends too early, or its names cannot be read.
    """
    start = token.find(AUTHENTICATE)
    if start < 0:
        return None
    message = token[start:]
    if len(message) < _FLAGS_AT + 4:
        raise AuthMalformed(f"the NTLM message has {len(message)} bytes; expected at least {_FLAGS_AT + 4}")
    (flags,) = struct.unpack_from("<I", message, _FLAGS_AT)
    # The charset of clients without Unicode is not told; this is what pyspnego reads too
    encoding = "utf-16-le" if flags & _UNICODE else "cp1252"
    return ClaimedAccount(_text(message, _DOMAIN_AT, encoding), _text(message, _USER_AT, encoding))


def _text(message: bytes, field_at: int, encoding: str) -> str:
    length, _, offset = struct.unpack_from("<HHI", message, field_at)
    if length > MAX_NAME_BYTES or offset + length > len(message):
        raise AuthMalformed(f"a name in the NTLM message has {length} bytes at {offset} of {len(message)}")
    try:
        return message[offset : offset + length].decode(encoding)
    except UnicodeDecodeError:
        raise AuthMalformed("a name in the NTLM message cannot be read") from None
