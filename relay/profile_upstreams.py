"""Reads `[[upstream]]` and `[[proxy_protocol]]` of a profile: the ways to targets."""

from collections.abc import Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, Literal

from relay.access_rule import Rule
from relay.client_logins import LoginRules
from relay.credentials import read_user_file
from relay.failure import SettingsError
from relay.profile_access import read_conditions
from relay.route import Hop, check_login, checked_host
from relay.tls import client_context
from relay.toml_table import Between, Table, check_keys, fill, show, subtable
from relay.upstream import PARENT_SECONDS, TargetHeader, Upstream

MAX_ROWS = 1000
MAX_HOPS = 8
# What can be said of a target without looking it up.
_TARGET_KEYS = ("port", "host", "suffix", "glob", "network", "target")
_DIRECT = "direct"
_Path = Annotated[str | None, Between(1, 4096)]


def read_upstreams(value: Any, where: str, folder: Path) -> tuple[Upstream, ...]:
    """`[[upstream]]`. Raises: SettingsError that names the table by its number, and the key; no password."""
    return tuple(_upstream(table, place, folder) for table, place in _rows(value, where, "upstream"))


def read_headers(value: Any, where: str, folder: Path) -> tuple[TargetHeader, ...]:
    """`[[proxy_protocol]]`. Raises: SettingsError."""
    found = []
    for table, place in _rows(value, where, "proxy_protocol"):
        check_keys(table, ("version", *_TARGET_KEYS), place)
        version = table.get("version", 2)
        if version not in (1, 2) or isinstance(version, bool):
            raise SettingsError(f"{place}: version: {show(version)}; expected 1 or 2")
        found.append(TargetHeader(version, _rule(table, place, folder)))
    return tuple(found)


def _rows(value: Any, where: str, name: str) -> list[tuple[Table, str]]:
    if not isinstance(value, list) or len(value) > MAX_ROWS:
        raise SettingsError(f"{where}: {show(value)}; expected [[{name}]], at most {MAX_ROWS} times")
    place = where.removesuffix(name) + f"[[{name}]]"
    return [(subtable(row, f"{place} {number}"), f"{place} {number}") for number, row in enumerate(value, 1)]


def _rule(table: Table, where: str, folder: Path) -> Rule:
    rows = {name: value for name, value in table.items() if name in _TARGET_KEYS}
    return Rule.of(read_conditions(rows, where, folder), allows=True, words="", what=where)


def _upstream(table: Table, where: str, folder: Path) -> Upstream:
    def upstream(
        *,
        proxy: Annotated[str, Between(1, 4096)] | tuple[str, ...],
        user_file: _Path = None,
        login: Annotated[tuple[str, ...] | None, Between(1, 4)] = None,
        charset: Literal["utf-8", "latin-1"] = "utf-8",
        spn: str | None = None,
        ca_file: _Path = None,
        certificate: _Path = None,
        key: _Path = None,
        server_name: str | None = None,
        system_trust: bool = False,
        verify: bool = True,
        http2: bool = False,
        timeout_seconds: Annotated[float, Between(0.001, 86_400)] = PARENT_SECONDS,
    ) -> Upstream:
        rules = _logins(login, charset, spn, where)
        hops = [] if proxy == _DIRECT else [Hop.parse(url, f"{where}: proxy") for url in _urls(proxy, where)]
        if user_file is not None:
            hops = _with_user(hops, str(folder / user_file), f"{where}: user_file")
        made = [
            replace(
                hop, login=rules, ca_file=_beside(folder, ca_file), cert_file=_beside(folder, certificate),
                key_file=_beside(folder, key), system_trust=system_trust, verify=verify, http2=http2,
                server_name=checked_host(server_name, f"{where}: server_name") if server_name else None,
            )
            for hop in hops
        ]  # fmt: skip
        for hop in made:
            _check(hop, where)
        return Upstream(tuple(made), rule, timeout_seconds)

    rule = _rule(table, where, folder)
    given = {name: value for name, value in table.items() if name not in _TARGET_KEYS}
    made: Upstream = fill(upstream, given, where)
    return made


def _urls(proxy: str | Sequence[str], where: str) -> Sequence[str]:
    urls = (proxy,) if isinstance(proxy, str) else proxy
    if not 0 < len(urls) <= MAX_HOPS or _DIRECT in urls:
        words = f'expected "{_DIRECT}", or 1 to {MAX_HOPS} URLs of proxies, nearest first'
        raise SettingsError(f"{where}: proxy: {words}")
    return urls


def _logins(login: Sequence[str] | None, charset: str, spn: str | None, where: str) -> LoginRules:
    try:
        return LoginRules.parse(",".join(login) if login else None, charset, spn)
    except SettingsError as error:
        option, _, words = str(error).partition(": ")
        key = {"--proxy-auth": "login", "--proxy-charset": "charset"}.get(option, "spn")
        raise SettingsError(f"{where}: {key}: {words}") from None


def _with_user(hops: Sequence[Hop], path: str, what: str) -> list[Hop]:
    if len(hops) != 1:
        raise SettingsError(f"{what}: for one proxy; expected the users of a chain in its URLs")
    found = read_user_file(path, what)
    check_login(found.user, found.password or "", what, hops[0].socks, LoginRules())
    return [replace(hops[0], user=found.user, password=found.password)]


def _beside(folder: Path, name: str | None) -> str | None:
    return None if name is None else str(folder / name)


def _check(hop: Hop, where: str) -> None:
    """A bad file would come up as a fault of the parent's. Raises: SettingsError."""
    if hop.http2 and find_spec("h2") is None:
        raise SettingsError(f"{where}: http2: h2 is not installed: pip install 'framework-relay[http2]'")
    if not hop.tls:
        return
    try:
        client_context(hop)
    except OSError as error:
        files = ", ".join(name for name in (hop.ca_file, hop.cert_file, hop.key_file) if name is not None)
        why = error.strerror or "unusable"
        raise SettingsError(f"{where}: cannot use {files or 'this TLS'}: {why}; expected PEM files") from None
