"""Users: a file of user names and what proves their passwords; no password can be read from it.

One line for each user, `NAME:VERIFIER[:VERIFIER...]`; a verifier is `$KIND$...`, and each kind serves a login
scheme. Empty lines and lines that begin with `#` are skipped. `$scrypt$ln=14,r=8,p=1$SALT$HASH` is what
`relay proxy passwd` writes (scrypt of RFC 7914, as a PHC string; base64 without padding). The others, from
which nobody reads the password either but which are as good as it, are those of `relay/login_hashes.py`.
"""

import base64
import binascii
import hashlib
import hmac
import os
import re
import tempfile
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from relay.failure import SettingsError
from relay.list_file import read_lines
from relay.login_hashes import FORMS, kind_of

SCRYPT = "scrypt"
# What RFC 7914 section 2 has as an interactive login's cost: 16 MiB and some ten milliseconds.
_LOG2_N, _R, _P = 14, 8, 1
_SALT_BYTES, _HASH_BYTES = 16, 32
MAX_FILE_BYTES = 16 * 2**20
MAX_USERS = 100_000
MAX_USER_CHARACTERS = 256
MAX_PASSWORD_CHARACTERS = 1024
_VERIFIER = re.compile(r"\$([a-z0-9-]{1,32})\$[\x21-\x39\x3b-\x7e]{1,1000}\Z")
# Bounds: a line of the file must not make one login cost minutes, or all memory.
_SCRYPT = re.compile(
    r"\$scrypt\$ln=(1[0-8]),r=([1-9]|1[0-6]),p=([1-4])\$([A-Za-z0-9+/]{11,64})\$([A-Za-z0-9+/]{43})\Z"
)
_FORMS = {SCRYPT: _SCRYPT, **FORMS}


@dataclass(frozen=True)
class Users:
    """The users by name, each with verifiers by kind. What is in it is no secret for show."""

    verifiers: Mapping[str, Mapping[str, str]] = field(default_factory=dict, repr=False)
    decoy: str = field(default="", repr=False)

    def verifier(self, user: str, kind: str) -> str | None:
        """What proves this user's password, None when there is no such user or no such kind."""
        return self.verifiers.get(user, {}).get(kind)

    def proves(self, user: str, password: str) -> bool:
        """Whether this is the user's password. Slow on purpose, and as slow for a user who is unknown."""
        known = self.verifier(user, SCRYPT)
        is_right = _is_password(known or self.decoy or _DECOY, password)
        return is_right and known is not None


def read_users(path: Path, what: str = "") -> Users:
    """Read a users file; `what` is the key that names it.

    Raises: SettingsError with file and line; it quotes no verifier.
    """
    users: dict[str, dict[str, str]] = {}
    for number, line in read_lines(path, MAX_FILE_BYTES, what):
        user, verifiers = _read_line(line, f"{path}: line {number}")
        if user in users:
            raise SettingsError(f"{path}: line {number}: this user has a line already")
        users[user] = verifiers
        if len(users) > MAX_USERS:
            raise SettingsError(f"{path}: line {number}: expected at most {MAX_USERS} users")
    return Users(users, _decoy_for(users))


def _read_line(line: str, where: str) -> tuple[str, dict[str, str]]:
    user, *parts = line.split(":")
    check_user(user, where)
    found: dict[str, str] = {}
    for part in parts:
        match = _VERIFIER.match(part)
        form = _FORMS.get(match[1]) if match is not None else None
        if match is None or (form is not None and not form.match(part)) or kind_of(part) in found:
            raise SettingsError(f"{where}: expected NAME:$scrypt$..., as `relay proxy passwd` writes it")
        found[kind_of(part)] = part
    if not found:
        raise SettingsError(f"{where}: this user has no password; expected NAME:$scrypt$...")
    return user, found


def check_user(user: str, where: str) -> None:
    """Raises: SettingsError for a name that no file and no login can carry."""
    is_plain = not any(unicodedata.category(letter) in ("Cc", "Cs") for letter in user)
    is_safe = is_plain and ":" not in user and not user.startswith("#") and user == user.strip()
    if not 0 < len(user) <= MAX_USER_CHARACTERS or not is_safe:
        raise SettingsError(
            f"{where}: a user's name has 1 to {MAX_USER_CHARACTERS} characters, no colon, no control "
            "characters, no # first and no space at its ends"
        )


def normal(text: str) -> str:
    """User names and passwords are compared in Unicode's NFC (RFC 8265 section 4.2.1)."""
    return unicodedata.normalize("NFC", text)


def hash_password(password: str) -> str:
    """A verifier for the users file, with a salt of its own."""
    salt = os.urandom(_SALT_BYTES)
    return _phc(_LOG2_N, _R, _P, salt, _scrypt(password, salt, _LOG2_N, _R, _P))


def _scrypt(password: str, salt: bytes, log2_n: int, r: int, p: int) -> bytes:
    memory_bytes = 128 * r * (2**log2_n + p + 2) + 2**16
    return hashlib.scrypt(
        normal(password).encode("utf-8", "surrogatepass"),
        salt=salt, n=2**log2_n, r=r, p=p, maxmem=memory_bytes, dklen=_HASH_BYTES,
    )  # fmt: skip


def _phc(log2_n: int, r: int, p: int, salt: bytes, digest: bytes) -> str:
    return f"${SCRYPT}$ln={log2_n},r={r},p={p}${_text(salt)}${_text(digest)}"


def _is_password(verifier: str, password: str) -> bool:
    match = _SCRYPT.match(verifier)
    if match is None:
        return False
    log2_n, r, p = int(match[1]), int(match[2]), int(match[3])
    try:
        salt, digest = _octets(match[4]), _octets(match[5])
    except binascii.Error:
        return False
    return hmac.compare_digest(digest, _scrypt(password, salt, log2_n, r, p))


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii").rstrip("=")


def _octets(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)


_DECOY = _phc(_LOG2_N, _R, _P, bytes(_SALT_BYTES), bytes(_HASH_BYTES))


def _decoy_for(users: Mapping[str, Mapping[str, str]]) -> str:
    """A verifier that nothing proves, with the cost of the dearest that the file has."""
    costs = [
        (int(match[1]), int(match[2]), int(match[3]))
        for verifiers in users.values()
        if (match := _SCRYPT.match(verifiers.get(SCRYPT, "")))
    ]
    dearest = max(costs, key=lambda cost: (2 ** cost[0]) * cost[1] * cost[2], default=(_LOG2_N, _R, _P))
    return _phc(*dearest, bytes(_SALT_BYTES), bytes(_HASH_BYTES))


def set_password(path: Path, user: str, password: str) -> bool:
    """Write the scrypt hash of a new password, as `set_verifiers`. Raises: SettingsError."""
    check_password(password)
    return set_verifiers(path, user, [hash_password(password)])


def check_password(password: str) -> None:
    """Raises: SettingsError for one of a length that is not taken."""
    if not 0 < len(password) <= MAX_PASSWORD_CHARACTERS:
        raise SettingsError(f"password: expected 1 to {MAX_PASSWORD_CHARACTERS} characters")


def set_verifiers(path: Path, user: str, verifiers: Sequence[str]) -> bool:
    """Write a user's verifiers into the file, which is made if need be; True when the user is new.

    The file is replaced at once: who reads it meanwhile has the old one or the new one. Other verifiers of
    the user go, as they are of the old password.

    Raises: SettingsError.
    """
    check_user(user, "user")
    is_there = path.exists()
    if is_there and not path.is_file() and not path.is_dir():
        # /dev/null would be replaced by a file, and a pipe keep us waiting
        raise SettingsError(f"{path}: is a pipe or a device; expected a file, or none")
    if is_there:
        read_users(path)
    lines = path.read_text("utf-8").removesuffix("\n").split("\n") if is_there else []
    kept = [line for line in lines if line.partition(":")[0] != user]
    place = next((at for at, line in enumerate(lines) if line.partition(":")[0] == user), len(lines))
    kept.insert(place, ":".join((user, *verifiers)))
    try:
        mode = path.stat().st_mode & 0o777 if is_there else 0o600
        _replace(path, "".join(f"{line}\n" for line in kept), mode)
    except OSError as error:
        raise SettingsError(f"{path}: cannot be written: {error.strerror}") from None
    return len(kept) > len(lines)


def _replace(path: Path, text: str, mode: int) -> None:
    real = path.resolve()
    descriptor, name = tempfile.mkstemp(dir=real.parent, prefix=f".{real.name}.")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(descriptor)
        os.chmod(name, mode)  # noqa: PTH101 - a name from mkstemp
        os.replace(name, real)  # noqa: PTH105
    except BaseException:
        # Also at ^C: a half-written copy of the passwords must not stay behind
        os.unlink(name)  # noqa: PTH108
        raise
