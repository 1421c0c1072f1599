"""The hashes of Digest, which client and proxy compute alike (RFC 7616 section 3.4)."""

import hashlib
import hmac
from typing import Final

ALGORITHMS: Final = ("SHA-512-256", "SHA-512-256-SESS", "SHA-256", "SHA-256-SESS", "MD5", "MD5-SESS")
"""In upper case, strongest first."""

_NAMES: Final = {"MD5": "md5", "SHA-256": "sha256", "SHA-512-256": "sha512_256"}


def hash_of(algorithm: str, data: bytes) -> str:
    """H(data) in lower-case hexadecimal; `algorithm` is one of ALGORITHMS, in any case."""
    name = _NAMES[algorithm.upper().removesuffix("-SESS")]
    return hashlib.new(name, data, usedforsecurity=False).hexdigest()


def base_hash(algorithm: str, user: bytes, realm: bytes, password: bytes) -> str:
    """H(user:realm:password): what servers keep in place of the password (htdigest's third column)."""
    return hash_of(algorithm, user + b":" + realm + b":" + password)


def digest_of(
    algorithm: str,
    ha1: str,
    *,
    nonce: str,
    count: str,
    cnonce: str,
    qop: str | None,
    method: str,
    uri: str,
) -> str:
    """The response to a challenge, or with method "" the proxy's rspauth.

    Args:
        ha1: as `base_hash` gives it; a -sess algorithm hashes the nonces into it here.
        count: nc as sent, 8 hexadecimal digits.
        qop: "auth", or None for RFC 2069.
    """
    if algorithm.upper().endswith("-SESS"):
        ha1 = hash_of(algorithm, f"{ha1}:{nonce}:{cnonce}".encode("latin-1"))
    ha2 = hash_of(algorithm, f"{method}:{uri}".encode("latin-1"))
    middle = nonce if qop is None else f"{nonce}:{count}:{cnonce}:{qop}"
    return hash_of(algorithm, f"{ha1}:{middle}:{ha2}".encode("latin-1"))


def is_equal(expected: str, given: str) -> bool:
    """Compare two hexadecimal hashes in constant time, in any case."""
    return hmac.compare_digest(expected.lower().encode(), given.lower().encode("utf-8", "replace"))
