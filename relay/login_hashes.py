"""What a users file keeps for Digest and NTLM. Each is as good as the password, for its own scheme.

`$digest-md5$REALM$HASH` and `$digest-sha-256$REALM$HASH` are H(user:realm:password) of RFC 7616 section
3.4.2, REALM in base64 without padding; `$nt$HASH` is the NT hash of [MS-NLMP] section 3.3.1, MD4 of the
password in UTF-16. Hashes are in lower-case hexadecimal. None has a salt: whoever reads one can log in with
it, and can guess passwords fast.
"""

import base64
import re
from collections.abc import Sequence
from typing import Final

from protocol.digest_hash import base_hash

NT: Final = "nt"
DIGESTS: Final = {"SHA-256": "digest-sha-256", "MD5": "digest-md5"}
"""The algorithms of Digest that a users file can serve, strongest first, and how it names them."""

DEFAULT_REALM: Final = "proxy"
MAX_REALM_CHARACTERS: Final = 200

_REALM = r"([A-Za-z0-9+/]{1,1000})"
FORMS: Final = {
    NT: re.compile(r"\$nt\$([0-9a-f]{32})\Z"),
    "digest-md5": re.compile(rf"\$digest-md5\${_REALM}\$([0-9a-f]{{32}})\Z"),
    "digest-sha-256": re.compile(rf"\$digest-sha-256\${_REALM}\$([0-9a-f]{{64}})\Z"),
}
"""How the verifiers are spelt, by kind."""


def kind_of(verifier: str) -> str:
    """What tells the verifiers of one user apart: their kind, for Digest with the realm."""
    kind = verifier.split("$")[1]
    return verifier.rpartition("$")[0].removeprefix("$") if kind in DIGESTS.values() else kind


def digest_kind(algorithm: str, realm: str) -> str:
    """As `kind_of` gives it, for one of DIGESTS and the realm that users are asked for."""
    text = base64.b64encode(realm.encode("utf-8")).decode("ascii").rstrip("=")
    return f"{DIGESTS[algorithm]}${text}"


def digest_verifiers(user: str, realm: str, password: str) -> Sequence[str]:
    """One for each algorithm."""
    parts = [part.encode("utf-8", "surrogatepass") for part in (user, realm, password)]
    return [f"${digest_kind(name, realm)}${base_hash(name, *parts)}" for name in DIGESTS]


def nt_verifier(password: str) -> str:
    """The NT hash. OpenSSL 3 has MD4 no more; pyspnego has it in Python, under a name that is not public."""
    from spnego._ntlm_raw.md4 import md4

    return f"${NT}${md4(password.encode('utf-16-le', 'surrogatepass')).hex()}"


def hash_in(verifier: str) -> str:
    """The hash at the end of a verifier."""
    return verifier.rpartition("$")[2]
