"""Reads a suite (docs/suite.md) from its TOML file; a mistake is told with its line and what was expected."""

import contextlib
import fnmatch
import itertools
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Final, TypeVar

from protocol.sealing import Key
from relay.catalogue import causes
from relay.cause import Severity
from relay.failure import SettingsError
from relay.keys import load_key
from relay.route import FRAMEWORK_PORT, MAX_PORT, Endpoint, Hop, Route
from relay.suite import DIRECT, OK, Cell, Suite
from relay.suite_proxy import expanded, impossible, mistaken, read_proxy
from relay.toml_lines import Place, line_of, lines_of_tables
from relay.toml_table import (
    Between,
    KeyMistaken,
    Table,
    check_keys,
    fill,
    parse_toml,
    read_text,
    show,
    subtable,
)

MAX_NAMED: Final = 500
"""Proxies, chains and targets, of each kind; a company has some dozens."""

MAX_CELLS: Final = 5_000
MAX_CHAIN: Final = 8
MAX_SECONDS: Final = 3_600.0
MAX_JOBS: Final = 64
MAX_REPEAT: Final = 1_000
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z")

T = TypeVar("T")
Names = str | tuple[str, ...]
Seconds = Annotated[float, Between(0.001, MAX_SECONDS)]


@dataclass(frozen=True)
class General:
    """[suite]: what holds for all paths, unless a [[path]] says otherwise."""

    name: Annotated[str, Between(1, 100)] = "framework-relay"
    timeout_seconds: Seconds = 10.0
    idle_seconds: Annotated[float, Between(0, MAX_SECONDS)] = 0.0
    jobs: Annotated[int, Between(1, MAX_JOBS)] = 4
    repeat: Annotated[int, Between(1, MAX_REPEAT)] = 1
    key_file: Annotated[str, Between(1, 4096)] | None = None


@dataclass(frozen=True)
class Target:
    """[target.NAME]."""

    endpoint: Endpoint
    key: Key = field(repr=False)


@dataclass(frozen=True)
class Source:
    """The file, for errors that name its lines."""

    path: Path
    text: str = field(repr=False)

    @contextlib.contextmanager
    def at(self, *place: str | int) -> Iterator[None]:
        """Give a mistake that is found inside the line of `place`, or of the key it is about."""
        try:
            yield
        except KeyMistaken as error:
            raise self._located(error, (*place, error.key)) from None
        except SettingsError as error:
            raise self._located(error, place) from None

    def _located(self, error: SettingsError, place: Place) -> SettingsError:
        return SettingsError(f"{self.path}:{line_of(self.text, place)}: {error}")


def read_suite(path: Path, environ: Mapping[str, str]) -> Suite:
    """Read a suite. `environ`: what ${NAME} stands for; none of it shows in an error.

    Raises: SettingsError that names file, line and key, and what was expected.
    """
    source = Source(path, read_text(path))
    document = parse_toml(source.text, path)
    with source.at():
        check_keys(document, ("suite", "proxy", "route", "target", "path"), "the file")
    with source.at("suite"):
        general = fill(General, subtable(document.get("suite", {}), "[suite]"), "[suite]")
    with source.at("suite", "name"):
        if not general.name.isprintable():
            # It stands in lines of terminals and logs
            raise SettingsError(f"[suite]: name: {show(general.name)}; expected printable characters")
    with source.at("suite", "key_file"):
        key_file = None if general.key_file is None else str(path.parent / general.key_file)
        key = load_key(key_file, "[suite]: key_file")
    reader = _Reader(source, document, general, key, environ)
    cells = reader.cells()
    return Suite(general.name, str(path), cells, general.jobs, general.repeat)


class _Reader:
    """The tables of one file, each once; later ones name earlier ones."""

    def __init__(
        self, source: Source, document: Table, general: General, key: Key, environ: Mapping[str, str]
    ) -> None:
        self._source = source
        self._folder = source.path.parent
        self._document = document
        self._general = general
        self._key = key
        self._environ = environ
        self._proxies: dict[str, Hop] = self._named("proxy", self._proxy)
        self._routes: dict[str, tuple[Hop, ...]] = {
            DIRECT: (),
            **{name: (hop,) for name, hop in self._proxies.items()},
        }
        self._routes |= self._named("route", self._chain)
        self._targets = self._named("target", self._target)

    def _named(self, kind: str, read: Callable[[str, Table], T]) -> dict[str, T]:
        """Every [KIND.NAME] as `read` makes it."""
        found = {}
        with self._source.at(kind):
            tables = subtable(self._document.get(kind, {}), f"[{kind}]")
            if len(tables) > MAX_NAMED:
                raise SettingsError(f"[{kind}]: {len(tables)} tables; expected at most {MAX_NAMED}")
        for name, table in tables.items():
            with self._source.at(kind, name):
                if not _NAME.match(name):
                    raise SettingsError(f"[{kind}]: {show(name)}; expected a name of letters, digits, . _ -")
                found[name] = read(name, subtable(table, f"[{kind}.{name}]"))
        return found

    def _proxy(self, name: str, table: Table) -> Hop:
        if name == DIRECT:
            raise SettingsError(f"[proxy.{DIRECT}]: this name is the route without a proxy; expected another")
        return read_proxy(name, table, self._folder, self._environ)

    def _chain(self, name: str, table: Table) -> tuple[Hop, ...]:
        where = f"[route.{name}]"
        if name in (DIRECT, *self._proxies):
            raise SettingsError(f"{where}: a route of this name is there already; expected another name")

        def chain(*, via: Annotated[tuple[str, ...], Between(1, MAX_CHAIN)]) -> tuple[Hop, ...]:
            for proxy in via:
                if proxy not in self._proxies:
                    known = ", ".join(self._proxies) or "none is there"
                    words = f"{where}: via: {show(proxy)}; expected names of [proxy.NAME]: {known}"
                    raise KeyMistaken(words, "via")
            for nearer, farther in itertools.pairwise(via):
                if self._proxies[nearer].endpoint == self._proxies[farther].endpoint:
                    words = f"{where}: via: {show(farther)} after {show(nearer)}, which is the same proxy"
                    raise KeyMistaken(words, "via")
            return tuple(self._proxies[proxy] for proxy in via)

        return fill(chain, table, where)

    def _target(self, name: str, table: Table) -> Target:
        where = f"[target.{name}]"

        def target(
            *, at: Annotated[str, Between(1, 300)], key_file: Annotated[str, Between(1, 4096)] | None = None
        ) -> Target:
            with mistaken("at"):
                endpoint = Endpoint.parse(expanded(at, self._environ), f"{where}: at", FRAMEWORK_PORT)
                if endpoint.port == 0:
                    raise SettingsError(f"{where}: at: port 0; expected 1 to {MAX_PORT}")
            if key_file is None:
                return Target(endpoint, self._key)
            with mistaken("key_file"):
                return Target(endpoint, load_key(str(self._folder / key_file), f"{where}: key_file"))

        return fill(target, table, where)

    def cells(self) -> tuple[Cell, ...]:
        """Every [[path]], its names and patterns replaced by what they fit."""
        tables = self._document.get("path", [])
        with self._source.at("path"):
            if isinstance(tables, dict):
                raise SettingsError("[path]: expected [[path]], in two brackets: there may be many")
            if not isinstance(tables, list) or not tables:
                raise SettingsError("[[path]]: expected at least one: a route, a target, what is expected")
        found: dict[str, tuple[Cell, int]] = {}
        lines = lines_of_tables(self._source.text, "path", len(tables))
        for index, table in enumerate(tables):
            with self._source.at("path", index):
                where = f"[[path]] {index + 1}"
                for cell in self._path(subtable(table, where), where, lines[index]):
                    if cell.name in found:
                        other = found[cell.name][1]
                        raise SettingsError(f"{where}: {cell.name}: is in [[path]] {other} already")
                    found[cell.name] = (cell, index + 1)
                if len(found) > MAX_CELLS:
                    raise SettingsError(f"{where}: over {MAX_CELLS} paths")
        cells = tuple(cell for cell, _ in found.values())
        self._refuse_idle_names(cells)
        return cells

    def _path(self, table: Table, where: str, line: int) -> list[Cell]:
        def path(
            *,
            route: Names,
            target: Names,
            expect: Names,
            timeout_seconds: Seconds = self._general.timeout_seconds,
            idle_seconds: Annotated[float, Between(0, MAX_SECONDS)] = self._general.idle_seconds,
        ) -> list[Cell]:
            routes = _fitting(route, self._routes, f"{where}: route")
            targets = _fitting(target, self._targets, f"{where}: target")
            expected = _expected(expect, f"{where}: expect")
            if expected == (OK,):
                self._refuse_impossible(routes, targets, f"{where}: target")
            return [
                Cell(
                    one,
                    other,
                    Route(self._targets[other].endpoint, self._routes[one]),
                    expected,
                    self._targets[other].key,
                    line,
                    timeout_seconds,
                    idle_seconds,
                )
                for one in routes
                for other in targets
            ]

        return fill(path, table, where)

    def _refuse_impossible(self, routes: list[str], targets: list[str], where: str) -> None:
        """Raises: KeyMistaken for a path that no network could make work."""
        for one in routes:
            for other in targets:
                if why := impossible(self._routes[one], self._targets[other].endpoint):
                    raise KeyMistaken(f"{where}: {one}/{other} cannot work: {why}", "target")

    def _refuse_idle_names(self, cells: tuple[Cell, ...]) -> None:
        """A proxy that is on no path would be taken for tested. Raises: SettingsError."""
        on_path = {hop for cell in cells for hop in cell.route.hops}
        aimed_at = {cell.target_name for cell in cells}
        taken = {cell.route_name for cell in cells}
        for kind, names in (
            ("proxy", [name for name, hop in self._proxies.items() if hop not in on_path]),
            ("route", [name for name in self._routes if name not in (DIRECT, *self._proxies, *taken)]),
            ("target", [name for name in self._targets if name not in aimed_at]),
        ):
            for name in names:
                with self._source.at(kind, name):
                    raise SettingsError(f"[{kind}.{name}]: is on no [[path]]; expected one that tests it")


def _fitting(patterns: Names, known: Mapping[str, Any], where: str) -> list[str]:
    """The known names that fit, each once. Raises: KeyMistaken for a pattern that fits none, and for []."""
    if not patterns:
        # A [[path]] that tests nothing would be taken for tested
        raise KeyMistaken(f"{where}: []; expected a name or more", where.rpartition(" ")[2])
    found: dict[str, None] = {}
    for pattern in (patterns,) if isinstance(patterns, str) else patterns:
        fitting = [name for name in known if fnmatch.fnmatchcase(name, pattern)]
        if not fitting:
            names = ", ".join(known) or "none is there"
            raise KeyMistaken(f"{where}: {show(pattern)}; expected of: {names}", where.rpartition(" ")[2])
        found |= dict.fromkeys(fitting)
    return list(found)


def _expected(value: Names, where: str) -> tuple[str, ...]:
    """Raises: KeyMistaken."""
    wanted = (value,) if isinstance(value, str) else tuple(dict.fromkeys(value))
    faults = {cause.id for cause in causes() if cause.severity is Severity.FAULT}
    unknown = [one for one in wanted if one not in faults and one != OK]
    if unknown or not wanted or (OK in wanted and len(wanted) > 1):
        shown = f"{show(unknown[0])}" if unknown else show(list(wanted))
        near = _nearest(unknown[0], faults) if unknown else ""
        words = f'{where}: {shown}; expected "{OK}" alone, or ids of causes (docs/causes.md){near}'
        raise KeyMistaken(words, "expect")
    return wanted


def _nearest(word: str, known: set[str]) -> str:
    import difflib

    near = difflib.get_close_matches(word, sorted(known), 3)
    return f", perhaps {' or '.join(near)}" if near else ""
