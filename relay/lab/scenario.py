"""Scenario: one network that is broken, or healthy, and the verdict that it must get. Data, from TOML."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal

from relay.catalogue import causes
from relay.failure import SettingsError
from relay.lab.network import ADDRESSES, ADDRESSES6, PLACES
from relay.lab.room import FOLDER
from relay.toml_table import Between, fill, load_toml, show, subtable

MAX_SCENARIOS = 1_000
"""Of one run: more would take hours, and no file with more was written by a person."""

OTHER_KEY_FILE = FOLDER / "other.key"
"""A key that the client does not have: {other-key} in lines."""

Text = Annotated[str, Between(1, 4_000)]
Speed = Literal["healthy", "at-once", "silent", "asked"]
Lines = Annotated[tuple[Text, ...], Between(0, 50)]


@dataclass(frozen=True)
class Program:
    """A program that a scenario runs: its place, what it is (relay/lab/programs), its port, its own lines."""

    at: Text
    run: Text
    port: Annotated[int, Between(0, 65535)] = 0
    lines: Lines = ()


@dataclass(frozen=True)
class Chain:
    """Rules of nftables in one chain of a place."""

    at: Text
    rules: Lines
    hook: Literal["forward", "input", "output"] = "forward"


@dataclass(frozen=True)
class Scenario:
    """One network, and what `relay check` must make of it.

    Attributes:
        id, kind: its name, and the file it stands in. broken: one line for people.
        expect: the cause that must be named; "" for a healthy path.
        alike: causes that may be named before it, because from the client they look the same (the research
            behind the catalogue says so); `expect` must then still be among those named.
        also: causes that must be named with it. never: that must not be.
        note: a notice that must be told, on a path that is good all the same. notes: that may be told.
        says: texts that must stand in the report: the address of a firewall, a proxy's own words.
        target, proxy, options: what relay check is given; {server}, {proxy} ... are addresses.
        speed: healthy, at-once or silent: what time is allowed; asked: as long as an option wants.
        programs, chains: what runs where, and the firewalls; nft: whole rulesets for a place.
        do: commands before the programs start, "PLACE: COMMAND"; then: after they have started.
        names: what the name server of the lab answers; "" leaves the machine without one.
        shim: how a link between router and firewall treats packets (relay/lab/shim.py).
        wants: what this machine must have beside programs: "root", "tun".
    """

    id: str
    kind: str
    broken: Text
    expect: Annotated[str, Between(0, 60)] = ""
    alike: Lines = ()
    also: Lines = ()
    never: Lines = ()
    note: Annotated[str, Between(0, 60)] = ""
    notes: Lines = ()
    says: Lines = ()
    target: Text = "{server}"
    proxy: Lines = ()
    options: Lines = ()
    speed: Speed = "at-once"
    programs: tuple[Program, ...] = ()
    chains: tuple[Chain, ...] = ()
    nft: Mapping[str, str] | None = None
    do: Lines = ()
    then: Lines = ()
    names: Mapping[str, str] | None = None
    shim: Mapping[str, Any] | None = None
    wants: Lines = ()

    @property
    def is_healthy(self) -> bool:
        """Whether the path must be called good."""
        return not self.expect

    @property
    def places(self) -> set[str]:
        """The places beyond those that are always there."""
        used = {program.at for program in self.programs}
        named = " ".join((self.target, *self.proxy, *self.do))
        return {place for place in ("proxy", "parent") if place in used or f"{{{place}}}" in named}

    def arguments(self) -> list[str]:
        """What `relay check` is given."""
        through = [text for url in self.proxy for text in ("-x", with_addresses(url))]
        return [*map(with_addresses, self.options), *through, with_addresses(self.target)]


def with_addresses(text: str) -> str:
    """Fill in {client}, {server}, {server6} ...; other braces stay."""
    for name, value in {**ADDRESSES, **ADDRESSES6, "other-key": str(OTHER_KEY_FILE)}.items():
        text = text.replace(f"{{{name}}}", value)
    return text


def read_scenarios(extra: Iterable[Path] = ()) -> dict[str, Scenario]:
    """All that come with the package, and those of the files of a user. Raises: SettingsError."""
    found: dict[str, Scenario] = {}
    own = sorted(Path(str(files("relay").joinpath("lab/scenarios"))).glob("*.toml"))
    for path in (*own, *extra):
        for name, table in load_toml(path).items():
            where = f"{path.name}: [{name}]"
            if name in found:
                raise SettingsError(f"{where}: this name is taken by a scenario of {found[name].kind}.toml")
            found[name] = read_scenario(name, path.stem, subtable(table, where), where)
    if len(found) > MAX_SCENARIOS:
        raise SettingsError(f"{len(found)} scenarios; expected at most {MAX_SCENARIOS}")
    return found


def read_scenario(name: str, kind: str, table: Mapping[str, Any], where: str) -> Scenario:
    """One table. Raises: SettingsError that names file, table and key."""
    given = dict(table)
    programs = tuple(
        _checked_place(fill(Program, subtable(row, where), f"{where}: run"), where)
        for row in given.pop("run", [{"at": "server", "run": "framework"}])
    )
    chains = tuple(
        _checked_place(fill(Chain, subtable(row, where), f"{where}: firewall"), where)
        for row in given.pop("firewall", [])
    )
    tables = {key: _texts(given.pop(key), f"{where}: {key}") for key in ("nft", "names") if key in given}
    shim = subtable(given.pop("shim"), f"{where}: shim") if "shim" in given else None
    read = fill(
        Scenario, given, where, id=name, kind=kind, programs=programs, chains=chains, shim=shim,
        nft=tables.get("nft"), names=tables.get("names"),
    )  # fmt: skip
    _check_causes(read, where)
    return read


def _check_causes(scenario: Scenario, where: str) -> None:
    known = {cause.id for cause in causes()}
    lists = (scenario.alike, scenario.also, scenario.never, scenario.notes)
    for named in (scenario.expect, scenario.note, *(one for listed in lists for one in listed)):
        if named and named not in known:
            raise SettingsError(f"{where}: {show(named)} is no cause of the catalogue (docs/causes.md)")


def _checked_place(row: Any, where: str) -> Any:
    if row.at not in PLACES:
        raise SettingsError(f"{where}: at: {show(row.at)}; expected one of {', '.join(PLACES)}")
    return row


def _texts(value: Any, where: str) -> dict[str, str]:
    table = subtable(value, where)
    wrong = [key for key, text in table.items() if not isinstance(text, str)]
    if wrong:
        raise SettingsError(f"{where}: {wrong[0]}: {show(table[wrong[0]])}; expected text in quotes")
    return table
