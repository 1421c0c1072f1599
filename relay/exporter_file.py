"""The exporter's file (TOML): how paths are probed, through which proxies, and which targets may be."""

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Any

from protocol.sealing import Key
from relay.credentials import read_user_file
from relay.failure import SettingsError
from relay.keys import load_key
from relay.route import Endpoint, Hop, check_login
from relay.toml_table import Between, Table, check_keys, fill, load_toml, subtable

DEFAULT_MODULE = "default"
MAX_MODULES = 100
# What a survey of a silent path takes to name the cause; less makes it guess earlier.
DEFAULT_TIMEOUT_SECONDS = 10.0
MAX_TIMEOUT_SECONDS = 300.0
# Each is up to 30 connections and some seconds.
DEFAULT_PROBES_AT_ONCE = 8


@dataclass(frozen=True)
class Module:
    """One way to probe.

    hops: the proxies, nearest first. key: read once, so that a file that goes away later fails no probe.
    qualities: also try sizes, half-close and early bytes on a path that works, at more connections a probe.
    """

    hops: tuple[Hop, ...] = ()
    timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS
    key: Key = field(default_factory=lambda: load_key(None), repr=False)
    qualities: bool = False


@dataclass(frozen=True)
class Allowed:
    """Who may be connected to: shell patterns of host or host:port, addresses, networks; () is nobody.

    Names are compared as they are asked for, and not by what they resolve to.
    """

    patterns: tuple[str, ...] = ()

    def permits(self, endpoint: Endpoint) -> bool:
        """Whether one of them fits."""
        return any(_fits(pattern, endpoint) for pattern in self.patterns)


@dataclass(frozen=True)
class ExporterFile:
    """All of it. targets, proxies: None where the file says nothing; `proxies` are for ?proxy=URL."""

    modules: Mapping[str, Module] = field(default_factory=lambda: {DEFAULT_MODULE: Module()})
    hops: Mapping[str, Hop] = field(default_factory=dict)
    targets: Allowed | None = None
    proxies: Allowed | None = None
    probes_at_once: int = DEFAULT_PROBES_AT_ONCE


def read_exporter_file(path: Path) -> ExporterFile:
    """Read it, and all files that it names. Raises: SettingsError that names file, table and key."""
    document = load_toml(path)
    check_keys(document, ("exporter", "proxy", "module"), str(path))
    table = subtable(document.get("exporter", {}), f"{path}: exporter")
    general = fill(_general, table, f"{path}: [exporter]")
    folder = path.parent
    hops = {
        name: _read_proxy(table, where, folder) for name, table, where in _tables(document, "proxy", path)
    }
    modules = {
        name: _read_module(table, where, folder, hops)
        for name, table, where in _tables(document, "module", path)
    }
    return replace(general, hops=hops, modules={DEFAULT_MODULE: Module(), **modules})


def _tables(document: Table, kind: str, path: Path) -> list[tuple[str, Table, str]]:
    tables = subtable(document.get(kind, {}), f"{path}: {kind}")
    if len(tables) > MAX_MODULES:
        raise SettingsError(f"{path}: {len(tables)} times [{kind}.NAME]; expected at most {MAX_MODULES}")
    for name in tables:
        if not (0 < len(name) <= 64 and name.isascii() and name.isprintable()):
            raise SettingsError(f"{path}: [{kind}.{name[:40]!r}]: expected 1 to 64 printable characters")
    return [
        (name, subtable(table, f"{path}: {kind}.{name}"), f"{path}: [{kind}.{name}]")
        for name, table in tables.items()
    ]


def _general(
    *,
    targets: Annotated[tuple[str, ...], Between(0, 1000)] | None = None,
    proxies: Annotated[tuple[str, ...], Between(0, 1000)] | None = None,
    probes_at_once: Annotated[int, Between(1, 1000)] = DEFAULT_PROBES_AT_ONCE,
) -> ExporterFile:
    return ExporterFile(
        targets=None if targets is None else Allowed(targets),
        proxies=None if proxies is None else Allowed(proxies),
        probes_at_once=probes_at_once,
    )


def _read_proxy(table: Table, where: str, folder: Path) -> Hop:
    def proxy(
        *,
        url: Annotated[str, Between(1, 2000)],
        login_file: str | None = None,
        ca_file: str | None = None,
    ) -> Hop:
        hop = Hop.parse(url, f"{where}: url", ca_file=str(folder / ca_file) if ca_file else None)
        if login_file is None:
            return hop
        login = read_user_file(str(folder / login_file), f"{where}: login_file")
        check_login(login.user, login.password or "", f"{where}: login_file", hop.socks, hop.login)
        return replace(hop, user=login.user, password=login.password)

    return fill(proxy, table, where)


def _read_module(table: Table, where: str, folder: Path, hops: Mapping[str, Hop]) -> Module:
    def module(
        *,
        through: Annotated[tuple[str, ...], Between(0, 16)] = (),
        timeout_seconds: Annotated[float, Between(0.1, MAX_TIMEOUT_SECONDS)] = DEFAULT_TIMEOUT_SECONDS,
        key_file: str | None = None,
        qualities: bool = False,
    ) -> Module:
        for name in through:
            if name not in hops:
                known = ", ".join(hops) or "a table [proxy.NAME], of which there is none"
                raise SettingsError(f"{where}: through: there is no proxy {name[:60]!r}; expected {known}")
        key = load_key(str(folder / key_file) if key_file is not None else None, f"{where}: key_file")
        return Module(tuple(hops[name] for name in through), timeout_seconds, key, qualities)

    return fill(module, table, where)


def _fits(pattern: str, endpoint: Endpoint) -> bool:
    network, port = _network(pattern)
    if network is not None:
        if not endpoint.is_literal or (port and port != str(endpoint.port)):
            return False
        return ipaddress.ip_address(endpoint.host) in network
    wanted = pattern.lower()
    return fnmatchcase(endpoint.host.lower(), wanted) or fnmatchcase(str(endpoint).lower(), wanted)


def _network(pattern: str) -> tuple[Any, str]:
    """The network of `10.0.0.0/8`, `10.0.0.0/8:5000`, `10.0.0.1`, `2001:db8::/32`, and its port or ""."""
    address, slash, rest = pattern.partition("/")
    bits, _, port = rest.partition(":")
    try:
        return ipaddress.ip_network(f"{address}/{bits}" if slash else address, strict=False), port
    except ValueError:
        return None, ""
