"""Profile: a corporate proxy in a file (TOML). The contract, and its strict reader.

A table of the file is one entry of `TABLES`: its reader gets the table, the place for errors, and the folder
that paths in it begin from, and gives the value of the field of the same name in `Profile`.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from relay.access import Access
from relay.failure import SettingsError
from relay.fault_rule import FaultRule, rule_from_table
from relay.limits import MAX_SECONDS, Limits
from relay.listener import Listener
from relay.listening import is_public
from relay.login_gate import Login
from relay.persona import Persona, load
from relay.profile_access import read_access
from relay.profile_listeners import read_listeners
from relay.profile_login import read_login
from relay.profile_upstreams import read_headers, read_upstreams
from relay.route import Endpoint
from relay.toml_table import (
    Between,
    Table,
    check_keys,
    fill,
    load_toml,
    read_value,
    show,
    subtable,
)
from relay.upstream import TargetHeader, Upstream

MAX_FAULTS = 100
DEFAULT_LISTEN = (Endpoint("127.0.0.1", 3128),)
LogFormat = Literal["json", "squid", "combined"]


@dataclass(frozen=True)
class Listen:
    """[listen]: what needs a new start when it changes.

    on: endpoints of plain TCP; None: the usual one, unless there are other listeners.
    via: our name in Via fields. admin: for health, metrics and the list of tunnels.
    grace_seconds: how long SIGTERM lets open tunnels go on. pac: serve a PAC file about ourselves.
    """

    on: tuple[Endpoint, ...] | None = None
    via: str | None = None
    admin: Endpoint | None = None
    grace_seconds: float = 0.0
    pac: bool = False


@dataclass(frozen=True)
class AccessLog:
    """[log]: `file` is a path, "-" for stdout, None for no log."""

    file: Annotated[str, Between(1, 4_096)] | None = None
    format: LogFormat = "json"


@dataclass(frozen=True)
class Profile:
    """A whole profile; what a file leaves out is as here. `login` None: nobody is asked who they are."""

    listen: Listen = field(default_factory=Listen)
    access: Access = field(default_factory=Access)
    login: Login | None = None
    limits: Limits = field(default_factory=Limits)
    log: AccessLog = field(default_factory=AccessLog)
    faults: tuple[FaultRule, ...] = ()
    persona: Persona | None = None
    listeners: tuple[Listener, ...] = ()
    upstreams: tuple[Upstream, ...] = ()
    headers: tuple[TargetHeader, ...] = ()

    @property
    def plain(self) -> tuple[Endpoint, ...]:
        """Where to listen in plain TCP."""
        usual: tuple[Endpoint, ...] = () if self.listeners else DEFAULT_LISTEN
        return usual if self.listen.on is None else self.listen.on

    @property
    def is_public(self) -> bool:
        """Whether others than this machine can reach it."""
        return any(map(is_public, self.plain)) or any(one.is_public for one in self.listeners)


Reader = Callable[[Table, str, Path], Any]


def _read_listen(table: Table, where: str, folder: Path) -> Listen:
    def listen(
        *,
        on: Annotated[tuple[str, ...], Between(1, 64)] | None = None,
        via: Annotated[str | None, Between(1, 64)] = None,
        admin: str | None = None,
        grace_seconds: Annotated[float, Between(0, MAX_SECONDS)] = 0.0,
        pac: bool = False,
    ) -> Listen:
        return Listen(
            tuple(Endpoint.parse(text, f"{where}: on") for text in on) if on else None,
            via,
            Endpoint.parse(admin, f"{where}: admin") if admin is not None else None,
            grace_seconds,
            pac,
        )

    return fill(listen, table, where)


def _read_limits(table: Table, where: str, folder: Path) -> Limits:
    return fill(Limits, table, where)


def _read_log(table: Table, where: str, folder: Path) -> AccessLog:
    log = fill(AccessLog, table, where)
    if log.file in (None, "-"):
        return log
    return AccessLog(str(folder / str(log.file)), log.format)


TABLES: dict[str, Reader] = {
    "listen": _read_listen,
    "access": read_access,
    "login": read_login,
    "limits": _read_limits,
    "log": _read_log,
}


def _read_faults(value: Any, where: str, folder: Path) -> tuple[FaultRule, ...]:
    """`[[fault]]`, as docs/faults.md has it."""
    if not isinstance(value, list) or len(value) > MAX_FAULTS:
        raise SettingsError(f"{where}: {show(value)}; expected [[fault]], at most {MAX_FAULTS} times")
    tables = [subtable(entry, f"{where} {number}") for number, entry in enumerate(value, 1)]
    return tuple(rule_from_table(table, f"{where} {number}") for number, table in enumerate(tables, 1))


def _read_persona(value: Any, where: str, folder: Path) -> Persona:
    return load(read_value(value, Annotated[str, Between(1, 64)], where), where)


# What stands in a profile beside its tables.
OTHERS: dict[str, tuple[str, Callable[[Any, str, Path], Any]]] = {
    "fault": ("faults", _read_faults),
    "listener": ("listeners", read_listeners),
    "persona": ("persona", _read_persona),
    "proxy_protocol": ("headers", read_headers),
    "upstream": ("upstreams", read_upstreams),
}


def read_profile(path: Path) -> Profile:
    """Read a profile, and all files that it names.

    Raises: SettingsError that names file, table and key, and what was expected; the line where the file is
            no TOML.
    """
    document = load_toml(path)
    check_keys(document, (*TABLES, *OTHERS), str(path))
    values = {
        name: read(subtable(document[name], f"{path}: {name}"), f"{path}: [{name}]", path.parent)
        for name, read in TABLES.items()
        if name in document
    }
    for key, (name, read_other) in OTHERS.items():
        if key in document:
            values[name] = read_other(document[key], f"{path}: {key}", path.parent)
    profile = Profile(**values)
    if profile.login is None and profile.access.asks_for_user:
        raise SettingsError(f"{path}: [access] has a rule with `user`; expected a table [login] as well")
    return profile
