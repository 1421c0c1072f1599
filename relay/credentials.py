"""Where user and password of a proxy come from: URL, file, environment, netrc, keyring, or a person."""

import stat
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from relay.failure import SettingsError
from relay.route import Hop, check_login

USER_VARIABLE: Final = "RELAY_PROXY_USER"
PASSWORD_VARIABLE: Final = "RELAY_PROXY_PASSWORD"  # noqa: S105 - the name of a variable, not a secret

MAX_FILE_BYTES: Final = 65_536
"""Of a file with one login: larger, it is another file."""

MAX_NETRC_BYTES: Final = 2**20


@dataclass(frozen=True)
class Credentials:
    """A user, and the password where it is known."""

    user: str
    password: str | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Sources:
    """What may be asked for the login of one hop, besides its URL.

    Attributes:
        environ: the environment.
        user_file: a file with USER:PASSWORD.
        netrc_file: a file in netrc's form; "" is the user's own; None: none.
        use_keyring: ask the system's keyring.
        is_nearest: the hop is the first; the environment's user is for that one alone, because a login must
            not be offered to a proxy that it was not meant for.
    """

    environ: Mapping[str, str] = field(repr=False)
    user_file: str | None = None
    netrc_file: str | None = None
    use_keyring: bool = False
    is_nearest: bool = True


def completed(hop: Hop, sources: Sources) -> Hop:
    """Return `hop` with its user and password: the URL's, else of the first source that has them.

    A user without a password gets it from the environment, the keyring, or the person at the terminal; not
    if only Kerberos may be used, which needs none.

    Raises: SettingsError, which quotes no secret.
    """
    if hop.socks in ("socks4", "socks4a"):  # they have no passwords
        if sources.user_file is not None:
            raise SettingsError(f"--proxy-user-file: {hop} takes no password; expected USER@ in its URL")
        return hop
    found = _of_url(hop) or _of_sources(hop, sources)
    if found is None:
        return hop
    user, password = found.user, found.password
    if password is None:
        # Empty is what a secret that is missing leaves behind: sent, it counts as a wrong password
        password = sources.environ.get(PASSWORD_VARIABLE) or None
    if password is None and sources.use_keyring:
        password = _keyring_password(str(hop), user)
    if password is None and (hop.socks is not None or hop.login.schemes != ("negotiate",)):
        password = _asked(hop)
    if password is not None:
        check_login(user, password, f"login for {hop}", hop.socks, hop.login)
    return replace(hop, user=user, password=password)


def _of_url(hop: Hop) -> Credentials | None:
    return None if hop.user is None else Credentials(hop.user, hop.password)


def _of_sources(hop: Hop, sources: Sources) -> Credentials | None:
    if sources.user_file is not None:
        return read_user_file(sources.user_file)
    if sources.is_nearest and (user := sources.environ.get(USER_VARIABLE)):
        return Credentials(user)
    found = None
    if sources.netrc_file is not None:
        found = read_netrc(sources.netrc_file or sources.environ.get("NETRC", ""), hop.endpoint.host)
    if found is None and sources.use_keyring:
        found = _keyring_credentials(str(hop))
    return found


def read_user_file(path: str, what: str = "--proxy-user-file") -> Credentials:
    """Read USER:PASSWORD, the only line of a file; all behind the first colon is the password.

    Raises: SettingsError that begins with `what`.
    """
    try:
        with Path(path).open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
        if len(data) > MAX_FILE_BYTES:
            raise _unusable(what, path, f"it has more than {MAX_FILE_BYTES} bytes")
        line = data.decode("utf-8-sig").removesuffix("\n").removesuffix("\r")
    except OSError as error:
        raise _unusable(what, path, str(error.strerror)) from None
    except UnicodeDecodeError:
        raise _unusable(what, path, "it is not UTF-8") from None
    user, colon, password = line.partition(":")
    if not colon or "\n" in line:
        raise _unusable(what, path, "it is not one line USER:PASSWORD")
    return Credentials(user, password)


def _unusable(what: str, path: str, why: str) -> SettingsError:
    return SettingsError(f"{what}: cannot use {path!a}: {why}; expected USER:PASSWORD")


def read_netrc(path: str, host: str) -> Credentials | None:
    """Read the login for `host` from a netrc file; its `default` is not for proxies.

    Args:   path: "" is ~/.netrc.
    Raises: SettingsError; a file that others may read is refused when it is the user's own (as in ftp(1)).
    """
    import netrc

    where = path or str(Path.home() / ".netrc")
    try:
        told = Path(where).stat()
        if stat.S_ISCHR(told.st_mode) or told.st_size > MAX_NETRC_BYTES:
            # The module reads to the end, which /dev/zero has none of
            words = f"expected a file of at most {MAX_NETRC_BYTES} bytes"
            raise SettingsError(f"--proxy-netrc: cannot use {where!a}: {words}")
        known = netrc.netrc(path or None).hosts
    except netrc.NetrcParseError as error:
        # Not its message: that may quote a word of the file, and any word may be a password
        why = f"line {error.lineno} cannot be read" if error.lineno else "other users may read it (chmod 600)"
        raise SettingsError(f"--proxy-netrc: cannot use {where!a}: {why}") from None
    except UnicodeDecodeError:
        raise SettingsError(f"--proxy-netrc: cannot use {where!a}: it is not UTF-8") from None
    except OSError as error:
        raise SettingsError(f"--proxy-netrc: cannot use {where!a}: {error.strerror}") from None
    if host == "default" or host not in known:
        return None
    login, _, password = known[host]
    return Credentials(login or "", password or None)  # the module gives "" where there is none


def _keyring_credentials(service: str) -> Credentials | None:
    keyring = _keyring()
    try:
        found = keyring.get_credential(service, None)
    except keyring.errors.KeyringError as error:
        raise _no_keyring(error) from None
    return None if found is None else Credentials(found.username, found.password)


def _keyring_password(service: str, user: str) -> str | None:
    keyring = _keyring()
    try:
        password: str | None = keyring.get_password(service, user)
    except keyring.errors.KeyringError as error:
        raise _no_keyring(error) from None
    return password


def _keyring() -> Any:
    try:
        import keyring
        import keyring.errors
    except ImportError:
        raise SettingsError(
            "--proxy-keyring: keyring is not installed (pip install 'framework-relay[keyring]')"
        ) from None
    return keyring


def _no_keyring(error: Exception) -> SettingsError:
    return SettingsError(f"--proxy-keyring: the keyring cannot be read ({type(error).__name__})")


def _asked(hop: Hop) -> str:
    """Ask the person at the terminal. Raises: SettingsError when there is none."""
    if not sys.stdin or not sys.stdin.isatty():
        raise SettingsError(
            f"--proxy: no password for {hop}: set {PASSWORD_VARIABLE}, or write USER: for an empty one"
        )
    import getpass

    try:
        return getpass.getpass(f"Password for {hop}: ")
    except EOFError:
        raise SettingsError(f"--proxy: no password was given for {hop}") from None
