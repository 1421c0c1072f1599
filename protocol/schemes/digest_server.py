"""The proxy's side of Digest: challenges, and the check of what clients answer (RFC 7616)."""

import base64
import hmac
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final
from urllib.parse import unquote

from protocol.digest_hash import ALGORITHMS, base_hash, digest_of, is_equal
from protocol.errors import AuthMalformed, LocalWireError
from protocol.scheme import parse_parameters

MAX_NONCES: Final = 4096
"""Nonces whose count is kept. When there are more, older ones are stale; their clients ask once more."""

_SEAL_BYTES: Final = 16
_TIME_BYTES: Final = 8
_A_SECOND: Final = 1_000_000


class Verdict(Enum):
    """What a login came to."""

    ACCEPTED = "the user is known and has proved the password"
    STALE = "the proof may be right, but for a nonce that is no longer good: ask again with stale=true"
    REFUSED = "the user or the proof is wrong, or the proof was used before"


@dataclass(frozen=True)
class Verified:
    """The verdict on one Proxy-Authorization.

    Attributes:
        user: who it is, None unless accepted.
        info: the value for Proxy-Authentication-Info, which proves the proxy to the client.
    """

    verdict: Verdict
    user: str | None = None
    info: str | None = None


class DigestVerifier:
    """Challenges for one realm, and the check of answers to them.

    A nonce is the time and random octets, sealed, so that asking costs no memory; only for nonces that were
    used with success the count is kept, so that no proof is good twice.

    Args:
        realm: shown to users.
        ha1_of: gives what is kept of a user's password for an algorithm of ALGORITHMS without -SESS (as
            `base_hash` makes it), or None.
        secret: seals the nonces; at least 16 octets, the same in all processes that serve one address.
        life_seconds: how long a nonce is good.
        algorithms: offered, in this order; RFC 7616 section 3.7 has the strongest first.
        began_seconds: when its counts began; nonces from before that are stale.
    Raises: LocalWireError for a short secret or an unknown algorithm.
    """

    def __init__(
        self,
        realm: str,
        ha1_of: Callable[[str, str], str | None],
        *,
        secret: bytes,
        life_seconds: float = 300.0,
        algorithms: Sequence[str] = ("SHA-512-256", "SHA-256", "MD5"),
        began_seconds: float = float("-inf"),
    ) -> None:
        if len(secret) < 16:
            raise LocalWireError(f"the secret of nonces has {len(secret)} octets; expected at least 16")
        for name in algorithms:
            if name not in ALGORITHMS:
                raise LocalWireError(f"{name!r} is no algorithm of Digest; expected {', '.join(ALGORITHMS)}")
        self._realm = realm
        self._ha1_of = ha1_of
        self._secret = secret
        self._life_seconds = life_seconds
        self._algorithms = tuple(algorithms)
        self._counts: OrderedDict[str, int] = OrderedDict()
        self._floor_seconds = began_seconds  # nonces made before it may have been used, and were forgotten
        # A user who is not known takes the same time as one with a wrong password
        self._decoys = {name: base_hash(name, b"", b"", secret) for name in self._algorithms}

    def challenges(self, now_seconds: float, entropy: bytes, *, is_stale: bool = False) -> list[str]:
        """Return the values for Proxy-Authenticate, one for each algorithm.

        Args:
            now_seconds: any clock that does not go backwards, the same as for `verify`.
            entropy: 8 fresh random octets.
        """
        nonce = self._nonce(now_seconds, entropy)
        quoted = self._realm.replace("\\", "\\\\").replace('"', '\\"')
        end = ", stale=true" if is_stale else ""
        return [
            f'Digest realm="{quoted}", nonce="{nonce}", qop="auth", algorithm={name}, charset=UTF-8{end}'
            for name in self._algorithms
        ]

    def verify(
        self, authorization: str, method: str, uris: str | Sequence[str], now_seconds: float
    ) -> Verified:
        """Check a Proxy-Authorization (the whole value) of a request for `uris`, which all mean the same.

        Raises: AuthMalformed when it is no Digest that can be read; answer 400 or refuse.
        """
        scheme, _, rest = authorization.partition(" ")
        if scheme.lower() != "digest":
            raise AuthMalformed("the credentials are not of the scheme Digest")
        params = parse_parameters(rest)
        given = _Given.of(params)
        allowed = (uris,) if isinstance(uris, str) else uris
        is_ours = params.get("realm") == self._realm and given.algorithm in self._algorithms
        if given.uri not in allowed or not is_ours:
            return Verified(Verdict.REFUSED)
        proved = self._is_proved(given, method)
        if not proved:
            return Verified(Verdict.REFUSED)
        made_seconds = self._made_seconds(given.nonce)
        if made_seconds is None:
            # Another's, or of a process that is no more: the password is right (RFC 7616 section 3.3, stale)
            return Verified(Verdict.STALE)
        is_old = now_seconds - made_seconds > self._life_seconds or made_seconds < self._floor_seconds
        if is_old or not self._counts_on(given, made_seconds):
            return Verified(Verdict.STALE)
        return Verified(Verdict.ACCEPTED, given.user, self._info(given))

    def _is_proved(self, given: "_Given", method: str) -> bool:
        name = given.algorithm.removesuffix("-SESS")
        known = self._ha1_of(name, given.user)
        ha1 = known if known is not None else self._decoys[given.algorithm]
        return is_equal(given.digest(ha1, method), given.response) and known is not None

    def _info(self, given: "_Given") -> str:
        ha1 = self._ha1_of(given.algorithm.removesuffix("-SESS"), given.user) or ""
        proof = f'rspauth="{given.digest(ha1, "")}"'
        return f'{proof}, qop=auth, cnonce="{given.cnonce}", nc={given.count}'

    def _counts_on(self, given: "_Given", made_seconds: float) -> bool:
        """Whether the count of this nonce has risen; then it is kept."""
        count = int(given.count, 16)
        if count <= self._counts.get(given.nonce, 0):
            return False
        self._counts[given.nonce] = count
        self._counts.move_to_end(given.nonce)
        if len(self._counts) > MAX_NONCES:
            forgotten, _ = self._counts.popitem(last=False)
            self._floor_seconds = max(self._floor_seconds, self._made_seconds(forgotten) or made_seconds)
        return True

    def _nonce(self, now_seconds: float, entropy: bytes) -> str:
        made = int(now_seconds * _A_SECOND).to_bytes(_TIME_BYTES, "big", signed=True) + entropy
        return base64.urlsafe_b64encode(made + self._seal(made)).decode("ascii")

    def _made_seconds(self, nonce: str) -> float | None:
        """When we made this nonce; None: we did not."""
        try:
            data = base64.urlsafe_b64decode(nonce.encode("ascii"))
        except ValueError:
            return None
        made, seal = data[:-_SEAL_BYTES], data[-_SEAL_BYTES:]
        # Base64 has several spellings of some octets: each would have a count of its own
        is_ours = hmac.compare_digest(self._seal(made), seal)
        if not is_ours or base64.urlsafe_b64encode(data).decode("ascii") != nonce:
            return None
        return int.from_bytes(made[:_TIME_BYTES], "big", signed=True) / _A_SECOND

    def _seal(self, made: bytes) -> bytes:
        return hmac.digest(self._secret, made, "sha256")[:_SEAL_BYTES]


@dataclass(frozen=True)
class _Given:
    """The parameters of one answer."""

    user: str
    nonce: str
    uri: str
    response: str
    algorithm: str
    count: str
    cnonce: str

    @classmethod
    def of(cls, params: dict[str, str]) -> "_Given":
        missing = [name for name in ("nonce", "uri", "response", "cnonce", "nc") if name not in params]
        user = _user_of(params)
        if missing or user is None or params.get("qop") != "auth":
            raise AuthMalformed(f"the Digest lacks {', '.join(missing) or 'the user, or qop=auth'}")
        count = params["nc"]
        if len(count) != 8 or not all(digit in "0123456789abcdefABCDEF" for digit in count):
            raise AuthMalformed("the Digest's nc is not 8 hexadecimal digits")
        algorithm = params.get("algorithm", "MD5").upper()
        proof = params["nonce"], params["uri"], params["response"]
        return cls(user, *proof, algorithm, count, params["cnonce"])

    def digest(self, ha1: str, method: str) -> str:
        return digest_of(
            self.algorithm,
            ha1,
            nonce=self.nonce,
            count=self.count,
            cnonce=self.cnonce,
            qop="auth",
            method=method,
            uri=self.uri,
        )


def _user_of(params: dict[str, str]) -> str | None:
    """The user, from username (its octets are UTF-8) or username* (RFC 8187)."""
    try:
        if "username" in params:
            return params["username"].encode("latin-1").decode("utf-8")
        charset, _, rest = params.get("username*", "").partition("'")
        if charset.lower() != "utf-8":
            return None
        return unquote(rest.partition("'")[2], errors="strict")
    except UnicodeError:
        return None
