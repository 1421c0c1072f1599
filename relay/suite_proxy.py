"""One [proxy.NAME] of a suite: a hop, its login, and where the secrets of it come from."""

import contextlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Annotated, Final, Literal

from relay.client_logins import LoginRules
from relay.failure import SettingsError
from relay.hop_files import checked_hop
from relay.route import Endpoint, Hop, check_login
from relay.toml_table import Between, KeyMistaken, Table, fill

MAX_SECRET_BYTES: Final = 4_096
"""Of a file with one password."""

OF_TLS: Final = (
    "ca_file", "cert_file", "key_file", "server_name", "system_trust", "http2", "verify",
)  # fmt: skip
"""Keys that say nothing of a proxy without TLS; whoever has set one believes that there is some."""

_VARIABLE: Final = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
Text = Annotated[str, Between(1, 4096)]


@contextlib.contextmanager
def mistaken(key: str) -> Iterator[None]:
    """Say of a mistake that is found inside which key it is about."""
    try:
        yield
    except SettingsError as error:
        raise KeyMistaken(str(error), key) from None


def expanded(text: str, environ: Mapping[str, str]) -> str:
    """`text` with every ${NAME} replaced. Raises: SettingsError that names the variable that is not set."""

    def value(match: re.Match[str]) -> str:
        if match[1] not in environ:
            raise SettingsError(f"${{{match[1]}}}: the environment has no such variable")
        return environ[match[1]]

    return _VARIABLE.sub(value, text)


@dataclass(frozen=True)
class ProxyTable:
    """The keys of [proxy.NAME], as they stand there; the words of docs/hops.md."""

    url: Text
    user: Text | None = None
    password: Annotated[str | None, Between(1, 4096)] = field(default=None, repr=False)
    password_file: Text | None = None
    auth: Text | None = None
    charset: Literal["utf-8", "latin-1"] = "utf-8"
    spn: Text | None = None
    ca_file: Text | None = None
    cert_file: Text | None = None
    key_file: Text | None = None
    server_name: Text | None = None
    system_trust: bool = False
    http2: bool = False
    verify: bool = True
    timeout_seconds: Annotated[float, Between(0.001, 3_600)] | None = None


def read_proxy(name: str, table: Table, folder: Path, environ: Mapping[str, str]) -> Hop:
    """The hop of [proxy.NAME]. `folder`: where relative paths begin.

    Raises: SettingsError, which quotes neither user nor password.
    """
    where = f"[proxy.{name}]"
    secret = table.get("password", "${X}")
    # Also half a password is one
    if not isinstance(secret, str) or not secret or _VARIABLE.sub("", secret):
        words = 'expected "${NAME}" of the environment, or password_file: the file itself is no place for it'
        raise KeyMistaken(f"{where}: password: {words}", "password")
    read = fill(ProxyTable, table, where)
    hop = replace(
        _parsed(read.url, where, environ),
        ca_file=_beside(folder, read.ca_file),
        cert_file=_beside(folder, read.cert_file),
        key_file=_beside(folder, read.key_file),
        server_name=read.server_name,
        system_trust=read.system_trust,
        http2=read.http2,
        verify=read.verify,
        timeout_seconds=read.timeout_seconds,
        login=_login_rules(read, where),
    )
    if not hop.tls and (useless := next((key for key in table if key in OF_TLS), None)):
        raise KeyMistaken(f"{where}: {useless}: is of https:// proxies; expected it there only", useless)
    return _checked(_logged_in(hop, read, where, folder, environ), where)


def _checked(hop: Hop, where: str) -> Hop:
    """Look at the files. Raises: KeyMistaken."""
    names = {one.name: f"{where}: {one.name}" for one in fields(ProxyTable)}
    try:
        return checked_hop(hop, names)
    except SettingsError as error:
        key = next((key for key, name in names.items() if str(error).startswith(f"{name}:")), "cert_file")
        raise KeyMistaken(str(error), key) from None


def impossible(hops: tuple[Hop, ...], target: Endpoint) -> str:
    """Why no network could make this way work; "" when one could."""
    for hop, asked in zip(hops, (*(one.endpoint for one in hops[1:]), target), strict=False):
        if hop.socks in ("socks4", "socks4a") and ":" in asked.host:
            return f"{hop} is SOCKS 4, which cannot carry the IPv6 address {asked.host}"
    return ""


def _login_rules(read: ProxyTable, where: str) -> LoginRules:
    prefix = f"{where}: "
    with mistaken("auth"):
        LoginRules.parse(read.auth, prefix=prefix)
    with mistaken("spn"):
        return LoginRules.parse(read.auth, read.charset, read.spn, prefix)


def _parsed(url: str, where: str, environ: Mapping[str, str]) -> Hop:
    if "@" in url:
        raise KeyMistaken(f"{where}: url: holds a login; expected it in user and password", "url")
    if url == "auto" or url.startswith("pac+"):
        words = "that asks this machine's settings; expected the proxy itself, which `relay route` tells"
        raise KeyMistaken(f"{where}: url: {url[:80]!a}: {words}", "url")
    with mistaken("url"):
        return Hop.parse(expanded(url, environ), f"{where}: url")


def _logged_in(hop: Hop, read: ProxyTable, where: str, folder: Path, environ: Mapping[str, str]) -> Hop:
    if read.password is not None and read.password_file is not None:
        raise KeyMistaken(f"{where}: password: and password_file; expected one of them", "password")
    password = None if read.password is None else _value(read.password, where, "password", environ)
    if read.password_file is not None:
        password = _read_password(folder / read.password_file, where)
    if read.user is None:
        if password is not None:
            raise KeyMistaken(f"{where}: password: without user; expected both", "password")
        return hop
    user = _value(read.user, where, "user", environ)
    if password is None and hop.login.schemes != ("negotiate",) and hop.socks not in ("socks4", "socks4a"):
        raise KeyMistaken(f"{where}: user: without a password; expected password or password_file", "user")
    if password is not None:
        check_login(user, password, f"{where}: user and password", hop.socks, hop.login)
    return replace(hop, user=user, password=password)


def _value(text: str, where: str, key: str, environ: Mapping[str, str]) -> str:
    try:
        return expanded(text, environ)
    except SettingsError as error:
        raise KeyMistaken(f"{where}: {key}: {error}", key) from None


def _read_password(path: Path, where: str) -> str:
    """The only line of a file. Raises: KeyMistaken."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_SECRET_BYTES + 1)
        text = data.decode("utf-8-sig").removesuffix("\n").removesuffix("\r")
        why = "it is not one line" if "\n" in text or not text or len(data) > MAX_SECRET_BYTES else ""
    except OSError as error:
        text, why = "", str(error.strerror)
    except UnicodeDecodeError:
        text, why = "", "it is not UTF-8"
    if why:
        words = f"{where}: password_file: cannot use {str(path)!a}: {why}; expected the password on one line"
        raise KeyMistaken(words, "password_file")
    return text


def _beside(folder: Path, file: str | None) -> str | None:
    return None if file is None else str(folder / file)
